"""What both machine formats need: lasting identifiers, one-line text, states and holes in order. No format here."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from collector import canonical
from collector.check import Stage
from collector.export.dossier import CheckCard, ControlCard, Decision, Dossier
from collector.model import State
from collector.window.findings import Stretch
from collector.window.slots import Slot, SlotState


def stable_uuid(*parts: str) -> str:
    """A UUID of version 4's shape that is the same whenever the parts are: both formats want one that lasts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


# White space, control characters, and what regular expressions of other languages take for white space besides.
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")


def one_line(text: str) -> str:
    """``text`` without line breaks, controls or blanks at its ends, never empty: a string in OSCAL's sense."""
    return _BLANK.sub(" ", text).strip() or "-"


def criteria_of(dossier: Dossier, card: ControlCard) -> tuple[str, ...]:
    """The criteria that a control serves in a window: those of them that the window is about."""
    return tuple(id for id in dict.fromkeys(card.criteria) if not dossier.criteria or id in dossier.criteria)


def all_criteria(dossier: Dossier) -> list[str]:
    """The criteria that any control of a window serves, ordered; empty when it is about none."""
    return sorted({id for card in dossier.controls for id in criteria_of(dossier, card)})


@dataclass(frozen=True)
class Seen:
    """A stretch in which a subject was in one state, or a whole scope (subject "") was undetermined.

    ``since`` is where it begins in the window. ``entry`` is the ledger entry that says so, None when none does: then a
    slot was missed, which shows by comparing the plan with the runs. ``kind`` is ``run``, ``gap`` or ``missed``.
    ``last`` says that nothing of the same subject follows it at once, ``accepted`` who decided to live with it.
    """

    check: str
    scope: str
    subject: str
    state: State
    reason: str
    begun: datetime
    since: datetime
    until: datetime | None
    entry: int | None
    kind: str
    controls: tuple[ControlCard, ...]
    criteria: tuple[str, ...]
    last: bool
    accepted: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two stretches parts of one story."""
        return self.check, self.scope, self.subject, "" if self.kind == "run" else "unobserved"


class View:
    """A dossier in the order of the formats: by check, scope, subject and time. Holds references, copies nothing.

    Beside what the dossier holds it needs a pointer for each stretch, however often it is walked.
    """

    def __init__(self, dossier: Dossier) -> None:
        self.dossier = dossier
        self._decisions: dict[str, list[Decision]] = {}
        for decision in dossier.decisions:
            self._decisions.setdefault(decision.check, []).append(decision)
        self._binds: dict[str, tuple[ControlCard, ...]] = {}
        for card in dossier.controls:
            for check in dict.fromkeys(card.checks):
                self._binds[check] = (*self._binds.get(check, ()), card)
        self._cards: dict[str, list[CheckCard]] = {}
        for known in sorted(dossier.checks, key=attrgetter("first_used")):
            self._cards.setdefault(known.id, []).append(known)
        self._stretches: dict[str, list[Stretch]] = {}
        for items in (dossier.stretches, dossier.blind):
            for item in items:
                if item.from_at < dossier.until and (item.to_at is None or item.to_at > dossier.since):
                    self._stretches.setdefault(item.check, []).append(item)
        for found in self._stretches.values():
            for name in ("from_run", "subject", "scope"):  # stable, so the last one counts most
                found.sort(key=attrgetter(name))
        self._slots: dict[str, list[Slot]] = {}
        for slot in dossier.slots:
            self._slots.setdefault(slot.due.check, []).append(slot)
        for slots in self._slots.values():
            slots.sort(key=lambda slot: (slot.due.scope, slot.due.at))

    @property
    def checks(self) -> list[str]:
        """Every check that was due or that stood in a state in the window."""
        return sorted(self._stretches.keys() | self._slots.keys())

    def card(self, check: str, run: int | None) -> CheckCard | None:
        """The version of a check that a run was made under; None when no version of it ran in the window."""
        known = self._cards.get(check, [])
        before = [card for card in known if run is not None and card.first_used <= run]
        chosen = before[-1:] or known[:1]
        return chosen[0] if chosen else None

    def preview(self, check: str) -> bool:
        """Whether a check is observed and not counted: by the newest version that ran."""
        known = self._cards.get(check, [])
        return bool(known) and known[-1].stage == Stage.PREVIEW.value

    def seen(self, checks: Iterable[str] | None = None, *, bad: bool = False) -> Iterator[Seen]:
        """All stretches of the window, of some checks when they are named; ``bad``: only what is not good.

        Per check: the scopes that nobody looked at first, then states by scope, subject and time.
        """
        for check in self.checks if checks is None else sorted(set(checks)):
            controls = self._binds.get(check, ())
            criteria = tuple(sorted({id for card in controls for id in criteria_of(self.dossier, card)}))
            yield from self._unobserved(check, controls, criteria)
            items = self._stretches.get(check, [])
            for place, item in enumerate(items):
                if bad and item.state not in (State.NOT_SATISFIED, State.UNDETERMINED):
                    continue
                after = items[place + 1] if place + 1 < len(items) else None
                yield Seen(
                    check=item.check,
                    scope=item.scope,
                    subject=item.subject,
                    state=item.state,
                    reason=item.reason,
                    begun=item.from_at,
                    since=max(item.from_at, self.dossier.since),
                    until=item.to_at if item.to_at is not None and item.to_at < self.dossier.until else None,
                    entry=item.from_run,
                    kind="run",
                    controls=controls,
                    criteria=criteria,
                    accepted=self._accepted(item),
                    last=after is None
                    or (after.scope, after.subject) != (item.scope, item.subject)
                    or after.from_run != item.to_run,
                )

    def _accepted(self, item: Stretch) -> str:
        """Who decided to live with a deviation while it lasted. It changes no state."""
        if item.state is not State.NOT_SATISFIED or item.check not in self._decisions:
            return ""
        since, until = max(item.from_at, self.dossier.since), item.to_at or self.dossier.until
        held = [d for d in self._decisions[item.check] if d.held(item.check, item.scope, item.subject, since, until)]
        return "; ".join(
            f"accepted by {d.approver} from {canonical.stamp(d.at)} until {canonical.stamp(d.ended)}: {d.reason}"
            for d in held
        )

    def _unobserved(self, check: str, controls: tuple[ControlCard, ...], criteria: tuple[str, ...]) -> Iterator[Seen]:
        """Slots without a run, as stretches: from the first of them to the next that has one.

        A run that found no population is no such slot: it is a stretch of its own, undetermined.
        """
        slots = self._slots.get(check, [])
        begin = 0
        while begin < len(slots):
            end = begin + 1
            first = slots[begin]
            if first.run is None:
                while end < len(slots) and _same_hole(first, slots[end]):
                    end += 1
                after = slots[end] if end < len(slots) and slots[end].due.scope == first.due.scope else None
                yield Seen(
                    check=check,
                    scope=first.due.scope,
                    subject="",
                    state=State.UNDETERMINED,
                    reason=f"was not looked at in {end - begin} {'slot' if end - begin == 1 else 'slots'}: "
                    f"{first.reason or 'no reason was written down'}",
                    begun=first.due.at,
                    since=first.due.at,
                    until=None if after is None else after.due.at,
                    entry=None if first.gap is None else first.gap.seq,
                    kind="gap" if first.state is SlotState.GAP else "missed",
                    controls=controls,
                    criteria=criteria,
                    last=after is None or after.run is not None,
                )
            begin = end


def _same_hole(first: Slot, other: Slot) -> bool:
    return (
        other.run is None
        and other.due.scope == first.due.scope
        and other.state is first.state
        and (other.gap and other.gap.seq) == (first.gap and first.gap.seq)
    )
