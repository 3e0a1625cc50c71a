"""The seeded tenant has a good and a bad subject for every check, and the checks say so themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

import checks
from collector import registry
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.collect import Task, collect
from collector.config import AzureTenant
from collector.demo.azure import estate
from collector.demo.azure.bed import AzureBed
from collector.demo.azure.world import ANALYTICS, TENANT
from collector.demo.proxy import Proxy
from collector.model import CheckRun

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CHECKS = [item.check for item in registry.load([checks]) if item.check.cloud == "azure"]
REPORTS = "/reports/authenticationMethods"
# The tenant itself is their only subject, which is as it should be until the story changes it.
ONE_SUBJECT = ("azure-tenant-legacy-authentication", "azure-tenant-mfa-policy")
# Checks that leave some subjects out, of which the estate has one.
LEAVING_OUT = (
    "azure-aks-version",
    "azure-defender-system-updates",
    "azure-keyvault-key-expiry",
    "azure-privileged-role-mfa",
    "azure-sql-tde",
    "azure-user-mfa-registered",
    "azure-vm-automatic-patching",
    "azure-vm-patch-compliance",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[CheckRun]:
    """Every check of Azure over the tenant and every subscription, through the proxy, without a fault."""
    folder = tmp_path_factory.mktemp("azure")
    bed = AzureBed(seed=7, scale=1, clock=lambda: NOW)
    for check in CHECKS:
        for permission in check.permissions:
            bed.grant(permission)
    bed.add_subscription(ANALYTICS, "acme-analytics")
    proxy = Proxy("|".join(bed.hosts), bed.handle, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bed.credentials(folder).items():
            patch.setenv(name, value)
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        patch.setenv("REQUESTS_CA_BUNDLE", str(proxy.bundle))
        account = AzureTenant(tenant=TENANT)
        handle = Directory(lambda: NOW, Limits(patience_seconds=20)).open(account, Transcript(), NOW)
        tasks = [
            Task(check, replace(account.scope, part=part), handle.within(part) if part else handle)
            for check in CHECKS
            for part in (handle.parts() if check.parted else [""])
        ]
        found = collect(tasks, lambda: NOW)
    proxy.close()
    assert bed.unserved() == []
    return found


def states(runs: list[CheckRun], id: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for run in runs:
        if run.check == id:
            assert run.population is not None, run.reason
            found.update(observation.verdict.state.value for observation in run.observations)
    return found


@pytest.mark.parametrize("id", [check.id for check in CHECKS])
def test_each_check_finds_a_subject_as_it_should_be_and_one_as_it_should_not(runs: list[CheckRun], id: str) -> None:
    found = states(runs, id)
    assert found["undetermined"] == 0, [
        (o.subject, o.verdict.reason) for run in runs if run.check == id for o in run.observations
    ]
    assert found["satisfied"] > 0
    assert (found["not-satisfied"] > 0) is (id not in ONE_SUBJECT)


@pytest.mark.parametrize("id", [check.id for check in CHECKS if check.id in LEAVING_OUT])
def test_a_check_that_leaves_subjects_out_finds_one(runs: list[CheckRun], id: str) -> None:
    assert states(runs, id)["not-applicable"] > 0


def test_the_subscription_that_appears_is_mostly_as_it_should_be(runs: list[CheckRun]) -> None:
    own = Counter(o.verdict.state.value for run in runs if run.scope.part == ANALYTICS for o in run.observations)
    assert own["satisfied"] > 2 * own["not-satisfied"] > 0


def test_the_account_of_the_story_is_as_it_should_be(runs: list[CheckRun]) -> None:
    found = {
        run.check: o.verdict.state.value
        for run in runs
        for o in run.observations
        if o.subject.lower() == estate.ACCOUNT_ID.lower()
    }
    assert len(found) >= 4
    assert set(found.values()) == {"satisfied"}


def test_the_directory_has_every_kind_of_user_holder_and_exclusion() -> None:
    """What the checks of multifactor authentication tell apart, read without them."""
    bed = AzureBed(seed=7, scale=1, clock=lambda: NOW)

    def shown(collection: str) -> dict[str, dict[str, Any]]:
        return {body["id"]: body for body in map(bed.show, bed.resources(collection))}

    users, groups, report = shown("/users"), shown("/groups"), shown(f"{REPORTS}/userRegistrationDetails")
    enabled = {id for id, user in users.items() if user["accountEnabled"]}
    assert {(user["userType"], user["accountEnabled"]) for user in users.values()} == {
        ("Member", True),
        ("Member", False),
        ("Guest", True),
    }
    assert report.keys() == enabled  # the report has no disabled users
    assert {row["isMfaRegistered"] for row in report.values() if row["userType"] == "member"} == {True, False}
    assert {row["isMfaRegistered"] for row in report.values() if row["isAdmin"]} == {True, False}

    everybody = bed.show(estate.MFA_POLICY_ID)["conditions"]["users"]
    assert everybody["includeUsers"] == ["All"]
    assert set(everybody["excludeUsers"]) < enabled
    nested = [id for group in everybody["excludeGroups"] for id in groups[group]["members"]]
    assert nested
    assert all(groups[id]["members"] for id in nested)  # reached only through both groups

    holders = {row["principalId"] for row in shown("/roleManagement/directory/roleAssignments").values()}
    assert holders & enabled
    assert holders & (users.keys() - enabled)
    assert holders & shown("/servicePrincipals").keys()
    assert all(groups[id]["isAssignableToRole"] and groups[id]["members"] for id in holders & groups.keys())
    assert holders & groups.keys()

    policies = shown("/identity/conditionalAccess/policies").values()
    assert {policy["state"] for policy in policies} == {"enabled", "disabled", "enabledForReportingButNotEnforced"}
    assert any(policy["grantControls"]["authenticationStrength"] for policy in policies)
    assert not bed.show("/policies/identitySecurityDefaultsEnforcementPolicy")["isEnabled"]
