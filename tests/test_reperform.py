"""Kept answers are judged again: agreement, every way to disagree, and everything that cannot be judged again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from collector import canonical, reperform
from collector.check import Check, Family, bad, good, satisfied
from collector.model import Scope
from collector.registry import Registered, Registry
from collector.reperform import Mismatch
from tests.support.lived import ACCOUNT, Lived, live

MFA = "aws-iam-user-mfa"
VOLUMES = "aws-ebs-volume-encryption"
PATCHES = "aws-ec2-patch-compliance"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    lived = live(tmp_path_factory.mktemp("day"))
    lived.cloud.account = "999999999999"
    lived.hour()  # slot 18: other credentials, so the account is not opened
    lived.cloud.account = ACCOUNT
    yield lived
    lived.ledger.close()


def runs(day: Lived, hour: int, check: str = "") -> list[dict[str, Any]]:
    slot = f"2026-01-01T{hour:02}:00:00.000000Z"
    every = [e.data for e in day.ledger.entries() if e.kind == "run" and e.data["slot"] == slot]
    return [data for data in every if check in ("", data["check"])]


def again(
    day: Lived,
    entries: list[dict[str, Any]],
    known: Registry | None = None,
    blobs: Mapping[str, bytes] = {},
    **more: Any,
) -> list[Mismatch]:
    def body(digest: str) -> bytes:
        return blobs.get(digest) or day.ledger.blob(digest)

    calls = body(entries[0]["calls"])
    known = reperform.installed() if known is None else known
    return reperform.reperform(calls, body, entries, known, lambda code: day.ledger.blob(code), **more)


def test_every_run_of_the_day_gives_the_same_again(day: Lived) -> None:
    for hour in (0, 8, 13, 15):
        assert again(day, runs(day, hour)) == []


def test_a_run_without_population_gives_the_same_reason_again(day: Lived) -> None:
    blind = [data for data in runs(day, 10, VOLUMES) if data["population"] is None]
    assert [data["failure"] for data in blind] == ["denied"]
    assert again(day, blind) == []
    (said,) = again(day, [{**blind[0], "reason": "the population could not be read: it was a holiday"}])
    assert said.differs


def test_an_undetermined_subject_is_undetermined_again(day: Lived) -> None:
    (partial,) = [data for data in runs(day, 14, PATCHES) if data["states"]["undetermined"]]
    assert again(day, [partial]) == []


def test_an_account_that_was_not_opened_is_not_opened_again(day: Lived) -> None:
    refused = runs(day, 18)
    assert len(refused) == 5
    assert {data["failure"] for data in refused} == {"denied"}
    assert again(day, refused) == []
    (said, *_) = again(day, [{**refused[0], "failure": "throttled"}])
    assert said.differs


def test_where_nobody_answered_there_is_nothing_to_judge(day: Lived) -> None:
    (entry,) = runs(day, 18, MFA)
    empty = canonical.record([])
    (said,) = again(day, [{**entry, "calls": "none"}], blobs={"none": empty})
    assert not said.differs
    assert "nothing to judge" in said.what


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"population": 3}, "its counts are"),
        ({"states": {"satisfied": 2, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}}, "its counts are"),
        ({"subjects": "0" * 64}, "its counts are"),
        ({"principal": "arn:aws:iam::123456789012:role/Other"}, "it was asked as"),
        ({"population": None, "reason": "closed", "failure": "denied", "observations": ""}, "it says closed"),
        ({"limits": {"days": 1}}, "its limits are not those of its check"),
    ],
)
def test_an_entry_that_says_otherwise_differs(day: Lived, change: dict[str, Any], told: str) -> None:
    (entry,) = runs(day, 8, MFA)
    (said,) = again(day, [{**entry, **change}])
    assert said.differs
    assert (said.seq, said.check, said.scope) == (entry["seq"], MFA, f"aws/{ACCOUNT}")
    assert told in said.what


@pytest.mark.parametrize(
    ("part", "value"), [("state", "satisfied"), ("reason", "is fine"), ("facts", {"mfa": True}), ("exchanges", [0])]
)
def test_an_observation_that_was_changed_is_named(day: Lived, part: str, value: Any) -> None:
    (entry,) = runs(day, 8, MFA)
    kept = canonical.parse(day.ledger.blob(entry["observations"]))
    bob = next(item for item in kept["subjects"] if item["subject"].endswith("user/bob"))
    assert bob["state"] == "not-satisfied"
    bob[part] = value
    lie = canonical.record(kept)
    (said,) = again(day, [{**entry, "observations": canonical.digest(lie)}], blobs={canonical.digest(lie): lie})
    assert said.differs
    assert said.what.startswith(f"{bob['subject']}: {part} ")


def test_a_subject_that_was_left_out_is_named(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    kept = canonical.parse(day.ledger.blob(entry["observations"]))
    gone = kept["subjects"].pop(1)
    lie = canonical.record(kept)
    (said,) = again(day, [{**entry, "observations": canonical.digest(lie)}], blobs={canonical.digest(lie): lie})
    assert said.what == f"{gone['subject']} is in the kept answers, and the run does not have it"


def test_limits_and_the_time_of_the_run_enter_the_verdict(day: Lived) -> None:
    """The machine was scanned at midnight; at most two days are allowed."""
    (entry,) = [data for data in runs(day, 15, PATCHES) if data["population"]]
    assert entry["limits"]["scan_days_max"] == 2
    (said,) = again(day, [{**entry, "reference": "2026-01-05T00:00:00.000000Z"}])
    assert said.differs
    stricter = {**entry["limits"], "missing_critical_max": 0, "scan_days_max": 0}
    assert again(day, [{**entry, "limits": stricter}]) == []  # scanned the same day
    (said,) = again(day, [{**entry, "limits": stricter, "reference": "2026-01-02T00:00:00.000000Z"}])
    assert "not-satisfied" in said.what


def test_an_answer_that_is_not_in_the_call_log_makes_the_run_differ(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    calls = canonical.parse(day.ledger.blob(entry["calls"]))
    rest = canonical.record([call for call in calls if call["operation"] != "iam:GetCredentialReport"])
    (said,) = again(day, [{**entry, "calls": "less"}], blobs={"less": rest})
    assert said.differs
    assert "was not asked in this run" in said.what


def test_a_call_log_that_cannot_be_read_differs(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    (said,) = again(day, [{**entry, "calls": "broken"}], blobs={"broken": b'[{"cloud":"aws"}]'})
    assert said.differs
    assert "its call log cannot be read" in said.what


# --- other versions ---


@dataclass(frozen=True)
class Facts:
    it: bool


def other_version(**more: Any) -> Registry:
    settings: dict[str, Any] = {
        "id": MFA,
        "family": Family.MFA,
        "criteria": ("CC6.1",),
        "permissions": ("iam:ListUsers",),
        "per": "account",
        "version": 9,
        "population": lambda aws: aws.credential_report(),
        "name": lambda row: row["arn"],
        "observe": lambda aws, row: Facts(True),
        "evaluate": lambda facts: satisfied("is fine"),
        "examples": (good(Facts(True)), bad(Facts(False))),
    }
    return Registry([Registered(Check(**{**settings, **more}), "test", b"other source")])


def test_another_version_is_never_taken_for_the_one_that_was_used(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    (said,) = again(day, [entry], other_version())
    assert not said.differs
    assert f"used version 1 of {MFA} (code {entry['code'][:12]}), installed is version 9" in said.what
    (said,) = again(day, [entry], Registry([]))
    assert "it is not installed" in said.what


def test_the_packaged_source_is_run_only_when_asked_to(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    assert again(day, [entry], other_version(), run_packaged_checks=True) == []
    turned = {**entry, "states": {"satisfied": 2, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}}
    (said,) = again(day, [turned], other_version(), run_packaged_checks=True)
    assert said.differs


def test_a_packaged_source_that_is_another_or_no_check_is_not_run(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    nonsense = b"CHECK = 1\n"
    code = canonical.digest(nonsense)

    def packaged(asked: str) -> bytes | None:
        return nonsense if asked == code else None

    calls = day.ledger.blob(entry["calls"])
    for wrong, told in (("0" * 64, "it is not there"), (code, "a check module ends in CHECK")):
        (said,) = reperform.reperform(
            calls, day.ledger.blob, [{**entry, "code": wrong}], Registry([]), packaged, run_packaged_checks=True
        )
        assert not said.differs
        assert told in said.what


def test_a_crash_is_the_same_crash_or_is_told(day: Lived) -> None:
    (entry,) = runs(day, 8, MFA)
    crashed = {
        **entry,
        "code": canonical.digest(b"other source"),
        "population": None,
        "failure": "crashed",
        "reason": "the check crashed: ZeroDivisionError",
        "observations": "",
        "states": {},
        "subjects": "",
    }
    assert again(day, [crashed], other_version(evaluate=lambda facts: 1 // 0)) == []
    (said,) = again(day, [crashed], other_version())
    assert not said.differs
    assert "did not happen again" in said.what


def test_the_home_region_of_the_account_comes_from_the_configuration(day: Lived) -> None:
    """The account is asked in eu-west-1; without its configuration the questions would be put to us-east-1."""
    (entry,) = runs(day, 8, MFA)
    (said,) = again(day, [{**entry, "config": ""}])
    assert not said.differs
    assert Scope.parse(entry["account"]).part == ""


def test_what_is_installed_is_what_ships() -> None:
    known = reperform.installed()
    assert MFA in known
    assert VOLUMES in known
