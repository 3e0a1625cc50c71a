"""Kinds of values that the configuration file holds: paths, URLs, scopes, criteria, secrets. No table of it in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ValidationInfo

from collector import hush
from collector.criteria import CRITERIA
from collector.errors import ConfigError
from collector.tomlfile import distinct, matching, nearest


def beside(path: Path, info: ValidationInfo) -> Path:
    """Relative paths are relative to the file that names them."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path.expanduser()


def database_url(url: str, info: ValidationInfo) -> str:
    hush.hold_url(url)
    if not re.match(r"[a-z][a-z0-9+_]*://", url):
        raise ValueError('must be a SQLAlchemy URL such as "postgresql+psycopg://host/name" or "sqlite:///ledger.db"')
    kind, _, file = url.partition(":///")
    if kind.split("+")[0] == "sqlite" and file and not file.startswith(("/", ":memory:")):
        return f"{kind}:///{beside(Path(file), info).resolve()}"
    return url


def listen_text(value: str) -> str:
    if value:
        listen_address(value)
    return value


def listen_address(value: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[::1]:port``. Raises ValueError."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):([0-9]{1,5})", value)
    if match is None or int(match[2]) > 65_535:
        raise ValueError('must be "host:port", such as "127.0.0.1:8321", or "" for off')
    return match[1].strip("[]"), int(match[2])


def url_text(value: str) -> str:
    """A URL of a receiver. What stands in its query is shown nowhere: it is often a password."""
    hush.hold_url(value)
    return _url(value)


def plain_url_text(value: str) -> str:
    """A URL that is shown and written down as it is."""
    if "?" in url_text(value) or "#" in value:
        raise ValueError("must have neither ? nor #: what may be done there is decided by how the collector signs in")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isascii() or re.search(r"\s", value):
        raise ValueError("must be a URL that begins with https:// (or http:// inside a trusted network)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password; the signature tells the receiver who sends")
    return value


def link_text(value: str) -> str:
    """A URL with ``{alert}`` or ``{key}`` in it, and no other braces."""
    if value:
        bare = value.replace("{alert}", "1").replace("{key}", "a")
        if bare == value or "{" in bare or "}" in bare:
            raise ValueError('must be a URL with {alert} or {key} in it, such as "https://wiki.example/alerts/{alert}"')
        _url(bare)
    return value


def day_or_time(value: object) -> date:
    if not isinstance(value, date):
        raise ValueError("must be a TOML date or time without quotes, such as 2026-01-01 or 2026-01-01T09:00:00")
    return value


def zone_name(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError, and comes below
        raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
    except KeyError as error:
        raise ValueError(
            f"{value!r} is no IANA time zone known here; write one such as Europe/Berlin, or install tzdata"
        ) from error
    return value


def criteria_ids(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in CRITERIA:
            raise ValueError(f"{value!r} is no Trust Services Criterion; {nearest(value, CRITERIA)}")
    return distinct(values)


def scope_text(value: str) -> str:
    if not re.fullmatch(r"(aws|azure|gcp)/[^/\s]+(/[^/\s]+)?", value):
        raise ValueError(f'{value!r} is no scope; write "aws/123456789012", "aws/123456789012/eu-west-1" or the like')
    return value


GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
InFolder = Annotated[Path, AfterValidator(beside)]
Criteria = Annotated[tuple[str, ...], AfterValidator(criteria_ids)]
ScopeText = Annotated[str, AfterValidator(scope_text)]
Url = Annotated[str, AfterValidator(url_text)]
PlainUrl = Annotated[str, AfterValidator(plain_url_text)]
Variable = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "must be the name of an environment variable")]
Mailbox = Annotated[
    str, matching(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", "must be one bare address: name@host")
]


def secret_of(variable: str | None, file: Path | None, environ: Mapping[str, str]) -> str:
    """The secret in a variable or a file, which no text shows from then on. Raises ConfigError."""
    if variable is not None:
        if not environ.get(variable):
            raise ConfigError(f"the environment variable {variable}, which holds a secret, is not set; set it")
        hush.hold(environ[variable])
        return environ[variable]
    if file is None:
        raise ConfigError("no secret is configured; name an environment variable or a file")
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the secret cannot be read: {type(error).__name__}") from error
    if not text:
        raise ConfigError(f"{file}: the file of a secret is empty; write the secret into it")
    hush.hold(text)
    return text
