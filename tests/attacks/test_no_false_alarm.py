"""Whatever an honest collector lives through, no verifier raises an alarm: random histories, windows and filters.

What happens is drawn by hypothesis, which looks for the shortest history that would be refused. ``HISTORIES`` says how
many are tried; 1,000 of them are behind the marker ``slow``.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from collector import canonical, decisions
from collector.errors import CollectorError, ConfigError
from collector.export.read import Asked
from collector.ledger import verify
from collector.ledger.quick import Quick
from collector.ledger.seal import FileSigner
from collector.ledger.verify import Plain
from tests.attacks.world import World
from tests.support.lived import ACCOUNT, CONFIG, CONTROLS, DAY, HOME, HOUR
from tests.support.signers import P256Signer

HISTORIES, HISTORIES_SLOW = 25, 1_000
JITTER_SECONDS = 280  # of our clock against all others; 300 are allowed
OTHER_CONTROLS = CONTROLS.replace('title = "Data at rest', 'title = "All data at rest').replace(
    'checks = ["aws-ec2-patch-compliance"]', "checks = []"
)
WITHOUT_LIMITS = "\n".join(line for line in OTHER_CONTROLS.splitlines() if not line.startswith("limits"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@dataclass
class History:
    """One collector, and what may happen to it next."""

    world: World
    rotated: int = 0
    down: bool = False

    def hour(self, late_s: int, users: list[bool], volumes: list[Any], fails: str) -> None:
        cloud = self.world.cloud
        cloud.mfa = {f"user-{n}": "true" if well else "false" for n, well in enumerate(users)}
        cloud.encrypted = {f"vol-{n}": state for n, state in enumerate(volumes)}
        cloud.fails = {} if not fails else {(fails, HOME): "throttled"}
        world = self.world
        world.now = world.now.replace(minute=0, second=0) + HOUR + timedelta(seconds=late_s)
        account = world.settings.aws[0]
        world.operation.plan(account)
        world.operation.answer_due(account, "the run before it was still at work")
        world.operation.heartbeat()
        world.anchor()

    def off(self, minutes: int) -> None:
        self.world.now += timedelta(minutes=minutes)
        self.world.restart()

    def crash_loop(self, minutes: int) -> None:
        """It begins, is killed before it goes anywhere, and begins again."""
        for _ in range(3):
            self.world.now += timedelta(minutes=minutes)
            self.world.ledger.close()
            self.world.operation = self.world.begin()
            self.world.operation.heartbeat()
        self.world.restart()

    def drift(self, seconds: int) -> None:
        """Our clock is set; all others go on."""
        world = self.world
        before = world.ahead
        world.ahead = timedelta(seconds=seconds)
        world.now += before - world.ahead

    def outside(self, answers: bool, everything: bool) -> None:
        """The authority answers or does not; with ``everything``, the folder is there or is not, too."""
        self.world.outside.fail(not answers)
        vault, elsewhere = self.world.vault, self.world.vault.with_name("unmounted")
        if everything and not answers and vault.exists():
            vault.rename(elsewhere)
        elif answers and elsewhere.exists():
            elsewhere.rename(vault)

    def rotate(self, ecdsa: bool) -> None:
        world = self.world
        self.rotated += 1
        origin = world.ledger.origin
        new: Any = (
            P256Signer(1000 + self.rotated, origin)
            if ecdsa
            else FileSigner.create(world.folder / f"key-{self.rotated}.pem", origin)
        )
        world.ledger.rotate(new, world.now, "the yearly rotation")
        world.outside.trust(str(new.key))
        world.forged_signer = new

    def by_hand(self) -> None:
        self.world.now += timedelta(minutes=2)
        self.world.operation.observe(self.world.settings.aws[0], None)

    def configure(self, other: bool) -> None:
        (self.world.folder / "controls.toml").write_text(WITHOUT_LIMITS if other else CONTROLS)
        self.world.restart()

    def accept(self) -> None:
        world = self.world
        about = {"check": "aws-iam-user-mfa", "scope": f"aws/{ACCOUNT}", "approver": "ann", "reason": "=soon"}
        try:
            decisions.accept(world.ledger, world.operation.controls, world.now, expires=world.now + 3 * HOUR, **about)
        except ConfigError:
            return  # nothing deviates now

    def write_without_running(self, hours: int) -> None:
        """A command of the operator's while the collector is off."""
        self.world.now += hours * HOUR
        self.accept()
        self.world.operation.checkpoint()


