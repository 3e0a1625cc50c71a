"""Signs in to one Entra tenant and puts calls on the wire: azure-identity's credentials, azure-core's pipelines.

Whatever azure-* package is used is imported here. One ``Access`` serves every run over its tenant, so a token is
fetched once and connections stay open. Retries are not made here: ``rest.Edge`` counts and paces them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core import AzureClouds, PipelineClient
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import (
    AzureCliCredential,
    CertificateCredential,
    ChainedTokenCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.core.tools import get_arm_endpoints

from collector import canonical, hush
from collector.clouds.azure import AzureSettings
from collector.clouds.azure_answers import CLAIMS, HOSTS
from collector.clouds.connections import CONNECTIONS_MAX, session
from collector.clouds.rest import CONNECT_SECONDS_MAX, READ_SECONDS_MAX, Call, Reply
from collector.errors import CannotObserve, ConfigError, Denied, Throttled, Unavailable, Unreadable

TOKEN_SPARE_SECONDS = 300  # a token is renewed so long before it ends
KEPT_CLAIMS = ("aud", "tid", "oid", "appid", "azp", "idtyp", "scp", "roles")  # who asks and with which Graph rights
CLOUDS = {
    "public": AzureClouds.AZURE_PUBLIC_CLOUD,
    "usgovernment": AzureClouds.AZURE_US_GOVERNMENT,
    "china": AzureClouds.AZURE_CHINA_CLOUD,
}
STATUS = re.compile(r"HTTP Error: (\d{3})")  # how MSAL writes an answer of Entra that is no OAuth error
# What tells one sign-in from the next in Entra's words; the sentence before it is what a person needs.
# azure-identity keeps only Entra's words of a refused client credential, not the status of the answer. Those that pass:
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
BUSY = re.compile(r"AADSTS(?:90024|90055|50196)\b")  # over a budget, too many requests of the tenant, or of this client
PASSING = re.compile(r"AADSTS(?:90006|90012|90025|90033)\b|^Authentication failed: None$")  # the last: no OAuth answer
TRACES = re.compile(r"\s*(?:Trace ID|Correlation ID|Timestamp):.*", re.DOTALL)


class Access:
    """The credential and the connections of one tenant, for the life of the process and for any number of threads."""

    def __init__(
        self,
        settings: AzureSettings,
        *,
        secret: str = "",
        certificate_password: str = "",
        transport: Any = None,
        scopes: Mapping[str, str] | None = None,
    ) -> None:
        """``transport`` stands in for the network, for sign-in too; ``scopes`` are of further hosts, for ``exchange``.

        Raises ConfigError for an unusable certificate.
        """
        self._hosts = HOSTS[settings.cloud]
        arm: str = get_arm_endpoints(CLOUDS[settings.cloud])["credential_scopes"][0]
        self._json = {self._hosts.arm: arm, self._hosts.graph: f"https://{self._hosts.graph}/.default"}
        self._scopes = {**self._json, **(scopes or {})}
        self._tokens = _Tokens(lambda: _credential(settings, secret, certificate_password, transport))
        self._transport = transport or _transport()
        self._clients = threading.local()

    def send(self, call: Call) -> Reply:
        """The response to a call. Raises CannotObserve without a token, OSError when nothing came back."""
        if call.method == CLAIMS:
            return self._claims()
        return self.exchange(HttpRequest(call.method, call.url, params=quoted(call.query) or None, json=call.body))

    def exchange(self, request: HttpRequest, *, read_seconds: float = READ_SECONDS_MAX) -> Reply:
        """The response to a request as it is, for services that do not speak JSON. Raises as ``send`` does."""
        where = urlsplit(request.url)
        if where.scheme != "https" or where.netloc not in self._scopes:
            raise ConfigError(f"a token of the tenant was about to leave for {where.netloc}; it was not sent")
        try:
            response = self._client(where.netloc).send_request(request, read_timeout=read_seconds)
            body = response.read()
        except CannotObserve:
            raise
        except AzureError as error:
            raise _no_answer(error) from error
        headers = {name.lower(): str(value) for name, value in response.headers.items()}
        return Reply(response.status_code, headers, body)

    def _client(self, host: str) -> PipelineClient[Any, Any]:
        """Of this thread: an authentication policy keeps its token in a member that threads may not share."""
        clients: dict[str, PipelineClient[Any, Any]] = self._clients.__dict__.setdefault("by_host", {})
        if host not in clients:
            policy = ARMChallengeAuthenticationPolicy if host == self._hosts.arm else BearerTokenCredentialPolicy
            tokens: Any = self._tokens
            policies = [
                RequestIdPolicy(),
                HeadersPolicy({"Accept": "application/json"} if host in self._json else {}),
                UserAgentPolicy("evidence-collector"),
                policy(tokens, self._scopes[host], enable_cae=True),
                _Refused(self._tokens),
            ]
            clients[host] = PipelineClient(f"https://{host}", policies=policies, transport=self._transport)
        return clients[host]

    def _claims(self) -> Reply:
        """What the token in use for Azure Resource Manager says of its owner. Its signature stays here."""
        try:
            token = self._tokens.get_token_info(self._scopes[self._hosts.arm], options={"enable_cae": True}).token
        except AzureError as error:
            raise _no_answer(error) from error
        try:
            middle = token.split(".")[1]
            claims = canonical.parse(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
            kept = {name: claims[name] for name in KEPT_CLAIMS if name in claims}
        except (IndexError, TypeError, ValueError, binascii.Error):
            raise Unreadable("the token is no JSON web token, so it does not say whose it is") from None
        return Reply(200, {}, canonical.payload(kept))


def _transport() -> RequestsTransport:
    """Connections for all threads. No redirect is followed, and nothing but our token says who asks."""
    return RequestsTransport(
        session=session(),
        session_owner=False,
        connection_timeout=CONNECT_SECONDS_MAX,
        read_timeout=READ_SECONDS_MAX,
    )


class _Refused(SansIOHTTPPolicy[Any, Any]):
    """Tells the tokens which one was answered 401: also the one that a challenge replaces at once."""

    def __init__(self, tokens: _Tokens) -> None:
        self._tokens = tokens

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        if response.http_response.status_code == 401:
            self._tokens.refuse(request.http_request.headers.get("Authorization", "").removeprefix("Bearer "))


class _Tokens:
    """The tokens of one tenant: fetched by one thread, used by all, and never again once one was refused."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._credential = make()
        self._lock = threading.Lock()
        self._held: dict[tuple[tuple[str, ...], str], AccessTokenInfo] = {}
        self._refused: deque[str] = deque(maxlen=CONNECTIONS_MAX)

    def refuse(self, token: str) -> None:
        if token not in self._refused:
            self._refused.append(token)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As azure-core asks for one. Raises AzureError."""
        key = scopes, (options or {}).get("claims") or ""
        with self._lock:
            held = self._held.get(key)
            if held is not None and self._usable(held):
                return held
            found: AccessTokenInfo = self._credential.get_token_info(*scopes, options=options or {})
            if found.token in self._refused:  # out of the credential's own cache; a new credential has none
                self._credential = self._remade()
                found = self._credential.get_token_info(*scopes, options=options or {})
            hush.hold(found.token, passing=True)
            self._held = {known: token for known, token in self._held.items() if self._usable(token)} | {key: found}
            return found

    def _remade(self) -> Any:
        try:
            return self._make()
        except ConfigError as error:  # the file of a certificate that is gone meanwhile
            raise Denied(str(error)) from error

    def _usable(self, token: AccessTokenInfo) -> bool:
        end = min(token.refresh_on or token.expires_on, token.expires_on - TOKEN_SPARE_SECONDS)
        return time.time() < end and token.token not in self._refused


class _Link:
    """One credential of the chain. The chain forgets the class of what went wrong, so it is kept here."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential
        self.trouble: AzureError | None = None

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        self.trouble = None
        try:
            found: AccessTokenInfo = self._credential.get_token_info(*scopes, options=options or {})
        except AzureError as error:
            self.trouble = error
            raise
        return found


