"""Taking one permission away blinds exactly the checks that declare it; the simulated clouds enforce permissions.

For AWS, whose simulator enforces nothing, the same is shown with an emulator that does: ``test_permissions_of_aws.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import checks
from collector import cli, registry
from collector.clouds import azure_answers, gcp_answers
from collector.clouds.directory import Directory, Limits
from collector.clouds.gcp_answers import AUTH
from collector.clouds.transcript import Transcript
from collector.collect import Task, collect
from collector.config import AzureTenant, GoogleOrganization
from collector.controls import starter
from collector.demo import cloud as simulated
from collector.demo.cloud import SimulatedCloud
from collector.errors import CannotObserve
from collector.model import State
from collector.policy import azure, gcp

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CHECKS = [item.check for item in registry.load([checks])]
ACCOUNTS: dict[str, Any] = {
    "azure": AzureTenant(tenant=simulated.TENANT, subscriptions=simulated.SUBSCRIPTIONS),
    "gcp": GoogleOrganization(
        parent=simulated.ORGANIZATION, workspace_admin=simulated.WORKSPACE_ADMIN, projects=simulated.PROJECTS
    ),
}


# Needed where something is kept in such a place, or for what is looked at to be there at all: the simulated accounts
# see as much without it. Whatever stands here must stay as it is, or the line is wrong.
UNSEEN = {
    "Microsoft.Storage/storageAccounts/read": {"azure-keyvault-diagnostics", "azure-activity-log-export"},
    "Microsoft.EventHub/namespaces/read": {"azure-activity-log-export", "azure-sql-auditing"},
    "api:osconfig.googleapis.com": {"gcp-instance-os-inventory"},  # the inventory keeps what it had, and grows old
}


def declared(cloud: str) -> list[tuple[str, str]]:
    return sorted({(cloud, name) for check in CHECKS if check.cloud == cloud for name in check.permissions})


def blind(cloud: str) -> set[str]:
    """The checks that cannot see some of their subjects, or their population, in some part."""
    account = ACCOUNTS[cloud]
    limits = Limits(patience_seconds=5, stated_quotas=False)  # waiting for a quota is tested elsewhere
    handle = Directory(lambda: NOW, limits).open(account, Transcript(), NOW)
    tasks = [
        Task(check, replace(account.scope, part=part), handle.within(part) if part else handle)
        for check in CHECKS
        if check.cloud == cloud
        for part in (account.chosen if check.parted else ("",))
    ]
    found = set()
    for run in collect(tasks, lambda: NOW):
        assert run.failure != "crashed", run.reason
        if run.population is None or any(o.verdict.state is State.UNDETERMINED for o in run.observations):
            found.add(run.check)
    return found


@pytest.fixture
def fresh(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    simulated_cloud.set_now(NOW)
    simulated_cloud.azure.set(key="resource_graph_per_5s", value=10_000)
    yield simulated_cloud
    simulated_cloud.reset()


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_with_all_that_is_declared_nothing_is_blind(cloud: str, fresh: SimulatedCloud) -> None:
    assert blind(cloud) == set()


@pytest.mark.slow
@pytest.mark.parametrize(("cloud", "permission"), [*declared("azure"), *declared("gcp")])
def test_without_one_permission_exactly_its_checks_are_blind(
    cloud: str, permission: str, fresh: SimulatedCloud
) -> None:
    bed = getattr(fresh, cloud)
    bed.revoke(permission=permission)
    predicted = {check.id for check in CHECKS if check.cloud == cloud and permission in check.permissions}
    assert blind(cloud) == predicted - UNSEEN.get(permission, set())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cloud", "permission"),
    [
        *(("azure", name) for name in azure.OWN),
        *(("gcp", name) for name in gcp.OWN if name not in dict(declared("gcp"))),
    ],
)
def test_without_the_collectors_own_permission_nobody_sees_more(
    cloud: str, permission: str, fresh: SimulatedCloud
) -> None:
    """What the handle needs for itself makes checks blind or changes nothing; it never makes one pass."""
    before = blind(cloud)
    getattr(fresh, cloud).revoke(permission=permission)
    try:
        after = blind(cloud)
    except CannotObserve:  # the account cannot be opened at all
        return
    assert before <= after


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cloud", "permission", "part", "words"),
    [
        ("azure", "Microsoft.Compute/disks/read", "subscription", "may not microsoft.compute/disks/read"),
        ("azure", "graph:User.Read.All", "", "Authorization_RequestDenied"),
        ("gcp", "osconfig.vulnerabilityReports.list", "project", "osconfig.vulnerabilityReports.list"),
        ("gcp", "api:osconfig.googleapis.com", "project", "gcloud services enable osconfig.googleapis.com"),
        ("gcp", f"workspace:{AUTH}admin.directory.user.readonly", "", "delegate the scopes"),
    ],
)
def test_preflight_names_what_each_missing_permission_blinds_and_what_to_do(
    cloud: str,
    permission: str,
    part: str,
    words: str,
    fresh: SimulatedCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in fresh.environment.items():
        monkeypatch.setenv(name, value)
    fresh.set_now(datetime.now(UTC))
    for answers in (azure_answers.Answers, gcp_answers.Answers):
        monkeypatch.setattr(answers, "quota", lambda *_: None)  # waiting for a quota is tested elsewhere
    account = (
        f'[[azure]]\ntenant = "{simulated.TENANT}"\n'
        if cloud == "azure"
        else f'[[gcp]]\nparent = "{simulated.ORGANIZATION}"\nworkspace_admin = "{simulated.WORKSPACE_ADMIN}"\n'
    )
    file = tmp_path / "collector.toml"
    file.write_text(f'[collector]\norigin = "test.local/acme"\n{account}')
    (tmp_path / "controls.toml").write_text(starter((cloud,)))
    bed = fresh.azure if cloud == "azure" else fresh.gcp
    bed.revoke(permission=permission)
    result = CliRunner().invoke(cli.app, ["preflight", "--config", str(file), "--json"])
    rows = json.loads(result.stdout)
    declaring = {check.id for check in CHECKS if check.cloud == cloud and permission in check.permissions}
    named = {row["check"] for row in rows if row["blind"]}
    assert named == declaring - UNSEEN.get(permission, set())
    assert named
    assert result.exit_code == 3
    for row in rows:
        if row["blind"]:
            assert words in row["blind"]
            assert permission in row["permissions"]
            assert (row["scope"].count("/") == 2) == bool(part)
