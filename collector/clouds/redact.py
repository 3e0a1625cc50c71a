"""What never reaches evidence. Applied to an answer before its digest is taken, so evidence is "what we kept".

A redacted value becomes ``REDACTED``; its key stays, so that a reader sees that there was something.
"""

from __future__ import annotations

import re
from typing import Any

REDACTED = "[redacted]"

# Members whose value is a secret, or may hold one, wherever they stand. Compared without case.
SECRET_MEMBERS = frozenset(
    name.lower()
    for name in (
        "AccessKey",
        "AccessToken",
        "ApiKey",
        "AdminPassword",
        "AdministratorLoginPassword",
        "AuthToken",
        "CallbackUrl",  # Logic Apps: who has it may start the flow
        "ClientKey",  # clusters of GKE: the private key of the client certificate
        "ClientSecret",
        "CommandToExecute",  # VM extensions: commonly with a password
        "ConnectionString",
        "CustomData",
        "HeaderValue",  # CloudFront origin custom headers: commonly a shared secret
        "HttpTriggerUrl",
        "InstrumentationKey",
        "MasterUserPassword",
        "Password",
        "PrimaryConnectionString",
        "PrimaryKey",
        "PrimarySharedKey",
        "PrivateKey",
        "RefreshToken",
        "SasToken",
        "SasUrl",
        "SecondaryConnectionString",
        "SecondaryKey",
        "SecondarySharedKey",
        "Secret",
        "SecretAccessKey",
        "SecretBinary",
        "SecretKey",
        "SecretString",
        "ServiceUri",  # action groups of Azure: webhooks, commonly with a key in the address
        "SessionToken",
        "SharedKey",
        "StorageAccountAccessKey",
        "SubscriptionKey",
        "UserData",
        "WebhookUrl",
    )
)

# Members that are kept back whatever they hold: objects of secrets, and what of a person no check needs.
HIDDEN_MEMBERS = frozenset(
    name.lower()
    for name in (
        "BusinessPhones",
        "FaxNumber",
        "MobilePhone",
        "PhoneNumber",
        "Phones",
        "ProtectedSettings",
        "RecoveryPhone",
    )
)

# Members that hold a map of names to values, or a list of objects with name and value: only the names are kept.
SECRET_MAPS = frozenset(
    name.lower() for name in ("AppSettings", "Env", "EnvironmentOverrides", "EnvironmentVariables", "Variables")
)

# Texts that are secrets wherever they stand.
SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|amqps?|rediss?)://[^\s:/@]*:[^\s@]+@"
    r"|://[^\s:/@]*:[^\s/@]+@"  # user and password in any other address
    r"|\b(?i:password|passwd|pwd|client_?secret|secret_?access_?key|api_?key|access_?token|refresh_?token)"
    r"=(?!=)[\"']?[^\s;,&\"'$(){}]{6,}"  # of connection strings, scripts and queries; no comparison, no variable
    r"|\b(?i:bearer) [A-Za-z0-9._~+/-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}"  # signed tokens
    r"|\bya29\.[A-Za-z0-9_-]{20,}"
    r"|\bAIza[A-Za-z0-9_-]{35}"
    r"|\bhooks\.slack\.com/(?:services|workflows|triggers)/\w"
    r"|\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{20,}"
    r"|\b(?:sig|X-(?:Amz|Goog)-Signature)=[A-Za-z0-9%+/=_-]{20,}"  # addresses that open by themselves
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
)

# Names by which people call a secret: of labels, tags and settings, whose value then is one.
SECRET_NAME = re.compile(
    r"(?:password|passwd|pwd|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|"
    r"connection[-_ ]?string|webhook[-_ ]?url|startup-script|shutdown-script|startup-script-ps1|startup-script-cmd|"
    r"user-data|kube-env|sysprep-specialize-script-ps1|ssh-keys|sshkeys|windows-keys)$",
    re.IGNORECASE,
)

# Members that hold labels: maps of names to texts, which are people's own.
LABELS = frozenset(
    name.lower()
    for name in ("Tags", "Labels", "UserLabels", "ResourceLabels", "EffectiveLabels", "NodeLabels", "Metadata")
)

SECRET_TEXT_MIN = 10  # "amqp://:x@": none that SECRET_TEXT finds is shorter


