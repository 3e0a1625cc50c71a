"""Acceptances and acknowledgements: what is refused, what stands, what lapses, and that no verdict ever changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from collector import decisions
from collector.errors import ConfigError
from collector.ledger.entry import Kind
from collector.model import State
from tests.support.lived import ACCOUNT, Lived

CHECK = "aws-iam-user-mfa"
SCOPE = f"aws/{ACCOUNT}"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
DAY = timedelta(days=1)


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    day = Lived(tmp_path)
    day.cloud.mfa["bob"] = "false"
    day.hour()
    yield day
    day.ledger.close()


def accept(lived: Lived, **changed):
    words = {"check": CHECK, "scope": SCOPE, "subject": BOB, "approver": "cara", "reason": "leaves on Friday"}
    words |= {"expires": lived.now + DAY, **changed}
    return decisions.accept(lived.ledger, lived.operation.controls, lived.now, **words)


def review(lived: Lived) -> int:
    operation = lived.operation
    return decisions.review(lived.ledger, lived.now, operation.controls, operation.settings, operation.registry)


def lapsed(lived: Lived) -> list[tuple[str, str]]:
    alerts = [entry.data for entry in lived.ledger.entries(kinds=[Kind.ALERT])]
    return [(alert["event"], alert["subject"]) for alert in alerts if alert["cause"] == "lapsed"]


def test_an_acceptance_is_an_entry_and_changes_no_verdict(lived) -> None:
    before = lived.ledger.projection.open_states(CHECK, SCOPE)
    entry = accept(lived, ticket="SEC-7")
    assert entry.data["control"] == "IAM-1"
    assert entry.data["revokes"] is None
    assert lived.ledger.projection.open_states(CHECK, SCOPE) == before
    (known,) = decisions.standing(lived.ledger)
    assert known.covers(CHECK, SCOPE, BOB, lived.now)
    assert not known.covers(CHECK, SCOPE, BOB, lived.now + DAY)
    assert not known.covers(CHECK, SCOPE, BOB, lived.now - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"subject": BOB.replace("bob", "bod")}, "did you mean"),
        ({"subject": BOB.replace("bob", "ann")}, "no deviation to accept"),
        ({"scope": "aws/123456789013"}, "did you mean"),
        ({"check": "aws-iam-user-mfaa"}, "did you mean"),
        ({"approver": " "}, "--approver"),
        ({"reason": ""}, "--reason"),
    ],
)
def test_what_is_no_decision_is_refused_and_says_what_to_do(lived, changed, words) -> None:
    size = lived.ledger.size()
    with pytest.raises(ConfigError, match=words):
        accept(lived, **changed)
    assert lived.ledger.size() == size


@pytest.mark.parametrize("days", [0, -1, 367])
def test_an_acceptance_ends_after_now_and_within_a_year(lived, days) -> None:
    with pytest.raises(ConfigError, match="366 days"):
        accept(lived, expires=lived.now + days * DAY)


def test_an_acceptance_that_ran_out_alerts_once_and_resolves_when_it_is_mended(lived) -> None:
    accept(lived)
    assert review(lived) == 0
    lived.now += DAY
    lived.hour()
    assert review(lived) == 1
    assert review(lived) == 0
    lived.cloud.mfa["bob"] = "true"
    lived.hour()
    assert review(lived) == 1
    assert lapsed(lived) == [("trigger", BOB), ("resolve", BOB)]


def test_deciding_anew_resolves_what_lapsed(lived) -> None:
    accept(lived)
    lived.now += DAY
    review(lived)
    accept(lived, expires=lived.now + DAY)
    review(lived)
    assert lapsed(lived) == [("trigger", BOB), ("resolve", BOB)]


def test_an_acceptance_of_every_subject_covers_each_that_fails(lived) -> None:
    accept(lived, subject="")
    lived.cloud.mfa["ann"] = "false"
    lived.now += DAY
    lived.hour()
    review(lived)
    assert sorted(subject.rsplit("/", 1)[1] for _, subject in lapsed(lived)) == ["ann", "bob"]


def test_a_revoked_acceptance_no_longer_holds_and_is_revoked_once(lived) -> None:
    first = accept(lived)
    decisions.revoke(lived.ledger, lived.now, seq=first.seq, approver="cara", reason="stays")
    review(lived)
    assert lapsed(lived) == [("trigger", BOB)]
    with pytest.raises(ConfigError, match="already revoked"):
        decisions.revoke(lived.ledger, lived.now, seq=first.seq, approver="cara", reason="stays")
    with pytest.raises(ConfigError, match="no acceptance"):
        decisions.revoke(lived.ledger, lived.now, seq=0, approver="cara", reason="stays")


def test_an_acknowledgement_names_its_alert(lived) -> None:
    alert = next(e for e in lived.ledger.entries(kinds=[Kind.ALERT]) if e.data["subject"] == BOB)
    entry = decisions.acknowledge(lived.ledger, lived.now, alert=alert.seq, person="dan", note="on it")
    assert (entry.data["alert"], entry.data["key"], entry.data["via"]) == (alert.seq, alert.data["key"], "cli")
    for seq in (0, -1, 10**6):
        with pytest.raises(ConfigError, match="no alert that began"):
            decisions.acknowledge(lived.ledger, lived.now, alert=seq, person="dan")
    with pytest.raises(ConfigError, match="--person"):
        decisions.acknowledge(lived.ledger, lived.now, alert=alert.seq, person="")


def lapses(lived: Lived) -> set[str]:
    """Whose acceptance is over though they are not satisfied, by reading everything each time."""
    known = decisions.acceptances(lived.ledger.entries(kinds=[Kind.ACCEPTANCE]))
    assert decisions.standing(lived.ledger) == known
    found = set()
    for item in known:
        if item.expires > lived.now and item.revoked_by is None:
            continue
        for subject, stands in lived.ledger.projection.open_states(item.check, item.scope).items():
            if stands.state is State.NOT_SATISFIED and item.subject in ("", subject):
                covered = any(other.covers(item.check, item.scope, subject, lived.now) for other in known)
                found |= set() if covered else {subject}
    return found


@pytest.mark.parametrize("seed", range(2))
def test_a_review_finds_what_reading_everything_finds(lived, seed) -> None:
    chance, seen = random.Random(seed), 0
    for _ in range(20):
        lived.cloud.mfa["bob"] = chance.choice(["true", "false", "false"])
        lived.hour()
        states = lived.ledger.projection.open_states(CHECK, SCOPE)
        bad = [name for name, stands in states.items() if stands.state is State.NOT_SATISFIED]
        if bad and chance.random() < 0.4:
            accept(lived, subject=chance.choice(["", *bad]), expires=lived.now + timedelta(hours=chance.choice([1, 3])))
        left = [item for item in decisions.standing(lived.ledger) if item.revoked_by is None]
        if left and chance.random() < 0.2:
            about = {"seq": chance.choice(left).seq, "approver": "cara", "reason": "no longer"}
            decisions.revoke(lived.ledger, lived.now, **about)
        review(lived)
        wanted = lapses(lived)
        stand = [e.data for e in lived.ledger.projection.open_alerts().values() if e.data["cause"] == "lapsed"]
        assert {data["subject"] for data in stand} == wanted
        seen += bool(wanted)
    assert seen > 2
