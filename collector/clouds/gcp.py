"""One Google organisation, folder or project with what is below it, read only: every question asked once.

No SDK is imported here, so kept answers are read again without one: credentials and connections are made in
``gcp_access``. Checks see ``Organization``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, overload

from collector.clouds.handle import Handle
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer, Transcript

Put = Callable[[Call], Answer]


def _no_network(call: Call) -> Answer:
    raise AssertionError(f"{call.method} {call.url} was put to a cloud while re-performing")


class Organization(Handle):
    """One Google organisation, or one of its projects, during one run. All questions go through the run's transcript."""

    def __init__(
        self,
        parent: str,
        transcript: Transcript,
        now: datetime,
        put: Put = _no_network,
        *,
        project: str = "",
        customer: str = "my_customer",
        projects: tuple[str, ...] = (),
        workspace_admin: str = "",
    ) -> None:
        super().__init__(now, transcript)
        self.parent = parent  # "organizations/123", "folders/456" or "projects/some-id"
        self.organization = parent.replace("/", "-")
        self.project = project  # "" for everything below the parent
        self.customer = customer
        self._put = put
        self._chosen = projects
        self._workspace_admin = workspace_admin

    def within(self, part: str) -> Organization:
        """The same parent and transcript, asked about one project; "" for the parent as a whole."""
        return Organization(
            self.parent,
            self.transcript,
            self.now,
            self._put,
            project=part,
            customer=self.customer,
            projects=self._chosen,
            workspace_admin=self._workspace_admin,
        )

    @property
    def number(self) -> str:
        """The number of the handle's project ("100000000001"). Raises CannotObserve when the parent shows none."""
        raise NotImplementedError

    def identity(self) -> str:
        """Who asks: the e-mail address of the principal. Raises Denied when it may not read the parent."""
        raise NotImplementedError

    def parts(self) -> list[str]:
        """The ids of the projects that are observed, sorted."""
        raise NotImplementedError

    def assets(self, type: str) -> list[dict[str, Any]]:
        """Every asset of a type with its RESOURCE content in the project of the handle, or below the parent."""
        raise NotImplementedError

    def policies(self, type: str) -> list[dict[str, Any]]:
        """Every asset of a type that has an IAM policy, with it (IAM_POLICY content)."""
        raise NotImplementedError

    def os_inventories(self) -> list[dict[str, Any]]:
        """Every machine that has an OS inventory, with it (OS_INVENTORY content); one without an agent has none."""
        raise NotImplementedError

    @overload
    def get(self, host: str, path: str, *, absent: tuple[str, ...], **query: Any) -> dict[str, Any] | None: ...
    @overload
    def get(self, host: str, path: str, **query: Any) -> dict[str, Any]: ...
    def get(self, host: str, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> dict[str, Any] | None:
        """One answer of one page. A reason or status in ``absent`` ("NOT_FOUND") is the answer None."""
        raise NotImplementedError

    def each(
        self, host: str, path: str, items: str, *, absent: tuple[str, ...] = (), **query: Any
    ) -> list[dict[str, Any]]:
        """All of the list ``items`` over every page; a page without it has none."""
        raise NotImplementedError
