"""docs/assurance.md and the tests say the same: each attack tried stands there, and what stands there is tried."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from collector.ledger import verify

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "assurance.md").read_text("utf-8")
TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(test_\w+)`")
TRIED = ("test_package_alone", "test_database", "test_with_the_key", "test_the_collector_itself")
HONEST = {  # what shows that there is no alarm without an attack
    "test_an_honest_package_raises_no_alarm_and_reaches_every_level",
    "test_the_verifier_in_the_package_says_the_same_without_anything_installed",
    "test_a_zip_is_verified_as_it_is",
}


def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, cell by cell."""
    part = re.split(r"\n#+ ", PAGE.split(f"# {heading}\n", 1)[1])[0]
    lines = [line for line in part.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_test_that_the_page_names_is_there() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 50
    for path, test in named:
        assert test in named_in(ROOT / path), f"{path}::{test}"


def test_every_attack_that_is_tried_stands_on_the_page() -> None:
    named = {test for _, test in TEST.findall(PAGE)}
    for module in TRIED:
        for test in named_in(Path(__file__).with_name(f"{module}.py")) - HONEST:
            assert test in named, f"{module}::{test} is in no table of docs/assurance.md"


def test_every_row_of_an_attack_names_a_test() -> None:
    for heading in ("With the package alone", "With the database", "With the ledger's key"):
        assert len(rows(heading)) >= 5
    for line in PAGE.split("## Attacks", 1)[1].split("## What this case", 1)[0].split("\n"):
        if line.startswith("| ") and not line.startswith("| attack "):
            assert TEST.search(line), line


def test_what_is_not_detectable_is_printed_with_its_procedure() -> None:
    said = dict(verify.LIMITS)
    found = rows("Not detectable")
    assert len(found) >= 4
    for what, _, procedure, shown in found:
        assert said[what] == procedure
        assert TEST.search(shown)
    told = PAGE.split("What the verifier says besides", 1)[1].split("\n\n", 1)[0]
    assert len(said) - len(found) == 3
    assert all(words in told for words in ("between two runs", "the right question", "outside of the window"))
