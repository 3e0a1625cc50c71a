"""Sends an alert through the Apprise library to one of the services that it knows. Passes on no word of the library.

Apprise answers only whether it worked, so every failure is tried again; and it has no key that would join two messages,
so one that arrives twice is shown twice. Its URLs hold the passwords of the services, and its log may hold the URLs.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from typing import Any

from collector.alert.message import DeliveryFailed, clipped, head, line, mended, summary, text
from collector.errors import ConfigError

TEXT_CHARACTERS_MAX = 8_000
# How services that read mentions out of plain text write them; a space that nobody sees goes behind the first letter.
_MENTIONS = re.compile(r"([@<])(?=everyone|here|channel|all\b|room|team|group|online|[@!#&])", re.IGNORECASE)


class Apprise:
    """One URL of Apprise. ``timeout`` in seconds."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Raises ConfigError without the library, or for a URL that it does not take."""
        _hush()
        try:
            import apprise  # an extra
        except ImportError as error:
            raise ConfigError(
                "an Apprise channel needs the library, which is not installed; pip install 'evidence-collector[notify]'"
            ) from error
        wanted: dict[str, Any] = {
            "app_id": "evidence-collector",
            "app_desc": "evidence-collector",
            "async_mode": False,
            "http_redirects": False,  # the alert would go to somebody who was not configured
            "interpret_emojis": False,
            "interpret_escapes": False,
            "pem_autogen": False,
            "pgp_autogen": False,
        }
        known = {name: value for name, value in wanted.items() if hasattr(apprise.AppriseAsset, name)}
        if "http_redirects" not in known:
            raise ConfigError("this Apprise follows redirects; pip install --upgrade 'apprise>=2.3'")
        self._kinds = apprise.NotifyType
        self._format = apprise.NotifyFormat.TEXT
        self._apprise = apprise.Apprise(
            asset=apprise.AppriseAsset(storage_mode="memory", allow_templates=False, service_timeout=timeout, **known)
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of two hundred plugins that are loaded now; none is ours to mend
                known_url = self._apprise.add(_with(url, timeout))
        except Exception as error:  # what it raises may hold the URL
            raise ConfigError(f"Apprise cannot be loaded: {type(error).__name__}; install it anew") from None
        if not known_url:
            raise ConfigError("Apprise does not know such a URL; see https://github.com/caronc/apprise/wiki")

    def send(self, alert: Mapping[str, Any]) -> str:
        """Hands the message to Apprise; returns ``sent``. Raises DeliveryFailed."""
        kind = self._kinds.SUCCESS if mended(alert) else self._kinds.FAILURE
        kind = self._kinds.INFO if alert.get("unobserved") else kind
        try:
            worked = self._apprise.notify(
                title=harmless(clipped(line(f"{head(alert)}: {alert['control'] or alert['check']}"), 200)),
                body=harmless(f"{summary(alert)}\n\n{clipped(text(alert), TEXT_CHARACTERS_MAX)}"),
                notify_type=kind,
                body_format=self._format,
            )
        except Exception as error:  # hundreds of plugins; what they raise may hold the URL
            raise DeliveryFailed(f"Apprise crashed: {type(error).__name__}", retry=True) from None
        if not worked:
            raise DeliveryFailed("Apprise could not deliver it", retry=True)
        return "sent"


def harmless(text: str) -> str:
    """A text in which nobody is mentioned."""
    return _MENTIONS.sub("\\1\u200b", text)


def _with(url: str, timeout: float) -> str:
    """The URL with our timeouts, and cut to what the service takes, unless it says otherwise itself."""
    found = url
    for name, value in (("rto", f"{timeout:g}"), ("cto", f"{timeout:g}"), ("overflow", "truncate")):
        if not re.search(rf"[?&]{name}=", found):
            found += f"{'&' if '?' in found else '?'}{name}={value}"
    return found


def _hush() -> None:
    """Its log goes nowhere: it names URLs and holds what services answered."""
    log = logging.getLogger("apprise")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
