"""The checks of the family patching against answers as AWS gives them, the awkward ones first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest

from checks.aws import (
    patching_ec2_managed,
    patching_ec2_patches,
    patching_ecr_scanning,
    patching_eks_version,
    patching_lambda_runtime,
    patching_rds_auto_minor,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.aws import Account
from collector.clouds.transcript import Answer, Transcript
from collector.collect import Task, run
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACCOUNT, REGION = "123456789012", "eu-west-1"
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State

Page = Mapping[str, Any] | str  # a body, or the error code instead of one
Replies = Mapping[str, Page | list[Page] | Callable[[Mapping[str, Any]], Page]]


def put(replies: Replies, asked: list[str]) -> Callable[..., Answer]:
    """A cloud that knows ``replies`` by operation; a list is pages; a text is an error code."""

    def answer(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        assert region == REGION
        asked.append(operation)
        reply = replies[operation]
        token = None
        if callable(reply):
            page = reply(params)
        elif isinstance(reply, list):
            place = int(params.get("Token", 0))
            page = reply[place]
            token = {"Token": place + 1} if place + 1 < len(reply) else None
        else:
            page = reply
        if isinstance(page, str):
            failure = "denied" if "Denied" in page else "unreadable"
            return Answer({"Error": {"Code": page}}, NOW, 1, status=400, error=page, failure=failure)
        return Answer(dict(page), NOW, 1, token=token)

    return answer


def looked(check: AnyCheck, replies: Replies, limits: Any = None, asked: list[str] | None = None) -> CheckRun:
    account = Account(ACCOUNT, Transcript(), NOW, put(replies, [] if asked is None else asked), REGION)
    with ThreadPoolExecutor(4) as pool:
        return run(Task(check, Scope("aws", ACCOUNT, REGION), account, limits), lambda: NOW, pool)


def states(found: CheckRun) -> dict[str, State]:
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1].rsplit(":", 1)[-1]: o.verdict.state for o in found.observations}


def without(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


# --- EC2 and Systems Manager ---


def instance(id: str, state: str = "running") -> dict[str, Any]:
    return {"InstanceId": id, "State": {"Code": 16, "Name": state}, "InstanceType": "t3.micro"}


def reservations(*instances: Mapping[str, Any]) -> Page:
    return {"Reservations": [{"OwnerId": ACCOUNT, "Instances": [each]} for each in instances]}


def ping(id: str, status: str = "Online") -> dict[str, Any]:
    return {"InstanceId": id, "PingStatus": status, "LastPingDateTime": "2026-11-23T11:58:00Z"}


def patch_state(id: str, **changes: Any) -> dict[str, Any]:
    return {
        "InstanceId": id,
        "PatchGroup": "",
        "BaselineId": "pb-0c10e65780EXAMPLE",
        "InstalledCount": 31,
        "MissingCount": 4,
        "FailedCount": 0,
        "OperationStartTime": "2026-11-20T03:00:00Z",
        "OperationEndTime": "2026-11-20T03:05:11.52Z",
        "Operation": "Scan",
        "CriticalNonCompliantCount": 0,
        "SecurityNonCompliantCount": 0,
        "OtherNonCompliantCount": 4,
        **changes,
    }


def test_instances_are_judged_by_the_ping_of_systems_manager_and_only_while_they_run() -> None:
    machines = [instance("i-1"), instance("i-2"), instance("i-3"), instance("i-4", "stopped")]
    found = looked(
        patching_ec2_managed.CHECK,
        {
            "describe_instances": [reservations(*machines), reservations(instance("i-5", "terminated"))],
            "describe_instance_information": {"InstanceInformationList": [ping("i-1"), ping("i-2", "ConnectionLost")]},
        },
    )
    assert states(found) == {
        "i-1": SATISFIED,
        "i-2": NOT_SATISFIED,
        "i-3": NOT_SATISFIED,
        "i-4": NOT_APPLICABLE,
        "i-5": NOT_APPLICABLE,
    }
    assert found.observations[0].subject == "arn:aws:ec2:eu-west-1:123456789012:instance/i-1"


@pytest.mark.parametrize(
    "entries",
    [
        [without(ping("i-1"), "PingStatus")],
        [ping("i-1", "Sleeping")],
        [ping("i-1"), ping("i-1", "ConnectionLost")],
        [without(ping("i-1"), "InstanceId")],
    ],
    ids=["no ping status", "a new ping status", "two entries", "an entry without id"],
)
def test_an_odd_entry_of_systems_manager_leaves_the_instance_undetermined(entries: list[Any]) -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1"), instance("i-2", "stopped")),
        "describe_instance_information": {"InstanceInformationList": entries},
    }
    assert states(looked(patching_ec2_managed.CHECK, replies)) == {"i-1": UNDETERMINED, "i-2": NOT_APPLICABLE}


@pytest.mark.parametrize("check", [patching_ec2_managed.CHECK, patching_ec2_patches.CHECK])
def test_denied_systems_manager_is_not_an_unmanaged_instance(check: AnyCheck) -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1")),
        "describe_instance_information": "AccessDeniedException",
        "describe_instance_patch_states": "AccessDeniedException",
    }
    assert states(looked(check, replies)) == {"i-1": UNDETERMINED}


@pytest.mark.parametrize("check", [patching_ec2_managed.CHECK, patching_ec2_patches.CHECK])
def test_a_state_that_ec2_did_not_have_before_is_undetermined(check: AnyCheck) -> None:
    replies: Replies = {"describe_instances": reservations(instance("i-1", "dreaming"))}
    assert states(looked(check, replies)) == {"i-1": UNDETERMINED}


@pytest.mark.parametrize("check", [patching_ec2_managed.CHECK, patching_ec2_patches.CHECK])
@pytest.mark.parametrize("missing", ["InstanceId", "State"])
def test_an_instance_without_id_or_state_is_no_population(check: AnyCheck, missing: str) -> None:
    found = looked(check, {"describe_instances": reservations(instance("i-1"), without(instance("i-2"), missing))})
    assert found.population is None
    assert found.failure == "unreadable"


@pytest.mark.parametrize(
    ("check", "operation", "wrapper"),
    [
        (patching_ec2_managed.CHECK, "describe_instance_information", lambda ids: {"InstanceInformationList": ids}),
        (patching_ec2_patches.CHECK, "describe_instance_patch_states", lambda ids: {"InstancePatchStates": ids}),
    ],
)
def test_a_hundred_and_one_instances_cost_three_questions(
    check: AnyCheck, operation: str, wrapper: Callable[[Any], Page]
) -> None:
    asked: list[str] = []
    sizes: list[int] = []

    def reply(params: Mapping[str, Any]) -> Page:
        ids = params["InstanceIds"] if "InstanceIds" in params else params["Filters"][0]["Values"]
        sizes.append(len(ids))
        return wrapper([patch_state(id) | ping(id) for id in ids])

    machines = [instance(f"i-{number:03}") for number in range(101)]
    found = looked(check, {"describe_instances": reservations(*machines), operation: reply}, asked=asked)
    assert found.counts()["satisfied"] == 101
    assert sorted(sizes) == [1, 50, 50]
    assert Counter(asked) == {"describe_instances": 1, operation: 3}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, SATISFIED),
        ({"OperationEndTime": "2026-11-15T12:00:01Z"}, SATISFIED),
        ({"OperationEndTime": "2026-11-15T12:00:00Z"}, NOT_SATISFIED),
        ({"CriticalNonCompliantCount": 1}, NOT_SATISFIED),
        ({"SecurityNonCompliantCount": 1}, NOT_SATISFIED),
        ({"CriticalNonCompliantCount": None}, UNDETERMINED),
        ({"SecurityNonCompliantCount": "many"}, UNDETERMINED),
        ({"OperationEndTime": "yesterday"}, UNDETERMINED),
    ],
)
def test_patch_states_are_judged_by_age_and_by_what_is_missing(changes: dict[str, Any], expected: State) -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1")),
        "describe_instance_patch_states": {"InstancePatchStates": [patch_state("i-1", **changes)]},
    }
    assert states(looked(patching_ec2_patches.CHECK, replies)) == {"i-1": expected}


@pytest.mark.parametrize(
    "missing", ["CriticalNonCompliantCount", "SecurityNonCompliantCount", "OperationEndTime", "InstanceId"]
)
def test_a_patch_state_that_lacks_a_count_is_undetermined(missing: str) -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1")),
        "describe_instance_patch_states": {"InstancePatchStates": [without(patch_state("i-1"), missing)]},
    }
    assert states(looked(patching_ec2_patches.CHECK, replies)) == {"i-1": UNDETERMINED}


def test_the_worst_of_two_patch_states_of_one_instance_counts() -> None:
    both = [patch_state("i-1", SecurityNonCompliantCount=1), patch_state("i-1"), patch_state("i-2")]
    for entries in (both, both[::-1]):
        replies: Replies = {
            "describe_instances": reservations(instance("i-1"), instance("i-2")),
            "describe_instance_patch_states": {"InstancePatchStates": entries},
        }
        assert states(looked(patching_ec2_patches.CHECK, replies)) == {"i-1": NOT_SATISFIED, "i-2": SATISFIED}


def test_instances_that_patch_manager_never_saw_are_not_skipped() -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1"), instance("i-2"), instance("i-3", "stopping")),
        "describe_instance_patch_states": {"InstancePatchStates": [patch_state("i-2")]},
    }
    found = looked(patching_ec2_patches.CHECK, replies)
    assert states(found) == {"i-1": NOT_SATISFIED, "i-2": SATISFIED, "i-3": NOT_APPLICABLE}
    assert "no patch state" in found.observations[0].verdict.reason


def test_the_operators_limits_reach_the_patch_verdict() -> None:
    replies: Replies = {
        "describe_instances": reservations(instance("i-1")),
        "describe_instance_patch_states": {"InstancePatchStates": [patch_state("i-1", SecurityNonCompliantCount=2)]},
    }
    limits = limits_with(patching_ec2_patches.CHECK, {"missing_security_max": 2})
    assert states(looked(patching_ec2_patches.CHECK, replies, limits)) == {"i-1": SATISFIED}


# --- ECR ---


def repository(name: str) -> dict[str, Any]:
    return {
        "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
        "registryId": ACCOUNT,
        "repositoryName": name,
        "imageTagMutability": "MUTABLE",
    }


def scanning(name: str, frequency: str = "MANUAL", on_push: bool = False) -> dict[str, Any]:
    return {
        "repositoryName": name,
        "scanOnPush": on_push,
        "scanFrequency": frequency,
        "appliedScanFilters": [],
    }


def registry(kind: str = "BASIC") -> Page:
    return {"registryId": ACCOUNT, "scanningConfiguration": {"scanType": kind, "rules": []}}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("BASIC", scanning("a", "SCAN_ON_PUSH"), SATISFIED),
        ("BASIC", scanning("a", "MANUAL", on_push=True), SATISFIED),
        ("BASIC", scanning("a", "MANUAL"), NOT_SATISFIED),
        ("ENHANCED", scanning("a", "CONTINUOUS_SCAN"), SATISFIED),
        ("ENHANCED", scanning("a", "MANUAL", on_push=True), NOT_SATISFIED),
        ("ENHANCED", scanning("a", "WEEKLY"), UNDETERMINED),
        ("SUPREME", scanning("a", "SCAN_ON_PUSH"), UNDETERMINED),
        ("BASIC", without(scanning("a"), "scanFrequency"), UNDETERMINED),
        ("BASIC", without(scanning("a"), "scanOnPush"), UNDETERMINED),
        ("BASIC", scanning("another", "SCAN_ON_PUSH"), UNDETERMINED),
    ],
)
def test_a_repository_is_scanned_as_aws_says_it_is(kind: str, settings: dict[str, Any], expected: State) -> None:
    replies: Replies = {
        "describe_repositories": {"repositories": [repository("a")]},
        "get_registry_scanning_configuration": registry(kind),
        "batch_get_repository_scanning_configuration": {"scanningConfigurations": [settings], "failures": []},
    }
    assert states(looked(patching_ecr_scanning.CHECK, replies)) == {"a": expected}


def test_repositories_are_asked_about_by_twenty_five_and_a_failure_leaves_only_its_own_undetermined() -> None:
    asked: list[str] = []

    def reply(params: Mapping[str, Any]) -> Page:
        names = params["repositoryNames"]
        assert len(names) <= 25
        failures = [{"repositoryName": "r00", "failureCode": "REPOSITORY_NOT_FOUND"}] if "r00" in names else []
        known = [scanning(name, "SCAN_ON_PUSH") for name in names if name != "r00"]
        return {"scanningConfigurations": known, "failures": failures}

    pages: list[Page] = [
        {"repositories": [repository(f"r{number:02}") for number in range(20)]},
        {"repositories": [repository(f"r{number:02}") for number in range(20, 30)]},
    ]
    found = looked(
        patching_ecr_scanning.CHECK,
        {
            "describe_repositories": pages,
            "get_registry_scanning_configuration": registry(),
            "batch_get_repository_scanning_configuration": reply,
        },
        asked=asked,
    )
    assert found.counts() == {"satisfied": 29, "not-satisfied": 0, "not-applicable": 0, "undetermined": 1}
    assert len(asked) == 5  # two pages of repositories, one registry, two groups


def test_a_denied_registry_configuration_is_not_a_missing_filter() -> None:
    replies: Replies = {
        "describe_repositories": {"repositories": [repository("a")]},
        "get_registry_scanning_configuration": "AccessDeniedException",
        "batch_get_repository_scanning_configuration": {"scanningConfigurations": [scanning("a", "SCAN_ON_PUSH")]},
    }
    assert states(looked(patching_ecr_scanning.CHECK, replies)) == {"a": UNDETERMINED}


# --- Lambda ---


def function(name: str, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return {"FunctionName": name, "FunctionArn": arn, "PackageType": "Zip", "Runtime": "python3.13", **more}


def test_functions_are_judged_by_the_day_on_which_aws_stops_patching_the_runtime() -> None:
    found = looked(
        patching_lambda_runtime.CHECK,
        {
            "list_functions": [
                {"Functions": [function("new"), function("old", Runtime="nodejs16.x")]},
                {
                    "Functions": [
                        without(function("image", PackageType="Image"), "Runtime"),
                        function("preview", Runtime="nodejs26.x"),
                        function("typo", Runtime="python3"),
                        without(function("unsaid"), "Runtime"),
                        without(function("untyped"), "PackageType"),
                        function("odd", PackageType="Floppy"),
                    ]
                },
            ]
        },
    )
    assert states(found) == {
        "new": SATISFIED,
        "old": NOT_SATISFIED,
        "image": NOT_APPLICABLE,
        "preview": UNDETERMINED,
        "typo": UNDETERMINED,
        "unsaid": UNDETERMINED,
        "untyped": UNDETERMINED,
        "odd": UNDETERMINED,
    }


@pytest.mark.parametrize(
    ("now", "expected"),
    [(datetime(2027, 4, 29, 23, 59, 59, tzinfo=UTC), SATISFIED), (datetime(2027, 4, 30, tzinfo=UTC), NOT_SATISFIED)],
)
def test_a_runtime_is_out_of_support_from_the_first_moment_of_its_day(now: datetime, expected: State) -> None:
    account = Account(ACCOUNT, Transcript(), now, region=REGION)
    facts = patching_lambda_runtime.observe(account, function("a", Runtime="nodejs22.x"))
    assert patching_lambda_runtime.evaluate(facts).state is expected


def test_every_runtime_that_the_api_names_has_a_date_or_is_listed_here_as_without_one() -> None:
    session = pytest.importorskip("botocore.session").Session()
    named = set(session.get_service_model("lambda").shape_for("Runtime").enum)
    dated = set(patching_lambda_runtime.PATCHED_UNTIL)
    assert named - dated <= {"nodejs26.x", "python3.15", "custom"}, "a new runtime: give it its date, or name it here"
    assert len(dated) == len(patching_lambda_runtime.DATES.split()) // 2
    for day in patching_lambda_runtime.PATCHED_UNTIL.values():
        assert date(2016, 1, 1) < date.fromisoformat(day) < date(2035, 1, 1)


# --- EKS ---


def version(number: str, support: str = "STANDARD_SUPPORT") -> dict[str, Any]:
    return {"clusterVersion": number, "clusterType": "eks", "defaultVersion": False, "versionStatus": support}


VERSIONS: list[Page] = [
    {"clusterVersions": [version("1.34"), version("1.31", "EXTENDED_SUPPORT")]},
    {"clusterVersions": [version("1.24", "UNSUPPORTED")]},
]


@pytest.mark.parametrize(
    ("running", "versions", "expected"),
    [
        ("1.34", VERSIONS, SATISFIED),
        ("1.31", VERSIONS, SATISFIED),
        ("1.24", VERSIONS, NOT_SATISFIED),
        ("1.11", VERSIONS, UNDETERMINED),
        (None, VERSIONS, UNDETERMINED),
        ("1.34", {"clusterVersions": [version("1.34", "GOLDEN_SUPPORT")]}, UNDETERMINED),
        ("1.34", {"clusterVersions": [without(version("1.34"), "versionStatus")]}, UNDETERMINED),
        ("1.34", {"clusterVersions": [version("1.34"), version("1.34", "UNSUPPORTED")]}, UNDETERMINED),
        ("1.34", "AccessDeniedException", UNDETERMINED),
    ],
)
def test_a_cluster_is_supported_as_aws_says_of_its_version(
    running: str | None, versions: Page | list[Page], expected: State
) -> None:
    replies: Replies = {
        "list_clusters": {"clusters": ["prod"]},
        "describe_cluster": {"cluster": {"name": "prod", "version": running}},
        "describe_cluster_versions": versions,
    }
    assert states(looked(patching_eks_version.CHECK, replies)) == {"prod": expected}


def test_extended_support_is_not_enough_for_an_operator_who_says_so() -> None:
    replies: Replies = {
        "list_clusters": {"clusters": ["prod"]},
        "describe_cluster": {"cluster": {"name": "prod", "version": "1.31"}},
        "describe_cluster_versions": VERSIONS,
    }
    limits = limits_with(patching_eks_version.CHECK, {"extended_support": 0})
    assert states(looked(patching_eks_version.CHECK, replies, limits)) == {"prod": NOT_SATISFIED}


# --- RDS ---


def database(name: str, engine: str, automatic: bool | None = True) -> dict[str, Any]:
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{name}"
    return {"DBInstanceArn": arn, "Engine": engine, "AutoMinorVersionUpgrade": automatic}


def cluster(name: str, engine: str, **more: Any) -> dict[str, Any]:
    return {"DBClusterArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{name}", "Engine": engine, **more}


def test_instances_and_clusters_are_judged_each_by_their_own_setting() -> None:
    found = looked(
        patching_rds_auto_minor.CHECK,
        {
            "describe_db_instances": {
                "DBInstances": [
                    database("good", "postgres"),
                    database("bad", "mysql", automatic=False),
                    database("member", "aurora-mysql"),
                    database("graph", "neptune"),
                    database("document", "docdb", automatic=False),
                    database("custom", "custom-oracle-ee", automatic=False),
                    database("silent", "mariadb", automatic=None),
                    without(database("engineless", "mysql"), "Engine"),
                ]
            },
            "describe_db_clusters": {
                "DBClusters": [
                    cluster("aurora", "aurora-mysql", AutoMinorVersionUpgrade=False),
                    cluster("multi-az", "postgres", AutoMinorVersionUpgrade=True),
                    cluster("serverless-v1", "aurora-postgresql", EngineMode="serverless"),
                    cluster("graphs", "neptune"),
                    cluster("documents", "docdb"),
                ]
            },
        },
    )
    assert states(found) == {
        "good": SATISFIED,
        "bad": NOT_SATISFIED,
        "member": SATISFIED,
        "graph": SATISFIED,
        "document": NOT_APPLICABLE,
        "custom": NOT_APPLICABLE,
        "silent": UNDETERMINED,
        "engineless": UNDETERMINED,
        "aurora": NOT_SATISFIED,
        "multi-az": SATISFIED,
        "serverless-v1": UNDETERMINED,
        "graphs": NOT_APPLICABLE,
        "documents": NOT_APPLICABLE,
    }


def test_a_denied_list_of_clusters_is_no_population_at_all() -> None:
    replies: Replies = {
        "describe_db_instances": {"DBInstances": [database("good", "postgres")]},
        "describe_db_clusters": "AccessDenied",
    }
    found = looked(patching_rds_auto_minor.CHECK, replies)
    assert found.population is None
    assert found.failure == "denied"


# --- all of them ---


@pytest.mark.parametrize(
    ("check", "operation", "path"),
    [
        (patching_ec2_managed.CHECK, "describe_instances", "Reservations"),
        (patching_ec2_patches.CHECK, "describe_instances", "Reservations"),
        (patching_ecr_scanning.CHECK, "describe_repositories", "repositories"),
        (patching_lambda_runtime.CHECK, "list_functions", "Functions"),
        (patching_eks_version.CHECK, "list_clusters", "clusters"),
        (patching_rds_auto_minor.CHECK, "describe_db_instances", "DBInstances"),
    ],
)
@pytest.mark.parametrize("reply", ["AccessDenied", "ValidationException", {}, {"Unexpected": []}])
def test_a_population_that_cannot_be_read_is_never_empty(
    check: AnyCheck, operation: str, path: str, reply: Page
) -> None:
    rest: Replies = {"describe_db_clusters": {"DBClusters": []}}
    assert looked(check, {**rest, operation: reply}).population is None
    assert looked(check, {**rest, operation: {path: []}}).population == 0
    assert looked(check, {**rest, operation: [{path: []}, reply]}).population is None
