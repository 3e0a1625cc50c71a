"""The registry finds checks in packages, entry points and folders, and refuses each bad one with one sentence."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import checks
from collector import canonical, registry
from collector.errors import BadCheck

RIGHT = (Path(__file__).parent / "checks" / "contract" / "right.txt").read_text()


@pytest.fixture(autouse=True)
def forgotten_modules() -> Iterator[None]:
    """Modules that a test had imported are gone after it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("collector_folder_checks.", "a_distribution")):
            del sys.modules[name]


def folder(tmp_path: Path, **sources: str) -> Path:
    place = tmp_path / "folder"
    place.mkdir()
    for name, source in sources.items():
        (place / f"{name}.py").write_text(source)
    return place


def refusal(place: Path) -> str:
    with pytest.raises(BadCheck) as raised:
        registry.load([], folders=[place])
    return str(raised.value)


# --- where checks come from ---


def test_a_package_gives_all_its_checks_in_the_order_of_their_ids() -> None:
    found = registry.load([checks])
    ids = [item.check.id for item in found]
    files = [path for path in Path(checks.__file__).parent.rglob("*.py") if path.name != "__init__.py"]
    assert ids == sorted(ids)
    assert len(found) == len(ids) == len(files) > 0
    assert {item.origin for item in found} == {"checks"}


def test_a_folder_gives_its_checks_with_their_source(tmp_path: Path) -> None:
    place = folder(tmp_path, box=RIGHT)
    found = registry.load([], folders=[place])
    item = found["aws-box-closed"]
    assert "aws-box-closed" in found
    assert found.get("aws-box-open") is None
    assert item.origin == str(place)
    assert item.source == RIGHT.encode()
    assert item.code == canonical.digest(RIGHT.encode())


def test_a_folder_that_is_named_and_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").endswith("the configuration names this folder of checks and it is not there")


class Distribution(importlib.metadata.Distribution):
    """An installed distribution that offers one entry point."""

    def __init__(self, value: str) -> None:
        self.value = value

    def read_text(self, filename: str) -> str | None:
        texts = {
            "METADATA": "Metadata-Version: 2.1\nName: boxes\nVersion: 1\n",
            "entry_points.txt": f"[{registry.ENTRY_POINTS}]\nboxes = {self.value}\n",
        }
        return texts.get(filename)

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that a distribution named boxes offers as an entry point."""
    module = tmp_path / "a_distribution.py"
    module.write_text(RIGHT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **_: [Distribution("a_distribution")])
    return module


@pytest.mark.usefixtures("installed")
def test_an_entry_point_gives_its_check_only_when_it_is_named() -> None:
    assert len(registry.load([])) == 0
    found = registry.load([], entry_point_names=["boxes"])
    assert found["aws-box-closed"].origin == "entry-point:boxes"
    assert found["aws-box-closed"].source == RIGHT.encode()


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_nobody_installed_is_refused() -> None:
    with pytest.raises(BadCheck, match="no installed distribution offers an entry point 'crates'"):
        registry.load([], entry_point_names=["crates"])


def test_an_entry_point_that_names_no_module_is_refused(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.is_file()
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **_: [Distribution("a_distribution:CHECK")])
    with pytest.raises(BadCheck, match="not a module that ends in CHECK"):
        registry.load([], entry_point_names=["boxes"])


# --- what is refused ---


def test_two_checks_with_one_id_are_refused_by_the_names_of_both_places(tmp_path: Path) -> None:
    place = folder(tmp_path, box=RIGHT, another_box=RIGHT)
    assert refusal(place) == f"aws-box-closed stands in {place} and in {place}; ids are never shared"


def test_a_file_that_does_not_run_is_refused_with_its_error(tmp_path: Path) -> None:
    place = folder(tmp_path, broken="import nothing_of_that_name\n")
    assert refusal(place) == (f"{place / 'broken.py'}: ModuleNotFoundError: No module named 'nothing_of_that_name'")


def test_a_file_without_a_check_is_refused(tmp_path: Path) -> None:
    assert "a check module ends in CHECK = Check(...)" in refusal(folder(tmp_path, empty="CHECK = 'all is well'\n"))


def test_a_borrowed_population_is_refused(tmp_path: Path) -> None:
    borrowed = RIGHT.replace("population=population", "population=str.split")
    assert "population must be defined in the check's own file" in refusal(folder(tmp_path, box=borrowed))


@pytest.mark.parametrize(
    ("there", "instead", "sentence"),
    [
        ("aws-box-closed", "box-closed", "an id is the cloud and lower-case words joined by hyphens"),
        ("aws-box-closed", "aws-Box", "an id is the cloud and lower-case words joined by hyphens"),
        ("Every box is closed.", "Every box is closed", "the docstring begins with one sentence"),
        ("Every box is closed.", f"Every box is {'very ' * 20}closed.", "the docstring begins with one sentence"),
        ("Why: what is in it falls out.", "It matters.", "the docstring has no Why: paragraph"),
        ("Remedy: close it.", "Close it.", "the docstring has no Remedy: paragraph"),
        ("\n\nWhy: ", "\nWhy: ", "an empty line stands between the title and Why:"),
        ('("CC7.1",)', '("CC7.9",)', "CC7.9 is no Trust Services Criterion"),
        ('("CC7.1",)', "()", "it names no criterion"),
        ('("s3:ListAllMyBuckets",)', "()", "it declares no permission, yet it asks something"),
        ('("s3:ListAllMyBuckets",)', '("look around",)', "'look around' is not written as a permission"),
        ("good(Box(True)), bad(Box(False))", "good(Box(True)),", "it has no example that is not-satisfied"),
        ("good(Box(True)), bad(Box(False))", "bad(Box(False)),", "it has no example that is satisfied"),
        ("good(Box(True))", "good(Box(False))", "should be satisfied and is not-satisfied"),
        ("good(Box(True))", "good(True)", "facts are a frozen dataclass, not bool"),
        ("@dataclass(frozen=True)", "@dataclass", "facts are a frozen dataclass, not Box"),
        ("good(Box(True))", "good(Box(0.5))", "fails with ValueError"),
        ("good(Box(True))", "good(Box(b''))", "fails with ValueError"),
        ('satisfied("is closed") if', "[][0] if", "fails with IndexError"),
    ],
)
def test_a_check_that_breaks_the_contract_is_refused_with_one_sentence(
    tmp_path: Path, there: str, instead: str, sentence: str
) -> None:
    assert there in RIGHT
    said = refusal(folder(tmp_path, box=RIGHT.replace(there, instead, 1)))
    assert sentence in said
    assert "\n" not in said


def test_the_refusal_begins_with_the_id_of_the_check(tmp_path: Path) -> None:
    said = refusal(folder(tmp_path, box=RIGHT.replace("CC7.1", "CC0.0")))
    assert said == "aws-box-closed: CC0.0 is no Trust Services Criterion"
