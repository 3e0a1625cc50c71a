"""Closes the alerts about what nobody is to look at any more. Says nothing of mending, and decides no plan.

What is looked at stands in the newest plan of each account. An account, a control or a part that the operator takes out
of the configuration has left at once. A part that the cloud no longer lists has left when the plans were without it for
``LISTED_AGAIN``: listings lag, and rights get lost for a day. What cannot be reached or listed stays planned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from collector import canonical
from collector.alert.standing import Standing
from collector.ledger.projection import OpenPlace, Projection
from collector.ledger.store import Batch, Ledger
from collector.model import Scope
from collector.window.drift import Cause
from collector.window.slots import scopes_of

LISTED_AGAIN = timedelta(days=1)
WORDS = "no longer observed"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Mine = Callable[[str], bool]
StandingOf = Callable[[Batch, str], Standing]


@dataclass(frozen=True)
class Configured:
    """What the configuration of now asks for."""

    accounts: Collection[str]
    checks: Collection[str]  # that controls bind
    chosen: Collection[str]  # accounts whose parts the operator names


def asking(read: Projection) -> Callable[[str, str], bool]:
    """Whether the newest plan of its account asks for a check over a scope; of an account that never had a plan nobody
    can say that it does not. Plans are read once: hold it no longer than a transaction."""
    plans = _Plans(read, EPOCH)
    return lambda check, scope: plans.asks_now(_account_of(scope), OpenPlace("", 0, "", check, scope))


def close_left(
    ledger: Ledger, configured: Configured, standing_of: StandingOf, now: datetime, mine: Mine = lambda account: True
) -> int:
    """Closes what left; only of the accounts that are ``mine``. Returns how many alerts were closed.

    Costs a look at the open alerts' places and the newest plans, and writes nothing when nothing left.
    """
    if not _left(ledger.projection, configured, now, mine):
        return 0
    closed = 0
    with ledger.write() as batch:
        by_account: dict[str, list[tuple[OpenPlace, str]]] = {}
        for of, place, reason in _left(batch.projection, configured, now, mine):
            by_account.setdefault(of, []).append((place, reason))
        for of, left in by_account.items():
            standing = standing_of(batch, of)
            for place, reason in left:
                standing.close(batch.projection.entry(place.seq), reason)
                closed += 1
    return closed


def close_places(ledger: Ledger, places: Collection[str], standing_of: StandingOf, now: datetime) -> int:
    """Closes the alerts about places outside that are configured no longer."""
    read = ledger.projection
    if not any(_subject(read, one) not in places for one in read.open_places() if one.cause == Cause.ANCHOR):
        return 0
    closed = 0
    with ledger.write() as batch:
        standing = standing_of(batch, "")
        for entry in standing.of_cause(Cause.ANCHOR).values():
            id = entry.data["subject"]
            if id not in places:
                standing.close(entry, f"{WORDS}: the place {id} left the configuration by {_when(now)}")
                closed += 1
    return closed


def _subject(read: Projection, place: OpenPlace) -> str:
    return str(read.entry(place.seq).data["subject"])


def _left(read: Projection, configured: Configured, now: datetime, mine: Mine) -> list[tuple[str, OpenPlace, str]]:
    """Account, alert and reason of everything that left."""
    plans = _Plans(read, now)
    found: list[tuple[str, OpenPlace, str]] = []
    for place in read.open_places():
        if not place.scope:
            continue  # a place outside
        of = _account_of(place.scope)
        if not mine(of) or plans.asks_now(of, place):
            continue
        since = plans.without_since(of, place)
        if of not in configured.accounts:
            what = f"account {of} left the configuration"
        elif place.check and place.check not in configured.checks:
            what = f"no control of the configuration binds {place.check} any more, which ended"
        elif of in configured.chosen or not place.check:
            what = f"{place.scope} left the configuration"
        elif now - since >= LISTED_AGAIN:
            what = f"{place.scope} left what {of} lists"
        else:
            continue
        found.append((of, place, f"{WORDS}: {what} on {_when(since)}"))
    return found


def _account_of(scope: str) -> str:
    return str(replace(Scope.parse(scope), part=""))


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@dataclass
class _Plans:
    """What plans ask for, read once."""

    read: Projection
    now: datetime
    _newest: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    _pairs: dict[int, frozenset[tuple[str, str]]] = field(default_factory=dict)
    _since: dict[tuple[str, str, str], datetime] = field(default_factory=dict)

    def asks_now(self, account: str, place: OpenPlace) -> bool:
        """Whether the newest plan asks for it; of an account that never had a plan nobody can say that it left."""
        if account not in self._newest:
            entry = self.read.latest_plan(account)
            self._newest[account] = None if entry is None else entry.data
        newest = self._newest[account]
        return newest is None or self._asks(newest, place)

    def without_since(self, account: str, place: OpenPlace) -> datetime:
        """Since when no plan asks for it."""
        about = (account, place.check, place.scope)
        if about not in self._since:
            newest = self._newest[account]
            assert newest is not None
            found = canonical.moment(newest["since"])
            begun = self.read.entry(place.seq).at
            for entry in reversed(self.read.plans_in_force(account, begun, self.now + timedelta(seconds=1))):
                if self._asks(entry.data, place):
                    break
                found = min(found, canonical.moment(entry.data["since"]))
            self._since[about] = found
        return self._since[about]

    def _asks(self, plan: Mapping[str, Any], place: OpenPlace) -> bool:
        if not place.check:
            return bool(plan["checks"])
        seq = plan["seq"]
        if seq not in self._pairs:
            self._pairs[seq] = frozenset(
                (item["check"], scope) for item in plan["checks"] for scope in scopes_of(plan, item)
            )
        return (place.check, place.scope) in self._pairs[seq]
