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
        "AuthToken",
        "ClientSecret",
        "ConnectionString",
        "HeaderValue",  # CloudFront origin custom headers: commonly a shared secret
        "MasterUserPassword",
        "Password",
        "PrivateKey",
        "SecretAccessKey",
        "SecretBinary",
        "SecretKey",
        "SecretString",
        "SessionToken",
        "UserData",
    )
)

# Members that hold a map of names to values, of which only the names are kept.
SECRET_MAPS = frozenset(name.lower() for name in ("Variables", "EnvironmentVariables", "EnvironmentOverrides"))

# Texts that are secrets wherever they stand.
SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|amqps?|rediss?)://[^\s:/@]*:[^\s@]+@"
    r"|\bAccountKey=[A-Za-z0-9+/=]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
)


def redact(value: Any) -> Any:
    """A copy of an answer without its secrets. Shares what it did not have to change."""
    if isinstance(value, dict):
        return {key: _member(key, member) for key, member in value.items()}
    if isinstance(value, list):
        return [redact(member) for member in value]
    if isinstance(value, str) and SECRET_TEXT.search(value):
        return REDACTED
    return value


def _member(key: object, value: Any) -> Any:
    name = str(key).lower()
    if name in SECRET_MEMBERS and isinstance(value, str | bytes) and value:
        return REDACTED
    if name in SECRET_MAPS and isinstance(value, dict):
        return dict.fromkeys(value, REDACTED)
    return redact(value)
