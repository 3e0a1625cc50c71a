"""What a series of runs should have been told of: the rules of drift once more, slow and obvious.

It keeps everything that ever happened and goes through all of it each time. No shortcut of the program is in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import strategies as st

from collector.model import CheckRun, Observation, Scope, State, Verdict

START = datetime.fromisoformat("2026-03-28T00:00:00+00:00")
SCOPE = Scope("aws", "1")
CHECK = "aws-a-b"
GOOD = (State.SATISFIED, State.NOT_APPLICABLE)
DAY = timedelta(hours=24)

States = Mapping[str, State] | None  # of one run; None when nobody could list the population


def run_of(states: States, at: datetime) -> CheckRun:
    end = at + timedelta(seconds=1)
    if states is None:
        return CheckRun(CHECK, SCOPE, at, end, None, (), (), "denied", "denied")
    seen = tuple(
        Observation(
            name, Verdict(state, f"is {state}"), None if state is State.UNDETERMINED else {"is": state.value}, ()
        )
        for name, state in sorted(states.items())
    )
    return CheckRun(CHECK, SCOPE, at, end, len(seen), seen, ())


@dataclass(frozen=True)
class Line:
    """One alert, as far as the reference speaks of it."""

    cause: str
    event: str
    subjects: tuple[str, ...]
    group: bool
    flaps: bool
    last_good: int | None
    first_bad: int


@dataclass
class Slow:
    """Everything that was run and told."""

    confirm: int
    steady: int
    runs: list[tuple[int, datetime, States]] = field(default_factory=list)
    told: list[tuple[datetime, int, Line]] = field(default_factory=list)  # when, number of the alert, what
    opened: dict[int, tuple[str, set[str], bool, int]] = field(default_factory=dict)  # cause, who is left, flaps, first
    groups: set[int] = field(default_factory=set)

    def step(self, seq: int, at: datetime, states: States) -> list[Line]:
        """What is told of one more run."""
        self.runs.append((seq, at, states))
        names = {""} | {name for _, _, seen in self.runs for name in seen or ()}
        lines = []
        for number, (cause, left, flaps, first) in sorted(self.opened.items()):
            need = max(self.steady, 6) if flaps else self.steady
            over = {name: good for name in left if (good := self._good_row(cause, name, need)) is not None}
            if not over:
                continue
            left.difference_update(over)
            grouped = number in self.groups
            event = "update" if left else "resolve"
            line = Line(cause, event, tuple(sorted(over)), grouped, flaps, max(over.values()), first)
            self.told.append((at, number, line))
            lines.append(line)
            if not left:
                del self.opened[number]
        for cause in ("blind", "failed"):
            fallen = {}
            for name in sorted(names):
                if any(known == cause and name in left for known, left, _, _ in self.opened.values()):
                    continue
                if cause == "failed" and not name:
                    continue
                if (row := self._bad_row(cause, name)) is not None:
                    fallen[name] = row
            together = [sorted(fallen)] if len(fallen) > 5 else [[name] for name in sorted(fallen)]
            for group in together:
                if not group:
                    continue
                flaps = any(self._flaps(cause, name, at) for name in group)
                goods = [fallen[name][0] for name in group if fallen[name][0] is not None]
                first = min(fallen[name][1] for name in group)
                line = Line(cause, "trigger", tuple(group), len(group) > 5, flaps, max(goods, default=None), first)
                number = len(self.told)
                self.told.append((at, number, line))
                self.opened[number] = (cause, set(group), flaps, first)
                if len(group) > 5:
                    self.groups.add(number)
                lines.append(line)
        return lines

    def _all(self, cause: str, name: str) -> list[tuple[int, State | None]]:
        """Every run that says something about one subject for one cause."""
        if not name:
            return [(seq, State.UNDETERMINED if seen is None else State.SATISFIED) for seq, _, seen in self.runs]
        found = [(seq, seen.get(name)) for seq, _, seen in self.runs if seen is not None]
        return [item for item in found if cause == "blind" or item[1] is not State.UNDETERMINED]

    def _now(self, name: str) -> tuple[bool, State | None]:
        """Whether the newest run says anything about a subject, and what."""
        states = self.runs[-1][2]
        if not name:
            return True, State.UNDETERMINED if states is None else State.SATISFIED
        return states is not None, None if states is None else states.get(name)

    def _bad_row(self, cause: str, name: str) -> tuple[int | None, int] | None:
        bad = State.UNDETERMINED if cause == "blind" else State.NOT_SATISFIED
        if self._now(name) != (True, bad):
            return None
        history = self._all(cause, name)
        row = 0
        while row < len(history) and history[-1 - row][1] is bad:
            row += 1
        if row < self.confirm:
            return None
        before = history[-1 - row] if row < len(history) else None
        return (before[0] if before is not None and before[1] is not None else None), history[-row][0]

    def _good_row(self, cause: str, name: str, need: int) -> int | None:
        def good(state: State | None) -> bool:
            return state is not State.UNDETERMINED if cause == "blind" else state in GOOD or state is None

        there, state = self._now(name)
        if not there or not good(state):
            return None
        history = self._all(cause, name)[-need:]
        return history[0][0] if len(history) == need and all(good(state) for _, state in history) else None

    def _flaps(self, cause: str, name: str, at: datetime) -> bool:
        day = [line for when, _, line in self.told if line.cause == cause and name in line.subjects and at - when < DAY]
        if any(line.flaps for line in day if line.event != "trigger"):
            return True
        return len([line for line in day if line.event == "trigger"]) >= 2


# --- series of runs ---

NAMES = tuple("abcdefghij")
STATE = st.sampled_from((*GOOD, State.NOT_SATISFIED, State.NOT_SATISFIED, State.UNDETERMINED, None))


@st.composite
def series(draw: st.DrawFn, runs: int = 40) -> list[tuple[timedelta, States]]:
    """Runs with the time since the one before: most subjects stay as they were, or all change alike."""
    found: list[tuple[timedelta, States]] = []
    states: dict[str, State | None] = dict.fromkeys(NAMES, State.SATISFIED)
    for _ in range(draw(st.integers(1, runs))):
        what = draw(st.sampled_from(("one", "one", "many", "all", "none", "blind")))
        if what == "one":
            states[draw(st.sampled_from(NAMES))] = draw(STATE)
        elif what in ("many", "all"):
            state = draw(STATE)
            some = NAMES if what == "all" else draw(st.lists(st.sampled_from(NAMES), min_size=2, unique=True))
            states |= dict.fromkeys(some, state)
        seen = None if what == "blind" else {name: state for name, state in states.items() if state is not None}
        found.append((timedelta(hours=draw(st.sampled_from((1, 1, 1, 2, 5, 30)))), seen))
    return found
