"""How the program's own log looks: console or JSON lines on standard error, one way for our words and libraries'.

Nothing is logged in here. A secret that reaches the log in spite of everything is taken out before it is written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

REDACTED = "[redacted]"

# Libraries that write whole requests, with their signatures, when they are asked for everything.
TALKATIVE = ("alembic", "apscheduler", "asyncio", "boto3", "botocore", "s3transfer", "urllib3")

_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential|authorization|private_?key|connection_?string|api_?key", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^\s:/@]*:[^\s@/]+(?=@)"  # user and password in a URL
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?<=Signature=)[0-9a-f]{32,}"
    r"|(?<=[?&;]sig=)[A-Za-z0-9%+/=_-]{20,}"  # signed addresses of Azure
    r"|(?<=hooks\.slack\.com/)[\w/]+"
    r"|(?i:(?<=password=)|(?<=pwd=)|(?<=secret=)|(?<=key=)|(?<=token=)|(?<=bearer ))[^\s;,&\"')]{8,}",
    re.DOTALL,
)


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


def without_secret_text(text: str) -> str:
    """A text without what looks like a secret: for words that others see, which may be a library's."""
    return _SECRET_TEXT.sub(REDACTED, text)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An event without what looks like a secret by its name or by its looks."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return REDACTED if value and _SECRET_NAME.search(name) else without_secret_text(value)
    if isinstance(value, dict):
        return {key: _clean(str(key), member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(name, member) for member in value]
    return value
