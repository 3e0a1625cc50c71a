"""Connections over HTTPS for all threads of one account: Azure and Google share how they are made."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests

CONNECTIONS_MAX = 64  # to one host; more than there are threads that ask


class Session(requests.Session):
    """A session that looks once for each host which proxy and which certificates the environment names.

    ``requests`` looks at each call, which is a fifth of what a call costs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        where = urlsplit(url)
        key = (where.scheme, where.netloc, stream, verify, cert)
        if proxies or key not in self._known:
            found = super().merge_environment_settings(url, proxies, stream, verify, cert)
            if proxies:
                return found
            self._known[key] = dict(found)
        known = self._known[key]
        return {**known, "proxies": dict(known["proxies"])}


def session() -> Session:
    """Nothing but our token says who asks, and a server sets no cookie."""
    found = Session()
    found.auth = lambda request: request  # or requests would put a password of .netrc in the token's place
    found.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    found.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS_MAX, max_retries=0))
    return found
