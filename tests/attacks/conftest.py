"""One anchored day for a whole module, its package, and copies of it to be spoiled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.world import World
from tests.support.lived import HOUR


def live(world: World, *, bad: bool = True, hours: int = 18) -> World:
    """18 slots; bob is without MFA from 8 to 10, a region is blind at 10, the collector is down at 11 and 12.

    Whoever lives the day again to deceive somebody has no ``bad`` hours in it.
    """
    for hour in range(hours):
        if hour in (11, 12):
            continue
        world.cloud.mfa["bob"] = "false" if bad and hour in (8, 9) else "true"
        world.cloud.encrypted["vol-2"] = hour < 13
        world.cloud.fails = {("describe_volumes", "us-east-1"): "denied"} if hour == 10 else {}
        if hour == 13:
            world.now += 2 * HOUR
        world.hour("the collector was not running")
    return world


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lived = live(World(tmp_path_factory.mktemp("world") / "collector"))
    yield lived
    lived.close()


@pytest.fixture(scope="package")
def honest(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.export(tmp_path_factory.mktemp("honest") / "package").path


@pytest.fixture(scope="package")
def trust(world: World, honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an auditor holds after the export."""
    return world.trust(tmp_path_factory.mktemp("auditor") / "trust")


@pytest.fixture
def keys(world: World, tmp_path: Path) -> Path:
    """An auditor who holds keys and roots, and no checkpoint."""
    return world.trust(tmp_path / "keys", holding=False)


@pytest.fixture
def package(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "package"))
