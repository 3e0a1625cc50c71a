"""A signing key in AWS KMS: Ed25519 or P-256, asked with the credentials that the AWS SDK finds.

Needs kms:GetPublicKey and kms:Sign on the key. botocore makes the retries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from collector.clouds import signing
from collector.clouds.aws import DENIED, THROTTLED, hold_credentials
from collector.clouds.signing import ECDSA_P256, ED25519, PublicKey
from collector.errors import CannotObserve, ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

URI = re.compile(r"awskms:///(?P<arn>arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/(?:mrk-)?[A-Za-z0-9-]+)")
ALIAS = re.compile(r"awskms:///\S*alias/\S+")
MESSAGE_BYTES_MAX = 4096  # of kms:Sign with MessageType RAW
ALGORITHMS = {ED25519: "ED25519_SHA_512", ECDSA_P256: "ECDSA_SHA_256"}
WRONG = frozenset(("InvalidKeyUsageException", "UnsupportedOperationException"))
GONE = frozenset(("NotFoundException", "InvalidArnException"))
PARKED = {
    "DisabledException": "aws kms enable-key --key-id",
    "KMSInvalidStateException": "look at its state, and cancel its deletion: aws kms cancel-key-deletion --key-id",
}


class KmsKey:
    """One asymmetric KMS key."""

    def __init__(self, uri: str) -> None:
        """Asks for the public half. Raises ConfigError for a URI or a key that cannot be used, or CannotObserve."""
        found = URI.fullmatch(uri)
        if found is None:
            why = "an alias can be turned to another key unnoticed" if ALIAS.fullmatch(uri) else "it is no key's ARN"
            raise ConfigError(f"signer {uri}: {why}; write awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID")
        self.where = uri
        self._arn = found["arn"]
        self._client = self._connected(found["region"])
        members = ("KeyUsage", "PublicKey")
        answer = self._asked("GetPublicKey", members, lambda: self._client.get_public_key(KeyId=self._arn))
        if answer["KeyUsage"] != "SIGN_VERIFY":
            raise signing.wrong_key(uri, f"its key usage is {answer['KeyUsage']}, not SIGN_VERIFY")
        self.public: PublicKey = signing.public_of(uri, answer["PublicKey"])
        self._algorithm = ALGORITHMS[self.public.algorithm]
        if self._algorithm not in answer.get("SigningAlgorithms", ()):
            raise signing.wrong_key(uri, f"it does not sign with {self._algorithm}")

    def sign(self, message: bytes) -> bytes:
        kind = "RAW"
        if len(message) > MESSAGE_BYTES_MAX:
            if self.public.algorithm == ED25519:  # its algorithm hashes the message twice, so a digest is of no use
                raise ConfigError(
                    f"{self.where}: AWS KMS signs no more than {MESSAGE_BYTES_MAX} bytes with {ED25519}, and this has "
                    f"{len(message)}; rotate to a key of the spec ECC_NIST_P256: docs/reference/keys.md"
                )
            message, kind = hashlib.sha256(message).digest(), "DIGEST"
        request = {"KeyId": self._arn, "Message": message, "MessageType": kind, "SigningAlgorithm": self._algorithm}
        members = ("KeyId", "Signature", "SigningAlgorithm")
        answer = self._asked("Sign", members, lambda: self._client.sign(**request))
        if (answer["KeyId"], answer["SigningAlgorithm"]) != (self._arn, self._algorithm):
            raise Unreadable(f"{self.where}: the answer is of the key {answer['KeyId']}; nothing was signed")
        signature: bytes = answer["Signature"]
        return signature

    def _connected(self, region: str) -> Any:
        config = Config(
            retries={"total_max_attempts": signing.ATTEMPTS_MAX, "mode": "standard"},
            connect_timeout=signing.CONNECT_SECONDS_MAX,
            read_timeout=signing.READ_SECONDS_MAX,
            user_agent_extra="evidence-collector",
        )
        try:
            session = botocore.session.Session()
            if (found := session.get_credentials()) is not None:
                hold_credentials(found)
            return session.create_client("kms", region_name=region, config=config)
        except BotoCoreError as error:
            raise ConfigError(f"{self.where}: AWS KMS cannot be asked: {error}") from error

    def _asked(self, operation: str, members: Sequence[str], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer, with all of ``members``: botocore takes a success that is no JSON for an answer without any."""
        try:
            answer = ask()
        except ClientError as error:
            raise self._meant(operation, error) from error
        except NoCredentialsError as error:
            raise Denied(
                f"{self.where}: no AWS credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give the container a role"
            ) from error
        except (BotoCoreError, OSError) as error:
            kind = Denied if "Credential" in type(error).__name__ or "Token" in type(error).__name__ else Unavailable
            raise kind(f"{self.where}: no answer from AWS KMS ({error}); the next checkpoint tries again") from error
        except (ValueError, LookupError) as error:
            raise Unreadable(f"{self.where}: the answer of AWS KMS could not be read") from error
        if missing := [name for name in members if not answer.get(name)]:
            raise Unreadable(f"{self.where}: the answer of AWS KMS has no {missing[0]}; look at what stands between")
        return answer

    def _meant(self, operation: str, error: ClientError) -> CannotObserve | ConfigError:
        code = str(error.response.get("Error", {}).get("Code") or "Unknown")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        said = signing.told(code, str(error.response.get("Error", {}).get("Message") or ""))
        if code in GONE:
            return signing.no_key(self.where, said)
        if code in WRONG:
            return signing.wrong_key(self.where, said)
        if code in PARKED:
            return Disabled(f"{self.where}: {said}; {PARKED[code]} {self._arn}")
        if code in THROTTLED or status == 429:
            return Throttled(f"{self.where}: {said}; the next checkpoint tries again, or raise the quota of KMS")
        if code in DENIED or status in (401, 403):
            return Denied(f"{self.where}: {said}; allow kms:{operation} on the key, in its policy or in the role")
        if status >= 500 or code in ("DependencyTimeoutException", "KeyUnavailableException"):
            return Unavailable(f"{self.where}: {said}; the next checkpoint tries again")
        return Unreadable(f"{self.where}: {said}")
