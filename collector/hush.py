"""Texts without secrets: without what this process itself holds, word for word, and without what looks like one.

What is taken out of a cloud's answers by the names of its members is in ``clouds/redact.py``.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.parse
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
WORD_CHARACTERS_MIN = 8  # of a secret that is looked for in words; a shorter one is in any text
PHRASE_CHARACTERS_MIN = 20  # of one that has no digits
ANSWER_CHARACTERS_MIN = 16  # of one that is looked for in evidence, where a chance hit would change what was seen
PASSING_MAX = 256  # tokens that are remembered: a few for each account, and each is fetched anew within the hour
LASTING_MAX = 256  # secrets of the configuration and of the environment
SECRET_CHARACTERS_MAX = 16_384

# By what names people and SDKs call a secret, as a key or as an environment variable.
SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential|authorization|private_?key|connection_?string|api_?key", re.IGNORECASE
)
_VARIABLE = re.compile(
    r"(?:password|passwd|pwd|secret|token|(?:api|access|account|private|routing|secret)_?key|identity_header)$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^\s:/@]*:[^\s@/]+(?=@)"  # user and password in a URL
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?<=Signature=)[0-9a-f]{32,}"
    r"|(?<=[?&;]sig=)[A-Za-z0-9%+/=_-]{20,}"  # signed addresses of Azure
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_.-]{10,}"  # signed tokens
    r"|\bya29\.[A-Za-z0-9_.-]{20,}"
    r"|(?<=hooks\.slack\.com/)[\w/]+"
    r"|(?i:(?<=password=)|(?<=pwd=)|(?<=secret=)|(?<=key=)|(?<=token=)|(?<=bearer ))[^\s;,&\"')]{8,}",
    re.DOTALL,
)

_lock = threading.Lock()
_lasting: OrderedDict[str, tuple[str, ...]] = OrderedDict()  # each with the ways in which it may be written
_passing: OrderedDict[str, tuple[str, ...]] = OrderedDict()
_words: tuple[str, ...] | None = ()  # every way of every secret, the longest first; None when they have changed
_answers: tuple[str, ...] = ()  # what is looked for in evidence
_coded: tuple[bytes, ...] = ()  # the same as it stands in JSON


def hold(value: str | bytes, *, passing: bool = False) -> None:
    """Remembers a secret of this process, so that no text shows it. ``passing`` is for tokens: the last few are kept.

    A word that could as well stand in any text (short, or short and without a digit) is not remembered: it would be
    taken out of names and sentences. Of a URL, user, password, path and query are remembered too.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    with _lock:
        kept, most = (_passing, PASSING_MAX) if passing else (_lasting, LASTING_MAX)
        if text in kept:
            kept.move_to_end(text)
            return
        for part in (text, *_parts(text)):
            if _telling(part):
                kept[part] = (part,) if passing else _ways(part)
        while len(kept) > most:
            kept.popitem(last=False)
        _changed(lasting=not passing)


def hold_environment(environ: Mapping[str, str]) -> None:
    """Remembers what stands in variables that are named like secrets, and passwords in addresses of proxies."""
    for name, value in environ.items():
        if _VARIABLE.search(name):
            hold(value)
        elif "://" in value and "@" in value:
            hold_url(value)


def hold_url(url: str) -> None:
    """Remembers the password of a URL, also of one that is written wrongly: a password with ``@``, ``:`` or ``/``."""
    _, found, rest = url.partition("://")
    user, at, _ = rest.rpartition("@")
    password = user.partition(":")[2]
    if found and at and password:
        for part in (password, urllib.parse.unquote(password), *re.split(r"[@:/?#]", password)):
            hold(part)
    for values in urllib.parse.parse_qs(url.partition("?")[2]).values():
        for value in values:
            hold(value)


def without(text: str) -> str:
    """A text without the secrets of this process and without what looks like a secret."""
    for word in _words if _words is not None else _sorted():
        if word in text:
            text = text.replace(word, REDACTED)
    return _SECRET_TEXT.sub(REDACTED, text)


def cut(text: str, most: int) -> str:
    """The beginning of a text without secrets: cleaned first, since half a secret is not known for one."""
    return without(text)[:most]


def shown(data: bytes) -> bool:
    """Whether JSON holds a secret of the configuration or the environment."""
    return any(word in data for word in _coded)


def cleared(value: Any) -> Any:
    """A JSON value without the secrets of the configuration and the environment; its other texts stay as they are."""
    if isinstance(value, str):
        for word in _answers:
            value = value.replace(word, REDACTED)
        return value
    if isinstance(value, dict):
        return {cleared(key): cleared(member) for key, member in value.items()}
    if isinstance(value, list):
        return [cleared(member) for member in value]
    return value


def forget() -> None:
    """Remembers nothing any more: for tests, whose secrets end with them."""
    with _lock:
        _lasting.clear()
        _passing.clear()
        _changed(lasting=True)


def _changed(*, lasting: bool) -> None:
    global _words, _answers, _coded
    _words = None  # sorted when next needed: tokens come oftener than anybody reads
    if lasting:
        long = (text for text in _lasting if len(text) >= ANSWER_CHARACTERS_MIN and _mixed(text))
        _answers = tuple(sorted(long, key=len, reverse=True))
        _coded = tuple(json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in _answers)


def _sorted() -> tuple[str, ...]:
    global _words
    with _lock:
        ways = {way for kept in (_lasting, _passing) for each in kept.values() for way in each}
        _words = found = tuple(sorted(ways, key=len, reverse=True))
    return found


def _telling(text: str) -> bool:
    """Whether a text is so much its own that it stands for a secret wherever it is found."""
    if not WORD_CHARACTERS_MIN <= len(text) <= SECRET_CHARACTERS_MAX:
        return False
    return _mixed(text) or len(text) >= PHRASE_CHARACTERS_MIN


def _mixed(text: str) -> bool:
    return any(c.isalpha() for c in text) and any(c.isdigit() for c in text)


def _parts(text: str) -> list[str]:
    """What of a secret is one by itself: the lines of a key, the path and the query of a URL."""
    if "\n" in text:
        return [line for line in text.splitlines() if len(line) >= ANSWER_CHARACTERS_MIN]
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text):
        return []
    _, _, rest = text.partition("://")
    path = rest[rest.find("/") :] if "/" in rest else ""
    found = [path] if len(path) >= ANSWER_CHARACTERS_MIN else []
    user, at, _ = rest.partition("/")[0].rpartition("@")
    found += [user.partition(":")[2] or user] if at else []
    query = urllib.parse.parse_qsl(rest.partition("?")[2])
    return found + [value for _, value in query if len(value) >= ANSWER_CHARACTERS_MIN]


def _ways(text: str) -> tuple[str, ...]:
    """How a secret is written where it is not written as it is."""
    raw = text.encode()
    quoted = json.dumps(text)[1:-1]
    found = {text, quoted, json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    found |= {urllib.parse.quote(text, safe=""), urllib.parse.quote(text), urllib.parse.quote_plus(text), raw.hex()}
    for offset in range(3):  # base64 of something in the middle of which it stands: what it alone decides
        coded = base64.b64encode(bytes(offset) + raw).decode()
        core = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        found |= {core, core.replace("+", "-").replace("/", "_")}
    return tuple(way for way in found if len(way) >= WORD_CHARACTERS_MIN)
