"""The story as data, and that each of its events can be done to the cloud."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collector.demo.cloud import SimulatedCloud
from collector.demo.estate import STORY_BUCKET, STORY_USER
from collector.demo.story import LEAST_DAYS, story

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("seed", [1, 7, 2026])
@pytest.mark.parametrize("days", [LEAST_DAYS, 30, 92])
def test_everything_happens_in_every_window_of_some_length(seed: int, days: int) -> None:
    events = story(seed, START, days)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert all(START <= event.at < START + timedelta(days=days) for event in events)
    assert {event.title for event in events} == {event.title for event in story(seed, START, 30)}
    kinds = [event.kind for event in events if event.kind != "cloud"]
    assert sorted(kinds) == [
        "authority-down", "authority-up", "collector-down", "collector-up", "denied", "granted",
    ]  # fmt: skip


@pytest.mark.parametrize("days", range(1, LEAST_DAYS))
def test_a_short_window_tells_the_beginning(days: int) -> None:
    events = story(7, START, days)
    assert events
    titles = [event.title for event in events]
    for index, title in enumerate(titles):
        if title.startswith("nina.vogel enrols"):
            assert any(earlier.startswith("a user appears") for earlier in titles[:index])


def test_the_same_seed_tells_the_same_story() -> None:
    assert [(e.at, e.title) for e in story(7, START, 30)] == [(e.at, e.title) for e in story(7, START, 30)]
    assert [e.at for e in story(7, START, 30)] != [e.at for e in story(8, START, 30)]


@pytest.fixture(scope="module")
def own_cloud() -> Iterator[SimulatedCloud]:
    """A cloud of its own: the story leaves nothing as it was."""
    with SimulatedCloud(seed=7, now=START) as cloud:
        yield cloud


def test_the_story_can_be_lived_through(own_cloud: SimulatedCloud) -> None:
    iam, s3 = own_cloud.client("iam"), own_cloud.client("s3")
    seen: dict[str, set[str]] = {"mfa": set(), "policy": set()}
    for event in story(7, START, 30):
        own_cloud.set_now(event.at)
        event.act(own_cloud)
        iam.generate_credential_report()
        text = iam.get_credential_report()["Content"].decode()
        rows = {row["user"]: row["mfa_active"] for row in csv.DictReader(text.splitlines())}
        seen["mfa"].add(rows[STORY_USER])
        try:
            s3.get_bucket_policy(Bucket=STORY_BUCKET)
            seen["policy"].add("there")
        except s3.exceptions.ClientError:
            seen["policy"].add("gone")
    assert seen == {"mfa": {"true", "false"}, "policy": {"there", "gone"}}
    assert own_cloud.unserved() == []
    assert own_cloud.calls() == []
    before = iam.list_users()["Users"]
    own_cloud.reset()
    assert {user["UserName"] for user in iam.list_users()["Users"]} != {user["UserName"] for user in before}
