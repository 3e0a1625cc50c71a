"""What is derived says what the log says: now, at any moment, and the same after it was thrown away and made again."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa

from collector import canonical
from collector.errors import StoreError
from collector.ledger.entry import Draft, Kind, PlannedCheck, gap_fields, plan_fields
from collector.ledger.projecting import facts_digest
from collector.ledger.tables import DERIVED
from collector.model import Gap, Scope, State

CHECK, SCOPE = "aws-iam-user-mfa", "aws/123456789012"
GOOD = (State.SATISFIED, "has MFA")
BAD = (State.NOT_SATISFIED, "has no MFA")
OUTSIDE = (State.NOT_APPLICABLE, "has no password")
LOST = (State.UNDETERMINED, "could not be read: denied")


def live(ledger, world, *populations, **how):
    """One run an hour, from hour 0."""
    entries = []
    for hour, population in enumerate(populations):
        with ledger.write() as batch:
            entries.append(world.run(batch, hour, population, **how))
    return entries


def begun(world, hour):
    return world.at(hour) + timedelta(minutes=1)


def derived(ledger):
    """Every derived row, by table."""
    with ledger._database.reading() as connection:
        return {t.name: connection.execute(sa.select(t).order_by(*t.c)).all() for t in DERIVED}


def rows_of(ledger, table):
    return len(derived(ledger)[table])


# --- states ---


def test_subjects_stand_as_the_last_run_found_them(ledger, world):
    first, second = live(ledger, world, {"a": GOOD, "b": BAD, "c": LOST}, {"a": BAD, "b": BAD, "d": OUTSIDE})
    states = ledger.projection.open_states(CHECK, SCOPE)
    assert list(states) == ["a", "b", "d"]
    assert (states["a"].state, states["a"].reason) == BAD
    assert (states["a"].since, states["a"].run) == (begun(world, 1), second.seq)
    assert (states["b"].since, states["b"].run) == (begun(world, 0), first.seq)
    assert states["d"].state is State.NOT_APPLICABLE
    assert states["b"].facts_digest == facts_digest({"mfa": False, "more": 0})
    assert ledger.projection.open_states(CHECK, "aws/999999999999") == {}


def test_what_could_not_be_read_is_a_state_of_its_own_without_facts(ledger, world):
    live(ledger, world, {"a": GOOD}, {"a": LOST})
    standing = ledger.projection.open_states(CHECK, SCOPE)["a"]
    assert (standing.state, standing.facts_digest, standing.since) == (State.UNDETERMINED, "", begun(world, 1))


def test_a_new_reason_begins_an_interval_but_not_a_new_stretch(ledger, world):
    worse = (State.NOT_SATISFIED, "has no MFA and a key from 2019")
    first, second, _ = live(ledger, world, {"a": BAD}, {"a": worse}, {"a": worse})
    standing = ledger.projection.open_states(CHECK, SCOPE)["a"]
    assert (standing.reason, standing.since, standing.run) == (worse[1], begun(world, 0), first.seq)
    intervals = list(ledger.projection.intervals())
    assert [(i.reason, i.from_run, i.to_run) for i in intervals] == [
        (BAD[1], first.seq, second.seq),
        (worse[1], second.seq, None),
    ]


def test_new_facts_with_the_same_verdict_are_known_without_a_new_interval(ledger, world):
    with ledger.write() as batch:
        world.run(batch, 0, {"a": GOOD}, facts=1)
    with ledger.write() as batch:
        world.run(batch, 1, {"a": GOOD}, facts=2)
    standing = ledger.projection.open_states(CHECK, SCOPE)["a"]
    assert standing.facts_digest == facts_digest({"mfa": True, "more": 2})
    assert standing.since == begun(world, 0)
    assert rows_of(ledger, "state_interval") == 1


def test_unchanged_writes_a_run_and_nothing_else(ledger, world):
    live(ledger, world, {"a": GOOD, "b": BAD})
    before = derived(ledger)
    with ledger.write() as batch:
        world.run(batch, 1, {"a": GOOD, "b": BAD})
    after = derived(ledger)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"run", "pair"}
    assert len(after["run"]) == 2
    assert len(after["pair"]) == 1


def test_unchanged_does_not_even_look_into_the_observations(ledger, world, vandal):
    (first,) = live(ledger, world, {"a": GOOD})
    vandal(("DELETE FROM blob WHERE digest = ?", (bytes.fromhex(first.data["observations"]),)))
    fields = {name: value for name, value in first.data.items() if name not in ("seq", "kind", "at")}
    with ledger.write() as batch:
        again = batch.add(Draft(Kind.RUN, world.at(1), fields))
    with pytest.raises(StoreError, match="holds no blob"), ledger.write() as batch:
        batch.add(Draft(Kind.RUN, world.at(2), {**fields, "observations": "0" * 64}))
    assert ledger.projection.status()[0].seq == again.seq


def test_a_subject_that_vanishes_and_comes_back_has_two_intervals(ledger, world):
    runs = live(ledger, world, {"a": GOOD}, {}, {"a": GOOD})
    intervals = list(ledger.projection.intervals())
    assert [(i.from_run, i.to_run, i.from_at, i.to_at) for i in intervals] == [
        (runs[0].seq, runs[1].seq, begun(world, 0), begun(world, 1)),
        (runs[2].seq, None, begun(world, 2), None),
    ]
    assert ledger.projection.open_states(CHECK, SCOPE)["a"].since == begun(world, 2)


# --- blindness ---


def test_a_run_without_population_closes_nothing_and_opens_a_blind_scope(ledger, world):
    runs = live(ledger, world, {"a": GOOD}, "denied", "denied", "throttled", {"a": GOOD})
    assert [(i.seen, i.reason, i.from_run, i.to_run) for i in ledger.projection.scope_intervals()] == [
        (True, "", runs[0].seq, runs[1].seq),
        (False, "denied", runs[1].seq, runs[3].seq),
        (False, "throttled", runs[3].seq, runs[4].seq),
        (True, "", runs[4].seq, None),
    ]
    (interval,) = ledger.projection.intervals()
    assert (interval.from_run, interval.to_run) == (runs[0].seq, None)


def test_a_blind_scope_stands_blind_since_its_first_blind_run(ledger, world):
    assert ledger.projection.scope_standing(CHECK, SCOPE) is None
    first, *_ = live(ledger, world, {"a": GOOD}, "denied", "throttled")
    standing = ledger.projection.scope_standing(CHECK, SCOPE)
    assert (standing.seen, standing.reason, standing.failure) == (False, "throttled", "denied")
    assert (standing.since, standing.run) == (begun(world, 1), first.seq + 1)
    assert (ledger.projection.open_states(CHECK, SCOPE)["a"].state) is State.SATISFIED


def test_states_at_a_blind_moment_say_so_on_every_subject_and_once_by_themselves(ledger, world):
    live(ledger, world, {"a": GOOD}, "denied", {"a": GOOD})
    with ledger.write() as batch:
        world.run(batch, 1, "disabled", check="aws-never-seen")
    at = begun(world, 1) + timedelta(minutes=10)
    found = ledger.projection.states_at(at)
    assert [(i.check, i.subject, i.state, i.blind) for i in found] == [
        (CHECK, "", State.UNDETERMINED, "denied"),
        (CHECK, "a", State.SATISFIED, "denied"),
        ("aws-never-seen", "", State.UNDETERMINED, "disabled"),
    ]
    assert (found[0].from_at, found[0].to_at) == (begun(world, 1), begun(world, 2))
    assert [(i.subject, i.blind) for i in ledger.projection.states_at(begun(world, 2), check=CHECK)] == [("a", "")]
    assert [i.subject for i in ledger.projection.states_at(begun(world, 0))] == ["a"]
    assert ledger.projection.states_at(begun(world, 0) - timedelta(microseconds=1)) == []
    assert ledger.projection.states_at(at, scope="aws/999999999999") == []


# --- intervals against a plain model ---


def test_states_at_every_hour_are_those_of_a_plain_model(ledger, world):
    """A seeded history; the model keeps whole populations and forgets nothing."""
    history = random_history(random.Random(11), hours=60)
    told: dict[tuple[str, str], list] = {}
    for hour, runs in enumerate(history):
        with ledger.write() as batch:
            for (check, region), population in runs.items():
                world.run(batch, hour, population, check=check, region=region)
                told.setdefault((check, region), []).append((hour, population))
    for hour in range(60):
        expected = set()
        for (check, region), runs in told.items():
            scope = str(Scope("aws", "123456789012", region))
            past = [population for at, population in runs if at <= hour]
            known = next((p for p in reversed(past) if not isinstance(p, str)), {})
            blind = past[-1] if past and isinstance(past[-1], str) else ""
            expected |= {(check, scope, subject, *verdict, blind) for subject, verdict in known.items()}
            if blind:
                expected.add((check, scope, "", State.UNDETERMINED, blind, blind))
        found = ledger.projection.states_at(begun(world, hour))
        assert {(i.check, i.scope, i.subject, i.state, i.reason, i.blind) for i in found} == expected
        assert len(found) == len(expected)
        assert [i[:3] for i in found] == sorted(i[:3] for i in found)


def test_nobody_is_in_two_intervals_at_once_and_none_is_empty(ledger, world):
    write_history(ledger, world, random_history(random.Random(12), hours=60))
    last = {}
    for i in ledger.projection.intervals():
        before = last.get((i.check, i.scope, i.subject))
        assert before is None or (before.to_run is not None and before.to_run <= i.from_run)
        assert i.to_run is None or i.from_run < i.to_run
        last[i.check, i.scope, i.subject] = i
    last = {}
    for i in ledger.projection.scope_intervals():
        before = last.get((i.check, i.scope))
        assert before is None or before.to_run == i.from_run
        last[i.check, i.scope] = i


def test_intervals_are_those_that_touch_the_stretch(ledger, world):
    live(ledger, world, {"a": GOOD, "b": BAD}, {"a": BAD, "b": BAD}, {"a": GOOD, "b": BAD})
    ask = ledger.projection.intervals
    assert [i.subject for i in ask(since=begun(world, 1), until=begun(world, 2))] == ["b", "a"]
    assert [i.from_at for i in ask(until=begun(world, 0))] == []
    assert [i.state for i in ask(since=begun(world, 2)) if i.subject == "a"] == [State.SATISFIED]
    assert [(i.subject, i.to_at is None) for i in ask(state=State.NOT_SATISFIED)] == [("b", True), ("a", False)]
    assert list(ask(check="aws-other")) == []
    assert len(list(ask(check=CHECK, scope=SCOPE))) == 4
    assert len(list(ledger.projection.scope_intervals(since=begun(world, 1), until=begun(world, 2)))) == 1
    assert list(ledger.projection.scope_intervals(seen=False)) == []


# --- runs ---


def test_runs_come_back_as_they_were_sealed(ledger, world):
    with ledger.write() as batch:
        seen = world.run(batch, 0, {"a": GOOD, "b": BAD, "c": LOST})
        blind = world.run(batch, 0, "denied", region="eu-west-1")
        by_hand = world.run(batch, 1, {}, by_hand=True)
    rows = list(ledger.projection.runs())
    assert [row.seq for row in rows] == [seen.seq, blind.seq, by_hand.seq]
    assert rows[0] == (
        seen.seq, SCOPE, CHECK, SCOPE, world.at(0), begun(world, 0), begun(world, 0) + timedelta(seconds=2), 3,
        {"satisfied": 1, "not-satisfied": 1, "not-applicable": 0, "undetermined": 1}, "", "",
    )  # fmt: skip
    assert (rows[1].account, rows[1].scope) == (SCOPE, f"{SCOPE}/eu-west-1")
    assert (rows[1].population, rows[1].states, rows[1].failure, rows[1].reason) == (None, {}, "denied", "denied")
    assert (rows[2].slot, rows[2].population, rows[2].states["satisfied"]) == (None, 0, 0)


def test_runs_are_asked_for_by_slot_or_by_start_when_made_by_hand(ledger, world):
    live(ledger, world, *[{"a": GOOD}] * 5)
    with ledger.write() as batch:
        by_hand = world.run(batch, 2, {"a": GOOD}, by_hand=True)
    found = list(ledger.projection.runs(since=world.at(2), until=world.at(3)))
    assert [(row.slot, row.started) for row in found] == [(world.at(2), begun(world, 2)), (None, begun(world, 2))]
    assert found[1].seq == by_hand.seq
    assert list(ledger.projection.runs(check="aws-other")) == []
    assert len(list(ledger.projection.runs(scope=SCOPE))) == 6


def test_many_pages_of_runs_come_in_order(ledger, world):
    with ledger.write() as batch:
        for hour in range(2500):
            world.run(batch, hour, {})
    seqs = [row.seq for row in ledger.projection.runs(since=world.at(3), until=world.at(2400))]
    assert seqs == list(range(4, 2401))


def test_status_is_the_latest_run_of_each_check_and_scope(ledger, world):
    with ledger.write() as batch:
        for hour in range(3):
            world.run(batch, hour, {"a": GOOD})
            world.run(batch, hour, "denied", check="aws-b", region="eu-west-1")
    status = ledger.projection.status()
    assert [(row.check, row.scope, row.slot) for row in status] == [
        ("aws-b", f"{SCOPE}/eu-west-1", world.at(2)),
        (CHECK, SCOPE, world.at(2)),
    ]


# --- plans, gaps, checks ---


def test_plans_and_gaps_are_found_by_the_stretch_they_speak_of(ledger, world):
    account, other = world.account, Scope("aws", "999999999999")
    planned = [PlannedCheck(CHECK, (SCOPE,), 3600, 0)]

    def plan(batch, scope, since, until):
        fields = plan_fields(scope, world.at(since), world.at(until), planned, ["eu-west-1"], "")
        return batch.add(Draft(Kind.PLAN, world.at(since), fields))

    with ledger.write() as batch:
        first = plan(batch, account, 0, 24)
        second = plan(batch, account, 12, 36)
        third = plan(batch, other, 0, 24)
        gap = Gap(account, (CHECK,), world.at(3), world.at(5), "the collector was down")
        added = batch.add(Draft(Kind.GAP, world.at(6), gap_fields(gap)))
    ask = ledger.projection
    assert ask.plans(world.at(0), world.at(12)) == [first, third]
    assert ask.plans(world.at(24), world.at(30)) == [second]
    assert ask.plans(world.at(36), world.at(40)) == []
    assert ask.latest_plan(str(account)) == second
    assert ask.latest_plan(str(other)) == third
    assert ask.latest_plan("aws/1") is None
    assert ask.gaps(world.at(4), world.at(9)) == [
        (added.seq, SCOPE, (CHECK,), world.at(3), world.at(5), "the collector was down", world.at(6))
    ]
    assert ask.gaps(world.at(5), world.at(9)) == []


def test_the_newest_entry_of_a_kind_and_of_a_check(ledger, world):
    def card(batch, check, hour):
        return batch.add(Draft(Kind.CHECK, world.at(hour), {"check": check, "code": ""}))

    with ledger.write() as batch:
        card(batch, "aws-a", 0)
        newer = card(batch, "aws-a", 1)
        other = card(batch, "aws-b", 2)
        assert batch.projection.last(Kind.CHECK) == other
    assert ledger.projection.latest_check("aws-a") == newer
    assert ledger.projection.latest_check("aws-b") == other
    assert ledger.projection.latest_check("aws-c") is None
    assert ledger.projection.last(Kind.CHECK) == other
    assert ledger.projection.last(Kind.EXPORT) is None


# --- alerts ---


def alert(world, batch, key, event="trigger", channels=("pager", "mail"), hour=0, **more):
    about = {"cause": "failed", "check": "aws-a", "scope": "aws/1", **more}
    fields = {"key": key, "event": event, "channels": list(channels), **about}
    return batch.add(Draft(Kind.ALERT, world.at(hour), fields))


def ack(world, batch, to, hour=0):
    fields = {"alert": to.seq, "key": to.data["key"], "person": "Ann", "note": "", "via": "cli"}
    return batch.add(Draft(Kind.ACK, world.at(hour), fields))


def deliver(world, batch, to, channel, outcome, attempt=1, retry=None, hour=0):
    fields = {"alert": to.seq, "channel": channel, "attempt": attempt, "outcome": outcome, "detail": "",
              "retry_at": None if retry is None else canonical.stamp(world.at(retry))}  # fmt: skip
    return batch.add(Draft(Kind.DELIVERY, world.at(hour), fields))


def test_an_alert_is_open_from_its_trigger_to_its_resolve(ledger, world):
    with ledger.write() as batch:
        one = alert(world, batch, "one")
        two = alert(world, batch, "two")
        assert batch.projection.open_alerts() == {"one": one, "two": two}
    with ledger.write() as batch:
        alert(world, batch, "one", "resolve")
        alert(world, batch, "never", "resolve")
        again = alert(world, batch, "two")
    assert ledger.projection.open_alerts() == {"two": again}


def test_an_alert_is_owed_to_each_channel_until_it_is_settled(ledger, world):
    with ledger.write() as batch:
        raised = alert(world, batch, "one")
    ask = ledger.projection.pending
    assert [(p.alert, p.channel, p.attempt, p.retry_at) for p in ask(world.at(0))] == [
        (raised, "mail", 1, None),
        (raised, "pager", 1, None),
    ]
    with ledger.write() as batch:
        deliver(world, batch, raised, "mail", "delivered")
        deliver(world, batch, raised, "pager", "failed", attempt=1, retry=2)
    assert ask(world.at(1)) == []
    assert [(p.channel, p.attempt, p.retry_at) for p in ask(world.at(2))] == [("pager", 2, world.at(2))]
    with ledger.write() as batch:
        deliver(world, batch, raised, "pager", "gave-up", attempt=2)
        deliver(world, batch, raised, "pager", "failed", attempt=3, retry=9)  # too late: settled stays settled
    assert ask(world.at(99)) == []


def test_an_alert_that_is_held_is_not_due_before_its_time(ledger, world):
    with ledger.write() as batch:
        raised = alert(world, batch, "one", quiet={"mail": canonical.stamp(world.at(8))})
    ask = ledger.projection.pending
    assert [(p.channel, p.attempt) for p in ask(world.at(0))] == [("pager", 1)]
    assert [(p.alert, p.channel) for p in ask(world.at(8))] == [(raised, "mail"), (raised, "pager")]


def test_what_was_told_of_a_place_and_of_a_key_is_found(ledger, world):
    with ledger.write() as batch:
        first = alert(world, batch, "one", hour=1)
        over = alert(world, batch, "one", "resolve", hour=2)
        again = alert(world, batch, "one", hour=3)
        alert(world, batch, "two", hour=4, scope="aws/2")
        part = alert(world, batch, "one", "update", hour=5)
        noted = ack(world, batch, again, hour=6)
    ask = ledger.projection
    assert ask.told("failed", "aws-a", "aws/1", world.at(0)) == [first, over, again, part]
    assert ask.told("failed", "aws-a", "aws/1", world.at(3)) == [again, part]
    assert ask.told("blind", "aws-a", "aws/1", world.at(0)) == []
    assert ask.told_of("one") == [again, part, noted]
    assert ask.told_of("one", "update") == [part]
    assert ask.told_of("nobody") == []
    assert ask.last_told(("failed", "aws-a", "aws/1")) == part
    assert ask.last_told(("blind", "aws-a", "aws/1")) is None


@pytest.mark.parametrize("event", ["ack", "acknowledge", "escalate", "resolve"])
def test_an_alert_is_unheard_until_somebody_took_note_or_another_was_told_or_it_is_over(ledger, world, event):
    with ledger.write() as batch:
        one = alert(world, batch, "one", hour=1)
        alert(world, batch, "one", "update", hour=2)
        two = alert(world, batch, "two", hour=3)
    assert ledger.projection.unheard(world.at(0)) == []
    assert ledger.projection.unheard(world.at(1)) == [one]
    assert ledger.projection.unheard(world.at(3)) == [one, two]
    with ledger.write() as batch:
        ack(world, batch, one, hour=4) if event == "ack" else alert(world, batch, "one", event, hour=4)
    assert ledger.projection.unheard(world.at(9)) == [two]
    with ledger.write() as batch:
        again = alert(world, batch, "one", hour=5)
    assert ledger.projection.unheard(world.at(9)) == [two, again]


def test_the_runs_before_an_entry_and_how_its_subjects_stood_are_found(ledger, world):
    seqs = []
    for hour, population in enumerate(({"a": GOOD, "b": BAD}, {"a": BAD, "b": BAD}, "denied", {"a": BAD})):
        with ledger.write() as batch:
            seqs.append(world.run(batch, hour, population, check="aws-a", region="r").seq)
            world.run(batch, hour, {"z": GOOD}, check="aws-b", region="r")
    scope = ledger.entry(seqs[0]).data["scope"]
    ask = ledger.projection
    found = ask.runs_before("aws-a", scope, seqs[3], 9)
    assert [(run.seq, run.seen) for run in found] == [(seqs[2], False), (seqs[1], True), (seqs[0], True)]
    assert [run.started for run in found] == [begun(world, hour) for hour in (2, 1, 0)]
    assert [run.seq for run in ask.runs_before("aws-a", scope, seqs[3], 1)] == [seqs[2]]
    assert ask.runs_before("aws-a", "aws/nowhere", seqs[3], 9) == []
    stood = sorted(ask.stood("aws-a", scope, world.at(0)))
    assert stood == [
        ("a", State.NOT_SATISFIED, seqs[1], None),
        ("a", State.SATISFIED, seqs[0], seqs[1]),
        ("b", State.NOT_SATISFIED, seqs[0], seqs[3]),
    ]
    assert min(ask.stood("aws-a", scope, begun(world, 2))) == ("a", State.NOT_SATISFIED, seqs[1], None)


def test_an_alert_or_delivery_that_says_something_else_is_refused(ledger, world):
    with pytest.raises(ValueError, match="event 'shrug'"), ledger.write() as batch:
        alert(world, batch, "one", "shrug")
    with ledger.write() as batch:
        raised = alert(world, batch, "one")
    with pytest.raises(ValueError, match="outcome 'perhaps'"), ledger.write() as batch:
        deliver(world, batch, raised, "mail", "perhaps")


def test_a_batch_sees_what_it_has_added_and_others_do_not(ledger, world):
    with ledger.write() as batch:
        run = world.run(batch, 0, {"a": GOOD})
        assert batch.projection.open_states(CHECK, SCOPE)["a"].run == run.seq
        assert [row.seq for row in batch.projection.runs()] == [run.seq]
        assert ledger.projection.open_states(CHECK, SCOPE) == {}
    assert ledger.projection.open_states(CHECK, SCOPE)["a"].run == run.seq


# --- rebuilding ---


def random_history(chance, hours):
    """Hour by hour {(check, region): population or reason}: subjects come, go, turn, and scopes go blind."""
    pairs = [("aws-a", ""), ("aws-b", "eu-west-1"), ("aws-b", "us-east-1")]
    standing = {pair: {} for pair in pairs}
    history = []
    for _ in range(hours):
        runs = {}
        for pair in pairs:
            population = standing[pair]
            for subject in "abcdef":
                if chance.random() < 0.12:
                    population[subject] = chance.choice([GOOD, BAD, OUTSIDE, LOST, (BAD[0], "has an old key")])
                if chance.random() < 0.05:
                    population.pop(subject, None)
            if chance.random() < 0.9:
                runs[pair] = chance.choice(["denied", "throttled"]) if chance.random() < 0.15 else dict(population)
        history.append(runs)
    return history


def write_history(ledger, world, history):
    for hour, runs in enumerate(history):
        with ledger.write() as batch:
            for (check, region), population in runs.items():
                world.run(batch, hour, population, check=check, region=region)


@pytest.mark.parametrize("seed", range(4))
def test_rebuilt_is_what_was_live_row_by_row(ledger, world, seed):
    chance = random.Random(seed)
    raised = []
    for hour, runs in enumerate(random_history(chance, hours=40)):
        with ledger.write() as batch:
            for (check, region), population in runs.items():
                facts = chance.randrange(2)
                world.run(
                    batch, hour, population, check=check, region=region, by_hand=chance.random() < 0.1, facts=facts
                )
            if chance.random() < 0.3:
                event = chance.choice(["trigger", "trigger", "resolve", "update"])
                raised.append(alert(world, batch, chance.choice("xyz"), event, hour=hour))
            if raised and chance.random() < 0.4:
                outcome = chance.choice(["delivered", "failed", "gave-up"])
                deliver(world, batch, chance.choice(raised), chance.choice(["pager", "mail"]), outcome, retry=hour + 1)
            if chance.random() < 0.1:
                gap = Gap(world.account, (), world.at(hour), world.at(hour + 2), "the collector was down")
                batch.add(Draft(Kind.GAP, world.at(hour), gap_fields(gap)))
            if chance.random() < 0.1:
                batch.add(Draft(Kind.CHECK, world.at(hour), {"check": chance.choice(["aws-a", "aws-c"]), "code": ""}))
    before = derived(ledger)
    assert all(
        before[name] for name in ("run", "state_interval", "scope_interval", "open_alert", "outbox", "span", "told")
    )
    stands = {entry.seq for entry in ledger.projection.open_alerts().values()}
    of_those = [e.data for e in ledger.entries(kinds=[Kind.DELIVERY]) if e.data["alert"] in stands]
    assert ledger.projection.given_up() == Counter(d["channel"] for d in of_those if d["outcome"] == "gave-up")
    told = []
    ledger.rebuild(lambda done, total: told.append((done, total)))
    assert derived(ledger) == before
    assert told[-1] == (ledger.size(), ledger.size())
    write_history(ledger, world, random_history(chance, hours=3))  # and goes on from there
    after = derived(ledger)
    ledger.rebuild()
    assert derived(ledger) == after


def test_rebuilding_mends_what_was_spoiled(ledger, world, vandal):
    live(ledger, world, {"a": GOOD, "b": BAD}, {"a": BAD})
    before = derived(ledger)
    vandal("UPDATE state_interval SET state = 0", "DELETE FROM run", "UPDATE pair SET observations = NULL")
    assert derived(ledger) != before
    ledger.rebuild()
    assert derived(ledger) == before


HISTORY = {"run", "entry", "blob", "state_interval", "scope_interval", "told", "tile", "subject_name"}


@pytest.mark.only("sqlite")
def test_what_is_asked_after_each_run_reads_no_history(ledger, world):
    """By SQLite's own plans: a table that grows with time is searched, never read from end to end."""
    live(ledger, world, {"a": GOOD, "b": BAD}, {"a": BAD})
    ask, now, scope = ledger.projection, world.at(2), str(world.account)
    asked = []

    def remember(_connection, _cursor, statement, parameters, *_):
        asked.append((statement, parameters))

    with ledger.reading() as connection:
        engine = connection.engine
    sa.event.listen(engine, "before_cursor_execute", remember)
    list(ask.runs(since=world.at(1), until=now, account=scope))
    ask.status(), ask.latest_run(CHECK, scope), ask.runs_before(CHECK, scope, 3, 32), ask.slots_before(scope, now, 3)
    ask.open_states(CHECK, scope), ask.failing(CHECK, scope), ask.scope_standing(CHECK, scope)
    ask.stood(CHECK, scope, world.at(1))
    ask.open_places(), ask.open_alerts(scope), ask.unheard(now), ask.pending(now), ask.given_up()
    ask.told("failed", CHECK, scope, world.at(1)), ask.told_of("one"), ask.last_told(("failed", CHECK, scope))
    ask.last(Kind.HEARTBEAT), ask.newest(Kind.ANCHOR, 3), ask.of_kind(Kind.CONFIG), ask.latest_plan(scope)
    (
        list(ledger.entries(2, None, kinds=[Kind.ANCHOR, Kind.ACCEPTANCE])),
        ledger.key_entries(),
        ledger.newest_checkpoint(),
    )
    sa.event.remove(engine, "before_cursor_execute", remember)
    read = set()
    with ledger.reading() as connection:
        for statement, parameters in asked:
            if statement.startswith("SELECT"):
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                    words = row.detail.split()
                    read |= {f"{row.detail} for {statement}"} if words[0] == "SCAN" and words[1] in HISTORY else set()
    assert len(asked) > 25
    assert not read


@pytest.mark.parametrize("seed", range(2))
def test_runs_of_a_time_are_those_of_all_that_are_of_it(ledger, world, seed):
    chance = random.Random(seed)
    with ledger.write() as batch:
        for _ in range(60):  # answered in any order: late ones lie behind those of later slots
            world.run(batch, chance.randrange(12), {"a": GOOD}, by_hand=chance.random() < 0.2)
    every = list(ledger.projection.runs())
    for _ in range(30):
        since = chance.choice([None, world.at(chance.randrange(14))])
        until = chance.choice([None, world.at(chance.randrange(14))])
        wanted = [
            row
            for row in every
            if (since is None or (row.slot or row.started) >= since)
            and (until is None or (row.slot or row.started) < until)
        ]
        assert list(ledger.projection.runs(since=since, until=until)) == wanted
