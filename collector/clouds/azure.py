"""One Entra tenant with its Azure subscriptions, read only: every question asked once, every answer kept, every page read.

No SDK is imported here: credentials and connections are made in ``azure_access``. Checks see ``Tenant``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, overload

from collector.clouds.handle import Handle
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer, Transcript

Put = Callable[[Call], Answer]


def _no_network(call: Call) -> Answer:
    raise AssertionError(f"{call.method} {call.url} was put to a cloud while re-performing")


class Tenant(Handle):
    """One Entra tenant, or one of its subscriptions, during one run. All questions go through the run's transcript."""

    def __init__(
        self, tenant: str, transcript: Transcript, now: datetime, put: Put = _no_network, subscription: str = ""
    ) -> None:
        super().__init__(now, transcript)
        self.tenant = tenant
        self.subscription = subscription  # "" for the tenant as a whole
        self._put = put

    def within(self, part: str) -> Tenant:
        """The same tenant and transcript, asked about one subscription; "" for the tenant as a whole."""
        return Tenant(self.tenant, self.transcript, self.now, self._put, part)

    def identity(self) -> str:
        """Who asks: "<application or object id>@<tenant>". Raises Denied when the credentials are another tenant's."""
        raise NotImplementedError

    def parts(self) -> list[str]:
        """The ids of the subscriptions that are observed, sorted."""
        raise NotImplementedError

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        """Every resource of a type ("microsoft.compute/disks") in the subscription of the handle, or in all."""
        raise NotImplementedError

    @overload
    def get(self, path: str, *, api: str, absent: tuple[str, ...]) -> dict[str, Any] | None: ...
    @overload
    def get(self, path: str, *, api: str) -> dict[str, Any]: ...
    def get(self, path: str, *, api: str, absent: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """One ARM GET that has one page. An error code in ``absent`` is the answer None."""
        raise NotImplementedError

    def each(self, path: str, *, api: str, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        """All items of ``value`` over every page of an ARM listing. An error code in ``absent`` is the empty list."""
        raise NotImplementedError

    @overload
    def graph(self, path: str, *, absent: tuple[str, ...], **query: Any) -> dict[str, Any] | None: ...
    @overload
    def graph(self, path: str, **query: Any) -> dict[str, Any]: ...
    def graph(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> dict[str, Any] | None:
        """One Microsoft Graph v1.0 GET ("/policies/..."); ``select="id"`` is sent as ``$select=id``."""
        raise NotImplementedError

    def graph_each(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        """All items of ``value`` over every page of a Microsoft Graph v1.0 listing."""
        raise NotImplementedError


def kept(tenant: str, transcript: Transcript, reference: datetime, settings: Mapping[str, Any]) -> Tenant:
    """The tenant that answers from a kept transcript, offline; ``settings`` is its sealed record."""
    return Tenant(tenant, transcript, reference)
