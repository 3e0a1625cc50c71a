"""Walks every check there is. A new check is covered by being there; nobody adds a line to this file for it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import botocore.session
import pytest
from botocore import xform_name
from policy_sentry.querying.actions import get_action_data

import checks
from collector import registry
from collector.check import Family, Stage, section_of, title_of
from collector.criteria import CRITERIA
from collector.model import State
from collector.registry import Registered

ROOT = Path(checks.__file__).parent.parent
CONTRACT = Path(__file__).parent / "contract"
EVERY = list(registry.load([checks]))
AWS = [item for item in EVERY if item.check.cloud == "aws"]

LINES_MAX = 120  # 40 to 70 are the aim; what reads policy documents needs more
EACH_CLOUD_HAS = {"aws": (3, 20), "azure": (4, 20), "gcp": (4, 20)}  # in each family, and in all
PREFIXES = {
    Family.MFA: "mfa_",
    Family.ENCRYPTION: "encryption_",
    Family.TLS: "tls_",
    Family.LOGGING: "logging_",
    Family.PATCHING: "patching_",
}
OURS = {"collector.check", "collector.errors", "collector.model"}
LANGUAGES = {  # readers of texts inside answers, which ask nothing, and what follows a reference through the handle
    *("collector.clouds.azure_alert_condition", "collector.clouds.azure_references", "collector.clouds.gcp_filter"),
    *("collector.clouds.azure_conditional_access", "collector.clouds.azure_people"),
}
# Pure parts of the standard library. No clock, no network, no files: time and answers come from the handle.
STANDARD = {
    *(
        "base64",
        "binascii",
        "collections",
        "collections.abc",
        "dataclasses",
        "enum",
        "fnmatch",
        "functools",
        "ipaddress",
    ),
    *("itertools", "json", "operator", "re", "string", "typing", "urllib.parse", "__future__"),
}
VERDICTS = {
    "satisfied": State.SATISFIED,
    "not_satisfied": State.NOT_SATISFIED,
    "not_applicable": State.NOT_APPLICABLE,
}
READING = {"List", "Read"}
# AWS files these under another level than List or Read, although they change no resource.
LEVEL_EXCEPTIONS = {"iam:GenerateCredentialReport": "makes the report that GetCredentialReport reads"}
VOLATILE = re.compile(r"(^|_)(now|today|timestamp|datetime|time|token|request_id|last_seen|last_ping)$")

each_check = pytest.mark.parametrize("item", EVERY, ids=lambda item: item.check.id)
each_aws_check = pytest.mark.parametrize("item", AWS, ids=lambda item: item.check.id)


def path_of(item: Registered) -> Path:
    return Path(str(sys.modules[item.check.population.__module__].__file__))


def tree_of(item: Registered) -> ast.Module:
    return ast.parse(item.source)


# --- the card and the file ---


def test_each_family_has_its_checks() -> None:
    """All fifteen cells of families and clouds; no cloud has an empty one."""
    running = [(item.check.cloud, item.check.family) for item in EVERY if item.check.stage is not Stage.RETIRED]
    for cloud, (least, in_all) in EACH_CLOUD_HAS.items():
        assert sum(each == cloud for each, _ in running) >= in_all, cloud
        for family in Family:
            found = running.count((cloud, family))
            assert found >= least, f"{family} of {cloud} has {found} checks"


@each_check
def test_the_card_keeps_the_contract(item: Registered) -> None:
    assert list(registry.complaints(item.check)) == []


@each_check
def test_the_docstring_says_what_why_and_how_to_mend(item: Registered) -> None:
    title = title_of(item.check)
    assert title[0].isupper()
    assert title.endswith(".")
    for heading in ("Why", "Remedy"):
        assert section_of(item.check, heading).endswith("."), f"{heading}: ends like a sentence"
    for criterion in item.check.criteria:
        assert criterion in CRITERIA


@each_check
def test_the_file_is_short_named_for_its_family_and_ends_in_its_check(item: Registered) -> None:
    path = path_of(item)
    assert path.parent == ROOT / "checks" / item.check.cloud
    assert path.name.startswith(PREFIXES[item.check.family])
    assert len(item.source.decode().splitlines()) <= LINES_MAX
    last = tree_of(item).body[-1]
    assert isinstance(last, ast.Assign)
    assert ast.unparse(last.targets[0]) == "CHECK"


@each_check
def test_a_check_imports_the_contract_its_cloud_and_nothing_that_acts(item: Registered) -> None:
    allowed = OURS | STANDARD | LANGUAGES | {f"collector.clouds.{item.check.cloud}"}
    for name in imported(tree_of(item)):
        assert name in allowed, f"{path_of(item).name} imports {name}"


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in ("collector", "collector.clouds"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


@each_check
def test_each_file_names_its_sources_elsewhere_in_one_way(item: Registered) -> None:
    for other in item.check.see:
        assert re.fullmatch(r"[a-z0-9.-]+:\S+", other), f"{other!r} is not written as source:name"
    assert len(set(item.check.see)) == len(item.check.see)


# --- facts and examples ---


@each_check
def test_facts_are_whole_and_lasting_values(item: Registered) -> None:
    kinds = {type(example.facts) for example in item.check.examples}
    assert len(kinds) == 1, "the examples are of one kind of facts"
    assert list(wrong_facts(kinds.pop())) == []


def wrong_facts(kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    for member in fields(kind):
        if VOLATILE.search(member.name):
            yield f"{member.name} changes from run to run; a fact is an age in whole days, or what the age means"
        if not lasting(hints[member.name]):
            yield f"{member.name} is {hints[member.name]}; facts are texts, whole numbers, booleans and tuples of them"


def lasting(hint: Any) -> bool:
    if get_origin(hint) in (tuple, frozenset, Union, types.UnionType):
        return all(part is Ellipsis or part is type(None) or lasting(part) for part in get_args(hint))
    if is_dataclass(hint):
        return not list(wrong_facts(hint))  # type: ignore[arg-type]
    return isinstance(hint, type) and issubclass(hint, str | int)


@dataclass(frozen=True)
class Lasting:
    name: str
    on: bool
    age_days: int
    keys: tuple[str, ...] = ()
    owner: str | None = None


@dataclass(frozen=True)
class Fleeting:
    share: float
    seen: datetime
    started_time: str
    parts: list[str]


def test_the_rule_for_facts_tells_lasting_from_fleeting() -> None:
    assert list(wrong_facts(Lasting)) == []
    assert [said.split()[0] for said in wrong_facts(Fleeting)] == ["share", "seen", "started_time", "parts"]


def test_the_rule_for_imports_sees_every_way_to_import() -> None:
    source = "import os\nfrom collector import check\nfrom time import time\ndef f():\n    import socket, ssl\n"
    assert list(imported(ast.parse(source))) == ["os", "collector.check", "time", "socket", "ssl"]


@each_check
def test_each_state_that_the_code_can_say_has_an_example(item: Registered) -> None:
    tree = tree_of(item)
    said = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    reachable = {state for name, state in VERDICTS.items() if name in said}
    assert {example.expect for example in item.check.examples} == reachable


@each_check
def test_examples_judge_as_they_say_and_the_reason_follows_the_subject(item: Registered) -> None:
    for example in item.check.examples:
        verdict = item.check.judge(example.facts)
        assert verdict.state is example.expect
        assert verdict.reason, "a verdict says why"
        assert not verdict.reason.endswith("."), "the reason follows 'The subject ...' and takes no full stop"
        assert verdict.reason[0].islower() or verdict.reason[0].isdigit(), verdict.reason
        assert item.check.judge(example.facts) == verdict


# --- what the check asks, against what it declares ---


@each_aws_check
def test_each_permission_is_a_real_action_that_only_reads(item: Registered) -> None:
    for permission in item.check.permissions:
        service, _, name = permission.partition(":")
        found = get_action_data(service, name)
        assert found, f"{permission} is no IAM action"
        actions = found[service]
        assert {action["action"] for action in actions} == {permission}, "written as IAM writes it"
        levels = {action["access_level"] for action in actions}
        assert levels <= READING or permission in LEVEL_EXCEPTIONS, f"{permission} is {levels}"


# Operations whose IAM action is not the signing name and the operation
# (https://docs.aws.amazon.com/service-authorization/latest/reference/).
ACTIONS = {
    "s3.list_buckets": "s3:ListAllMyBuckets",
    "s3.get_bucket_encryption": "s3:GetEncryptionConfiguration",
    "s3.get_public_access_block": "s3:GetBucketPublicAccessBlock",
    "s3control.get_public_access_block": "s3:GetAccountPublicAccessBlock",
    "s3.get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "s3.get_bucket_replication": "s3:GetReplicationConfiguration",
    "s3.get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
    "s3.head_bucket": "s3:ListBucket",
    "accessanalyzer.list_findings_v2": "access-analyzer:ListFindings",
}
SERVICES = {"monitoring": "cloudwatch", "tagging": "tag"}


@each_aws_check
def test_the_permissions_are_exactly_those_of_the_questions(item: Registered) -> None:
    found = list(asked(item))
    if UNREADABLE in found:  # a question whose operation is no literal: it may be any of the declared ones
        assert set(found) - {UNREADABLE} <= set(item.check.permissions)
    else:
        assert set(found) == set(item.check.permissions)


UNREADABLE = "an operation that only the run knows"


def asked(item: Registered) -> Iterator[str]:
    """The IAM actions of the questions that stand in the source."""
    for node in ast.walk(tree_of(item)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "credential_report":
            yield from ("iam:GenerateCredentialReport", "iam:GetCredentialReport")
        elif node.func.attr == "regions":
            yield "ec2:DescribeRegions"
        elif node.func.attr in ("call", "each"):
            words = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
            yield action_of(*words) if len(words) == 2 else UNREADABLE


@cache
def action_of(service: str, operation: str) -> str:
    model = botocore.session.Session().get_service_model(service)
    names = {xform_name(name): name for name in model.operation_names}
    assert operation in names, f"AWS has no operation {service}.{operation}"
    if model.signing_name == "apigateway":  # its actions are the HTTP verbs
        return f"apigateway:{model.operation_model(names[operation]).http['method']}"
    prefix = SERVICES.get(model.signing_name, model.signing_name)
    return ACTIONS.get(f"{service}.{operation}", f"{prefix}:{names[operation]}")


# --- the types tie the parts of a check together ---


def test_mypy_refuses_a_check_whose_parts_do_not_fit(tmp_path: Path) -> None:
    for sample in CONTRACT.glob("*.txt"):
        (tmp_path / f"{sample.stem}.py").write_text(sample.read_text())
    samples = sorted(tmp_path.glob("*.py"))
    wrong = {sample.name for sample in samples if sample.name.startswith("wrong_")}
    assert len(wrong) == 2
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", *samples],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    complained = {Path(line.split(":")[0]).name for line in done.stdout.splitlines() if ": error: " in line}
    assert complained == wrong, done.stdout + done.stderr
