"""What stands open and what is written of it: over a real ledger, as the slow rules of drift say, restart or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical, config, registry
from collector import controls as control_file
from collector.alert.standing import FACT_CHARACTERS_MAX, FACTS_MAX, LOOKS, Standing, changed
from collector.ledger.entry import Draft, Entry, Kind, observations_blob, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import CheckRun, State
from collector.window.drift import FLAP_STEADY, Cause, Drift, Event
from tests.support.drifting import CHECK, NAMES, SCOPE, START, Line, Slow, States, run_of

S, N, U = State.SATISFIED, State.NOT_SATISFIED, State.UNDETERMINED
HOUR = timedelta(hours=1)
ORIGIN = "evidence.example.com/test"
SETTINGS = f"""
[collector]
origin = "{ORIGIN}"
[alerts]
link = "https://wiki.example/alerts/{{alert}}?key={{key}}"
[alerts.webhook.pager]
url = "https://pager.example/"
secret_env = "S"
"""
CONTROL = """
[controls.DOOR]
title = "Doors are locked."
owner = "porter"
criteria = ["CC6.1"]
checks = ["aws-test-door"]
"""


class House:
    """A ledger, and runs that are sealed into it."""

    def __init__(self, folder: Path, confirm: int = 1, steady: int = 1) -> None:
        (folder / "collector.toml").write_text(SETTINGS)
        self.settings = config.load(folder / "collector.toml", {})
        self.registry = registry.load([], folders=[Path(__file__).parents[1] / "support" / "checks"])
        (folder / "controls.toml").write_text(CONTROL)
        self.controls = control_file.load(folder / "controls.toml", self.registry)
        self.controls.rows_of = lambda check: (confirm, steady)  # type: ignore[method-assign]
        self._url = f"sqlite:///{folder}/ledger.db"
        self._signer = FileSigner.open(folder / "log.key", ORIGIN, create=True)
        self.ledger = Ledger.open(self._url, origin=ORIGIN, signer=self._signer, create=True)
        self.now = START
        self.calls = self._calls()

    def _calls(self) -> str:
        with self.ledger.write() as batch:
            return batch.blob(b"[]")

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self._url, origin=ORIGIN, signer=self._signer)

    def seal(self, run: CheckRun) -> tuple[int, list[Entry]]:
        before = self.ledger.size()
        with self.ledger.write() as batch:
            if run.population is not None:
                batch.blob(observations_blob(run))
            about: dict[str, Any] = {"version": 1, "code": "", "limits": {}, "principal": "", "config": ""}
            fields = run_fields(
                run, account=SCOPE, slot=None, reference=run.started, calls=self.calls, collector="1", **about
            )
            entry = batch.add(Draft(Kind.RUN, self.now, fields))
            standing = Standing(batch, self.controls, self.settings, self.registry, lambda: self.now)
            added = standing.after(run, entry.seq)
        alerts = [e for e in self.ledger.entries(before) if e.kind is Kind.ALERT]
        assert len(alerts) == added
        return entry.seq, alerts

    def step(self, states: States, after: timedelta = HOUR) -> tuple[int, list[Entry]]:
        self.now += after
        return self.seal(run_of(states, self.now))

    def line(self, entry: Entry) -> Line:
        data = entry.data
        grouped = "group" in data
        names = tuple(canonical.parse(self.ledger.blob(data["list"]))) if grouped else (data["subject"],)
        flaps = data.get("flaps", False)
        return Line(data["cause"], data["event"], names, grouped, flaps, data["last_good"], data["first_bad"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.ledger.close()


def in_order(found: list[Line]) -> list[Line]:
    return sorted(found, key=lambda line: (line.cause, line.event, line.subjects))


def random_states(chance: random.Random, states: dict[str, State | None]) -> States:
    some = chance.sample(NAMES, chance.choice((1, 1, 1, 2, 7, len(NAMES))))
    state = chance.choice((S, S, N, N, State.NOT_APPLICABLE, U, None))
    states |= dict.fromkeys(some, state)
    return None if chance.random() < 0.08 else {name: found for name, found in states.items() if found is not None}


@pytest.mark.parametrize("seed", range(12))
def test_a_ledger_tells_what_the_slow_rules_say_also_after_restarts_and_rebuilding(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    confirm, steady = chance.choice(((1, 1), (1, 1), (2, 3), (3, 1), (1, 4)))
    house, slow = House(tmp_path, confirm, steady), Slow(confirm, steady)
    states: dict[str, State | None] = dict.fromkeys(NAMES, S)
    heard = 0
    for _ in range(60):
        seen = random_states(chance, states)
        seq, alerts = house.step(seen, chance.choice((1, 1, 1, 2, 9, 30)) * HOUR)
        assert in_order([house.line(entry) for entry in alerts]) == in_order(slow.step(seq, house.now, seen))
        heard += len(alerts)
        if chance.random() < 0.1:
            house.restart()
        if chance.random() < 0.05:
            house.ledger.rebuild()
    assert heard > 10
    opened = house.ledger.projection.open_alerts()
    assert len(opened) == len(slow.opened)
    house.ledger.close()


def test_earlier_runs_are_read_no_further_than_they_are_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    before = type(house.ledger.projection).runs_before

    def counted(self: Any, check: str, scope: str, seq: int, limit: int) -> Any:
        asked.append(limit)
        return before(self, check, scope, seq, limit)

    monkeypatch.setattr(type(house.ledger.projection), "runs_before", counted)
    house.step({"a": S, "b": N})
    asked.clear()
    for _ in range(LOOKS + 3):
        house.step({"a": U, "b": N})
    assert asked == [LOOKS]  # once, when a was first blind; what stands open asks nothing
    asked.clear()
    ((_, alerts),) = [house.step({"a": N, "b": N})]
    assert [entry.data["last_good"] for entry in alerts if entry.data["cause"] == "failed"] == [1]
    assert asked == [LOOKS, 4 * LOOKS]  # what was blind is passed over, to the run that saw it good


def test_an_alert_names_its_group_and_its_link_and_what_changed(house: House) -> None:
    house.step({f"s{n:02}": S for n in range(70)})
    seq, (entry,) = house.step({f"s{n:02}": N for n in range(70)})
    data = entry.data
    assert (data["subject"], data["count"], data["left"], data["group"]) == ("", 70, 70, seq)
    assert data["subjects"] == [f"s{n:02}" for n in range(50)]
    assert canonical.parse(house.ledger.blob(data["list"])) == [f"s{n:02}" for n in range(70)]
    assert data["link"] == f"https://wiki.example/alerts/{entry.seq}?key={data['key']}"
    assert data["facts"] == [{"fact": "is", "before": "satisfied", "after": "not-satisfied", "count": 70}]
    _, (over,) = house.step({f"s{n:02}": S for n in range(70)})
    assert (over.data["key"], over.data["event"], over.data["left"]) == (data["key"], "resolve", 0)
    assert over.data["link"] == data["link"]
    assert over.data["facts"] == [{"fact": "is", "before": "not-satisfied", "after": "satisfied", "count": 70}]


def test_part_of_a_group_is_written_down_and_nobody_is_told(house: House) -> None:
    house.step(dict.fromkeys(NAMES, N))
    _, (part,) = house.step(dict.fromkeys(NAMES, N) | {"a": S})
    assert (part.data["event"], part.data["channels"], part.data["subjects"], part.data["left"]) == (
        "update",
        [],
        ["a"],
        len(NAMES) - 1,
    )


def test_names_that_no_list_of_lines_could_hold_are_kept(house: House) -> None:
    names = [f"a\nb\u2028{n}" for n in range(8)]
    house.step(dict.fromkeys(names, N))
    _, (over,) = house.step(dict.fromkeys(names, S))
    assert canonical.parse(house.ledger.blob(over.data["list"])) == sorted(names)


def test_an_entry_fits_whatever_the_names_and_facts_are(house: House) -> None:
    wide = "\U0001f512" * 700
    run = run_of({f"{n}{wide}": N for n in range(60)}, START + HOUR)
    big = {f"fact_{n}": "\x01" * 5_000 for n in range(40)}
    observations = tuple(type(o)(o.subject, o.verdict, big, ()) for o in run.observations)
    house.now += HOUR
    _, (entry,) = house.seal(
        CheckRun(run.check, run.scope, run.started, run.finished, len(observations), observations, ())
    )
    assert 0 < len(entry.data["subjects"]) < 50
    assert entry.data["count"] == 60
    assert 0 < len(entry.data["facts"]) <= FACTS_MAX


def test_whoever_was_told_later_is_told_that_it_is_over(house: House) -> None:
    _, (entry,) = house.step({"a": N})
    with house.ledger.write() as batch:
        batch.add(Draft(Kind.ALERT, house.now, {**_fields(entry), "event": "escalate", "channels": ["boss"]}))
    _, (over,) = house.step({"a": S})
    assert over.data["channels"] == ["pager", "boss"]


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry.data.items() if name not in ("seq", "kind", "at")}


def test_a_flapping_alert_says_so_from_its_third_trigger_to_its_end(house: House) -> None:
    found = []
    for state in (N, S, N, S, N, *[S] * FLAP_STEADY):
        found += house.step({"a": state})[1]
    assert [entry.data.get("flaps", False) for entry in found] == [False] * 4 + [True] * 2
    assert [entry.data["event"] for entry in found] == ["trigger", "resolve"] * 3


def test_what_no_run_brings_about_is_written_the_same_way(house: House) -> None:
    drift = Drift(Cause.MISSED, Event.TRIGGER, "", str(SCOPE), "", "nobody looked", START, None, 1)
    with house.ledger.write() as batch:
        standing = Standing(batch, house.controls, house.settings, house.registry, lambda: house.now)
        assert standing.opened(Cause.MISSED, scope=str(SCOPE)) is None
        entry = standing.change(drift)
        assert standing.opened(Cause.MISSED, scope=str(SCOPE)) == entry
        assert standing.of_cause(Cause.MISSED) == {entry.data["key"]: entry}
        standing.change(Drift(Cause.MISSED, Event.RESOLVE, "", str(SCOPE), "", "over", START, None, 1))
        assert standing.opened(Cause.MISSED, scope=str(SCOPE)) is None
    assert house.ledger.projection.open_alerts() == {}


# --- facts ---


def test_only_what_differs_is_named_and_the_most_common_first() -> None:
    before = {"a": {"x": 1, "y": True}, "b": {"x": 1, "y": True}, "c": {"x": 1, "y": True}}
    after = {"a": {"x": 2, "y": True}, "b": {"x": 2, "y": False}, "c": {"x": 2, "y": False, "z": None}}
    assert changed(before, after, ["a", "b", "c"]) == [
        {"fact": "x", "before": "1", "after": "2", "count": 3},
        {"fact": "y", "before": "true", "after": "false", "count": 2},
        {"fact": "z", "before": None, "after": "null", "count": 1},
    ]
    assert changed(before, after, ["a"]) == [{"fact": "x", "before": "1", "after": "2"}]


def test_what_nobody_knew_before_is_named_as_it_is_and_what_nobody_can_read_now_not_at_all() -> None:
    assert changed({}, {"a": {"x": "text", "list": [1, 2]}}, ["a"]) == [
        {"fact": "list", "before": None, "after": "[1,2]"},
        {"fact": "x", "before": None, "after": "text"},
    ]
    assert changed({"a": {"x": 1}}, {"a": None}, ["a"]) == []
    assert changed({"a": {"x": 1}}, {}, ["a"]) == []


def test_values_are_cut_and_facts_are_few() -> None:
    (fact,) = changed({"a": {"x": "l" * 500}}, {"a": {"x": "m" * 500}}, ["a"])
    assert len(fact["before"]) == len(fact["after"]) == FACT_CHARACTERS_MAX
    assert fact["after"].endswith("…")
    assert len(changed({}, {"a": {f"f{n:02}": n for n in range(50)}}, ["a"])) == FACTS_MAX


def test_check_and_scope_of_the_reference_are_those_of_its_runs() -> None:
    run = run_of({"a": N}, datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    assert (run.check, run.scope) == (CHECK, SCOPE)
