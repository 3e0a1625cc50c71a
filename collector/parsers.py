"""Strict parsers of what a cloud answers: an unexpected word is no answer, not a no."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar, cast

from collector import canonical
from collector.errors import Unreadable

E = TypeVar("E", bound=str)


def boolean(value: object) -> bool:
    """``true`` or ``false``, as JSON or as text in any case. Raises Unreadable for everything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Unreadable(f"neither true nor false: {value!r}")


def number(value: object) -> int:
    """A whole number, as JSON or as digits. Raises Unreadable for everything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    raise Unreadable(f"not a whole number: {value!r}")


def text(value: object) -> str:
    """A text with something in it. Raises Unreadable for everything else."""
    if isinstance(value, str) and value:
        return value
    raise Unreadable(f"not a text: {value!r}")


def document(value: object) -> dict[str, Any]:
    """A JSON object that an answer holds as text, such as a policy. Raises Unreadable for everything else."""
    try:
        found = canonical.parse(text(value))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable("not a JSON object in the text of the answer")
    return found


def one_of(value: object, known: Collection[E]) -> E:
    """``value`` when it is one of the ``known`` words. Raises Unreadable for a word nobody has judged yet."""
    if value in known:
        return cast("E", value)
    raise Unreadable(f"{value!r} is none of {', '.join(sorted(known))}")


def field(answer: Mapping[str, Any], path: str) -> Any:
    """The member at a dotted path. Raises Unreadable when any part of it is absent or null."""
    value: Any = answer
    for part in path.split("."):
        found = value.get(part) if type(value) is dict or isinstance(value, Mapping) else None
        if found is None:
            raise Unreadable(f"the answer has no {path}")
        value = found
    return value


def absent_means(answer: Mapping[str, Any], path: str, default: Any, *, because: str) -> Any:
    """The member at a dotted path, or ``default`` where the provider documents what its absence means.

    ``because`` cites that documentation; it is printed on the check's page. Use it for nothing else: a member
    that merely happens to be missing is no answer, and ``field`` is the function for it.
    """
    assert because, "cite the provider's reference"
    value: Any = answer
    for part in path.split("."):
        if type(value) is not dict and not isinstance(value, Mapping):
            raise Unreadable(f"the answer has no {path}")
        value = value.get(part)
        if value is None:
            return default
    return value