class _Chain:
    """The first that works of environment, workload identity, managed identity and the Azure CLI."""

    def __init__(self, *credentials: Any) -> None:
        self._links: list[Any] = [_Link(credential) for credential in credentials]
        self._chain = ChainedTokenCredential(*self._links)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        try:
            return self._chain.get_token_info(*scopes, options=options)
        except ClientAuthenticationError:
            troubles = [link.trouble for link in self._links if link.trouble is not None]
        for trouble in troubles:
            if not isinstance(trouble, CredentialUnavailableError):
                raise trouble  # it had what it takes to sign in: this is what there is to mend
        tried = (str(trouble.message).partition("\n")[0].rstrip(".") for trouble in troubles)
        raise ClientAuthenticationError(f"there is none ({'; '.join(tried)})")


def _credential(settings: AzureSettings, secret: str, password: str, transport: Any) -> Any:
    """The credential that the configuration names. Raises ConfigError for a certificate that cannot be used."""
    tenant, client = settings.tenant, settings.client_id
    # Managed identity keeps its own retries: its endpoint is known to be late after a start, and is no cloud's API.
    there: dict[str, Any] = {} if transport is None else {"transport": transport}
    entra: dict[str, Any] = {
        "authority": HOSTS[settings.cloud].authority,
        "retry_total": 0,
        "connection_timeout": CONNECT_SECONDS_MAX,
        "read_timeout": READ_SECONDS_MAX,
        **there,
    }
    chosen = settings.credential
    if chosen == "environment":
        return EnvironmentCredential(**entra)
    if chosen == "client-secret":
        return ClientSecretCredential(tenant, client, secret, **entra)
    if chosen == "managed-identity":
        return ManagedIdentityCredential(client_id=client or None, **there)
    if chosen == "cli":
        return AzureCliCredential(tenant_id=tenant)
    try:
        if chosen == "client-certificate":
            path = str(settings.certificate_file)
            return CertificateCredential(tenant, client, path, password=password or None, **entra)
        if chosen == "workload-identity":
            return WorkloadIdentityCredential(tenant_id=tenant, client_id=client or None, **entra)
    except (ValueError, OSError) as error:
        raise ConfigError(f"tenant {tenant}: credential {chosen!r} cannot be used: {error}") from error
    if chosen:
        raise ConfigError(f"tenant {tenant}: nobody knows the credential {chosen!r}")
    links: list[Any] = [EnvironmentCredential(**entra)]
    if os.environ.get("AZURE_FEDERATED_TOKEN_FILE") and (client or os.environ.get("AZURE_CLIENT_ID")):
        links.append(WorkloadIdentityCredential(tenant_id=tenant, client_id=client or None, **entra))
    links += [ManagedIdentityCredential(client_id=client or None, **there), AzureCliCredential(tenant_id=tenant)]
    return _Chain(*links)


