"""The one way a value becomes bytes, and bytes a digest. Time and text formats live here; nothing is stored here."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

INTEGER_LIMIT = 2**53  # from here on RFC 8785 and orjson differ


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def record(value: Any) -> bytes:
    """Canonical JSON of a ledger record (RFC 8785): ASCII keys, no floats, integers below 2^53.

    Raises ValueError for anything that two implementations could write differently.
    """
    _refuse(value, "$")
    return _fitted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def payload(value: Any) -> bytes:
    """An answer of a provider as JSON with sorted keys. Hashed as stored, so floats and any key are allowed."""
    try:
        return _fitted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # the option for other keys than texts is slow for them too
        return _fitted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))


def _fitted(data: bytes) -> bytes:
    """A copy: what orjson returns sits in its whole buffer, 16 KiB for a record of one, and records are held long."""
    return bytes(memoryview(data))


def compact(value: Any) -> bytes:
    """JSON for ourselves, to be parsed again and neither hashed nor kept: keys stay in their order."""
    return orjson.dumps(value)


def parse(data: bytes | str) -> Any:
    """JSON to values. Raises ValueError."""
    return orjson.loads(data)


def _refuse(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError(f"{path}: key {key!r} is not ASCII text")
            _refuse(member, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _refuse(member, f"{path}[{index}]")
    elif isinstance(value, float):
        raise ValueError(f"{path}: a float has no one way to be written; use an integer and name its unit")
    elif isinstance(value, int) and not -INTEGER_LIMIT < value < INTEGER_LIMIT:
        raise ValueError(f"{path}: {value} is beyond 2^53")
    elif value is not None and not isinstance(value, str | int | bool):
        raise ValueError(f"{path}: {type(value).__name__} has no canonical form")


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and ``Z``. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """An RFC 3339 time, in UTC. Raises ValueError for a time without a zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return found.astimezone(UTC)