_PLAIN, _SECRET, _HIDDEN, _MAP, _VALUE, _LABELS = range(6)


def redact(value: Any) -> Any:
    """A copy of an answer without its secrets. Shares what it did not have to change."""
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, str):
        return REDACTED if _is_secret(value) else value
    return value


def _mapping(value: dict[Any, Any]) -> dict[Any, Any]:
    """Written out, because a large answer has millions of members: few of them cost a second look."""
    changed: dict[Any, Any] | None = None
    known, nothing = _KNOWN, _NOTHING
    for key, member in value.items():
        rule = known.get(key)
        if rule is None:
            rule = _learned(key)
        kind = type(member)
        if rule:
            found = _ruled(rule, member) if rule != _VALUE else _valued(value, member)
        elif kind is str:
            if len(member) < SECRET_TEXT_MIN or not _is_secret(member):
                continue
            found = REDACTED
        elif kind in nothing:
            continue
        else:
            found = _mapping(member) if kind is dict else redact(member)
        if found is not member:
            if changed is None:
                changed = dict(value)
            changed[key] = found
    return value if changed is None else changed


def _list(value: list[Any]) -> list[Any]:
    changed: list[Any] | None = None
    for place, member in enumerate(value):
        found = _mapping(member) if type(member) is dict else redact(member)
        if found is not member:
            if changed is None:
                changed = list(value)
            changed[place] = found
    return value if changed is None else changed


_KNOWN: dict[object, int] = {}  # by name as it is written; names are few, and any key of a map may be one
_KNOWN_MAX = 8192
_NOTHING = frozenset((bool, int, float, type(None)))  # types whose values are no secrets under a plain name


def _learned(key: object) -> int:
    if len(_KNOWN) >= _KNOWN_MAX:
        _KNOWN.clear()
    rule = _KNOWN[key] = _rule(key)
    return rule


def _rule(key: object) -> int:
    """What is done with the members of this name."""
    name = str(key).lower()
    if name in SECRET_MEMBERS or name.endswith(("password", "passwd")):
        return _SECRET
    if name in HIDDEN_MEMBERS:
        return _HIDDEN
    if name in SECRET_MAPS:
        return _MAP
    if name in LABELS:
        return _LABELS
    return _VALUE if name == "value" else _PLAIN


def _valued(pair: dict[Any, Any], value: Any) -> Any:
    """The value of a name and a value that stand side by side, as in tags and in the metadata of machines."""
    if isinstance(value, str) and value:
        for member, name in pair.items():
            if str(member).lower() in ("key", "name") and isinstance(name, str) and SECRET_NAME.search(name):
                return REDACTED
    return redact(value)


def _ruled(rule: int, value: Any) -> Any:
    if rule == _SECRET and isinstance(value, str | bytes) and value:
        return REDACTED
    if rule == _HIDDEN and value:
        return REDACTED
    if rule == _LABELS and isinstance(value, dict):
        secret = {key for key, text in value.items() if isinstance(text, str) and text and SECRET_NAME.search(str(key))}
        return _mapping(value | dict.fromkeys(secret, REDACTED) if secret else value)
    if rule == _MAP and isinstance(value, dict):
        return dict.fromkeys(value, REDACTED)
    if rule == _MAP and isinstance(value, list):
        return [_nameless(member) for member in value]
    return redact(value)


def _nameless(value: Any) -> Any:
    """One of a list of names and values, without the value."""
    if isinstance(value, dict):
        return {
            key: REDACTED if str(key).lower() == "value" and member else redact(member) for key, member in value.items()
        }
    return redact(value)


_ASSIGNED = re.compile(r"(?i:word|wd|key|secret|token|sig|signature)=")


def _is_secret(text: str) -> bool:
    """Whether a secret is in a text. The expression is slow, and nearly no text holds what each of its parts needs."""
    return (
        ("=" in text and _ASSIGNED.search(text) is not None)
        or "earer " in text
        or "EARER " in text
        or "eyJ" in text
        or "ya29." in text
        or "AIza" in text
        or "hooks.slack" in text
        or "-----BEGIN" in text
        or "gh" in text
        or "xox" in text
        or ("://" in text and "@" in text)
    ) and SECRET_TEXT.search(text) is not None