def _no_answer(error: BaseException) -> CannotObserve | OSError:
    """A failure to sign in as one of ours, a failure of the network as OSError.

    azure-identity makes one ClientAuthenticationError of all that goes wrong; what really did is the cause of it.
    """
    if isinstance(error, ServiceRequestTimeoutError | ServiceResponseTimeoutError):
        return TimeoutError(str(error))
    if not isinstance(error, ClientAuthenticationError):
        return ConnectionError(str(error))
    if isinstance(error.__cause__, ServiceRequestError | ServiceResponseError):
        return _no_answer(error.__cause__)
    words = TRACES.sub("", str(error.message)).strip()
    status = (error.response.status_code if error.response is not None else None) or 0
    if found := STATUS.search(words):
        status = int(found[1])
    if status == 429 or BUSY.search(words):
        return Throttled("Entra asked to wait before signing in again; the next run tries again")
    if status >= 500 or PASSING.search(words):
        return Unavailable("Entra failed to sign the collector in; the next run tries again")
    return Denied(f"no token of Entra: {words}; look at the tenant's credential in the configuration")


def quoted(query: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as a URL carries them. azure-core puts them into it as they are, and requests leaves what has a
    meaning there alone: a ``+`` would arrive as a space, and ``&`` would end the value."""
    return {name: quote(str(value), safe="") for name, value in query.items()}