def steps() -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    volume = st.sampled_from([True, True, False, None])
    hour = st.tuples(
        st.sampled_from([0, 5, 30, 30, 30, 1200]),
        st.lists(st.booleans(), max_size=3),
        st.lists(volume, max_size=3),
        st.sampled_from(["", "", "", "describe_volumes", "get_credential_report", "get_caller_identity"]),
    )
    kinds = [
        ("hour", hour),
        ("hour", hour),
        ("hour", hour),
        ("hour", hour),
        ("off", st.tuples(st.integers(1, 1800))),
        ("crash_loop", st.tuples(st.integers(1, 20))),
        ("drift", st.tuples(st.integers(-JITTER_SECONDS // 2, JITTER_SECONDS // 2))),
        ("outside", st.tuples(st.booleans(), st.booleans())),
        ("rotate", st.tuples(st.booleans())),
        ("by_hand", st.tuples()),
        ("configure", st.tuples(st.booleans())),
        ("accept", st.tuples()),
        ("write_without_running", st.tuples(st.integers(2, 30))),
    ]
    return st.one_of([st.tuples(st.just(name), arguments) for name, arguments in kinds])


ASKED = st.builds(
    Asked,
    controls=st.sampled_from([(), (), ("IAM-1",), ("DATA-1", "OPS-1")]),
    criteria=st.sampled_from([(), (), ("CC6.7",)]),
    scopes=st.sampled_from([(), (), (f"aws/{ACCOUNT}/{HOME}",)]),
)
WINDOW = st.tuples(st.integers(0, 20), st.integers(1, 30), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))


def configuration(window: tuple[int, int, str]) -> str:
    begin, length, zone = window
    since, until = DAY + begin * HOUR / 2, DAY + (begin + length) * HOUR / 2
    head = CONFIG.partition("[windows")[0]
    return (
        f"{head}[windows.drawn]\nstart = {canonical.stamp(since)}\nend = {canonical.stamp(until)}\n"
        f'zone = "{zone}"\ncriteria = ["CC6.1", "CC6.7", "CC7.1"]\n'
    )


def live(lived: list[tuple[str, tuple[Any, ...]]], window: tuple[int, int, str], asked: Asked, zipped: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(folder / "collector", configuration=configuration(window))
        try:
            history = History(world)
            for step, arguments in lived:
                getattr(history, step)(*arguments)
            history.outside(True, True)
            world.now += timedelta(minutes=20)
            check(world, folder, asked, zipped)
        finally:
            world.close()


def check(world: World, folder: Path, asked: Asked, zipped: bool) -> None:
    """Exports what can be exported, and proves it in every way in which a reader could."""
    out = folder / ("package.zip" if zipped else "package")
    try:
        path = world.export(out, "drawn", world.now, asked).path
    except CollectorError as error:
        if not any(words in str(error) for words in ("nothing was due in it yet", "the window drawn")):
            raise
        return  # the window has not begun, or has nothing of what was asked for
    trust = world.trust(folder / "trust")
    for fast in (Plain, Quick):
        found = verify.prove(path, trust, run_packaged_checks=False, progress=False, fast=fast)
        assert found["verified"], found["broken"]
        assert found["assurance"]["level"] is not None
    found = verify.prove(path, None, run_packaged_checks=False, progress=False)
    assert found["verified"], found["broken"]


def tried(histories: int) -> Any:
    """The decorators of a test over so many histories."""
    phases = (Phase.explicit, Phase.generate)
    how = settings(
        max_examples=histories,
        deadline=None,
        phases=phases,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    drawn = given(st.lists(steps(), min_size=1, max_size=14), WINDOW, ASKED, st.booleans())
    return lambda test: how(drawn(test))


@tried(HISTORIES)
def test_an_honest_history_raises_no_alarm(
    lived: list[tuple[str, tuple[Any, ...]]], window: tuple[int, int, str], asked: Asked, zipped: bool
) -> None:
    live(lived, window, asked, zipped)


@pytest.mark.skipif("COLLECTOR_HISTORIES" not in os.environ, reason="a quarter of an hour: COLLECTOR_HISTORIES=1")
@pytest.mark.slow
@tried(HISTORIES_SLOW)
def test_a_thousand_honest_histories_raise_no_alarm(
    lived: list[tuple[str, tuple[Any, ...]]], window: tuple[int, int, str], asked: Asked, zipped: bool
) -> None:
    live(lived, window, asked, zipped)
