"""What the handles of all clouds have in common: who asks, the parts of an account, and ages at the reference time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from collector.clouds.transcript import Transcript
from collector.errors import Unreadable


class Handle(ABC):
    """One account during one run. All its questions go through the run's one transcript."""

    def __init__(self, now: datetime, transcript: Transcript) -> None:
        self.now = now  # the run's one reference time, UTC
        self.transcript = transcript

    @abstractmethod
    def identity(self) -> str:
        """Who asks, in the provider's words. Raises Denied when the credentials are not for this account."""

    @abstractmethod
    def parts(self) -> list[str]:
        """The regions, subscriptions or projects of the account, sorted."""

    @abstractmethod
    def within(self, part: str) -> Any:
        """The same account and transcript, asked about one part; "" for the account as a whole."""

    def age_days(self, when: object) -> int:
        """Whole days from an ISO 8601 time of an answer to the run's reference time; negative for the future.

        Raises Unreadable for anything that is not a time.
        """
        return self._since(when) // 86_400

    def age_hours(self, when: object) -> int:
        """Whole hours from an ISO 8601 time of an answer to the run's reference time; negative for the future."""
        return self._since(when) // 3_600

    def _since(self, when: object) -> int:
        try:
            found = datetime.fromisoformat(str(when))
        except ValueError:
            raise Unreadable(f"not a time: {when!r}") from None
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)  # providers write UTC; a few operations leave the zone out
        return int((self.now - found).total_seconds() // 1)
