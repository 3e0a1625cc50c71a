"""How the program's own log looks: console or JSON lines on standard error, one way for our words and libraries'.

Nothing is logged in here. A secret that reaches the log in spite of everything is taken out before it is written.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from collector import hush

# Libraries that write whole requests, with their signatures, when they are asked for everything.
TALKATIVE = ("alembic", "apscheduler", "asyncio", "boto3", "botocore", "s3transfer", "urllib3")


def setup(format: str = "console", level: str = "info", stream: TextIO | None = None) -> None:
    """Sets the log of the whole process. ``format`` is console or json, ``level`` debug, info, warning or error.

    ``stream`` is standard error if not given. May be called again.
    """
    out = stream if stream is not None else sys.stderr
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            without_secrets,
            last,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class Hushed(io.TextIOBase):
    """A stream that is written to as it is, less secrets: for standard error, where crashes of threads and the words
    of a command line that was not understood end up without passing any log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hush.without(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def without_secret_text(text: str) -> str:
    """A text without secrets: for words that others see, which may be a library's."""
    return hush.without(text)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An event without what looks like a secret by its name or by its looks."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return hush.REDACTED if value and hush.SECRET_NAME.search(name) else hush.without(value)
    if isinstance(value, dict):
        return {key: _clean(str(key), member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(name, member) for member in value]
    return value
