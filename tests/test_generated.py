"""The generated files in the repository are what tools/generate.py makes, and it finds each way that they are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import checks
from collector import registry
from collector.policy import aws as policy
from collector.registry import Registered, Registry
from tools import generate

FOUND = registry.load([checks])
RIGHT = (Path(__file__).parent / "checks" / "contract" / "right.txt").read_text()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    generate.write(tmp_path, generate.expected(FOUND))
    return tmp_path


def test_every_generated_file_is_up_to_date() -> None:
    wrong = generate.problems(generate.ROOT, generate.expected(FOUND))
    assert wrong == [], "run `make docs` and commit what it changes"


def test_what_was_just_written_has_no_problems(written: Path) -> None:
    assert generate.problems(written, generate.expected(FOUND)) == []


def test_missing_stale_and_left_over_files_are_named_and_mended(written: Path) -> None:
    files = generate.expected(FOUND)
    page = f"docs/reference/checks/{next(iter(FOUND)).check.id}.md"
    (written / page).unlink()
    (written / "deploy/aws/policy.json").write_text("{}\n")
    (written / "docs/reference/checks/aws-gone-for-good.md").write_text("once a check\n")
    (written / "docs/reference/by-hand.md").write_text("nobody generates this\n")
    assert generate.problems(written, files) == [
        "left over  docs/reference/checks/aws-gone-for-good.md",
        f"missing    {page}",
        "stale      deploy/aws/policy.json",
    ]
    generate.write(written, files)
    assert generate.problems(written, files) == []
    assert (written / "docs/reference/by-hand.md").is_file()


def test_two_generators_never_make_one_file() -> None:
    twice = (*generate.GENERATORS, generate.Generator(("deploy/aws/role.yaml",), generate.aws_role))
    with pytest.raises(ValueError, match="made by two generators"):
        generate.expected(FOUND, twice)


def test_a_generator_writes_only_what_it_owns() -> None:
    astray = generate.Generator(("docs/here/*.md",), lambda _: {"docs/there/page.md": ""})
    with pytest.raises(ValueError, match="does not own it"):
        generate.expected(FOUND, (astray,))


def test_the_command_writes_checks_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().out
    assert "missing    deploy/aws/role.yaml\n" in said
    assert said.endswith("run `make docs` (python tools/generate.py) and commit what it changes\n")
    assert list(tmp_path.iterdir()) == []
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "deploy/aws/role.yaml").write_text("Resources: {}\n")
    assert generate.main(["--check"], tmp_path) == 1


@pytest.mark.parametrize("item", list(FOUND), ids=lambda item: item.check.id)
def test_a_page_tells_everything_that_is_on_the_card(item: Registered) -> None:
    page = generate.check_page(item)
    for told in (item.check.id, *item.check.permissions, *item.check.criteria, *item.check.see):
        assert told in page
    for example in item.check.examples:
        assert generate.cell(item.check.judge(example.facts).reason) in page
    assert page.count("absent member | means") == (1 if b"absent_means(" in item.source else 0)
    source = re.search(r"\]\((\.\./[^)]+\.py)\)", page)
    assert source is not None
    assert (generate.ROOT / generate.PAGES / source[1]).resolve().read_bytes() == item.source


def test_the_index_names_every_check_once() -> None:
    index = generate.check_index(FOUND)
    for item in FOUND:
        assert index.count(f"]({item.check.id}.md)") == 1


def test_citations_of_absence_are_read_from_the_source() -> None:
    source = b"""
DEFAULT = "off"
WHY = "the reference says so"
absent_means(answer, "a.b", False, because="page one" " continued")
call = absent_means(answer, "c", DEFAULT, because=WHY)
"""
    assert generate.absences(source) == [
        ("a.b", "False", "page one continued"),
        ("c", "off", "the reference says so"),
    ]


def test_error_codes_that_are_an_answer_are_read_from_the_source() -> None:
    source = b'aws.call("s3", "get_bucket_policy", absent=("NoSuchBucketPolicy",), Bucket=name)'
    assert generate.codes(source) == [("s3.get_bucket_policy", "NoSuchBucketPolicy")]


def test_text_stays_within_its_table_cell() -> None:
    assert generate.table(("a",), [("x | y\nz",)]) == ["| a |", "| --- |", "| x \\| y z |"]


def test_the_template_and_the_policies_allow_the_same() -> None:
    files = generate.expected(FOUND)
    listed = re.findall(r"^ {14}- (\S+)$", files["deploy/aws/role.yaml"], re.MULTILINE)
    in_json = [
        action
        for path in sorted(files)
        if re.fullmatch(r"deploy/aws/policy.*\.json", path)
        for statement in json.loads(files[path])["Statement"]
        for action in statement["Action"]
    ]
    assert sorted(listed) == sorted(in_json) == policy.actions(generate.running(FOUND))


def test_a_registry_without_checks_still_gives_a_role() -> None:
    files = generate.expected(Registry([]))
    of_checks = {path for path in files if path.startswith(("docs/reference/checks", "deploy"))}
    assert of_checks == {
        *("docs/reference/checks/README.md", "deploy/aws/policy.json", "deploy/aws/role.yaml"),
        *("deploy/azure/role.json", "deploy/azure/role.tf", "deploy/gcp/role.yaml", "deploy/gcp/role.tf"),
    }
    assert "Microsoft.ResourceGraph/resources/read" in files["deploy/azure/role.json"]
    assert "cloudasset.assets.listResource" in files["deploy/gcp/role.yaml"]
    assert "ec2:DescribeRegions" in files["deploy/aws/policy.json"]
