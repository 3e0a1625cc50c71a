"""The reader of Google's log filters: what it says of an entry, what it leaves open, what it refuses."""

from __future__ import annotations

import pytest

from collector.clouds.gcp_filter import activity, covers
from collector.errors import Unreadable

FIREWALLS = activity("compute", "gce_firewall_rule", "v1.compute.firewalls.{}", "delete", "insert")
INSERT = FIREWALLS[1:]
ADD = activity("iam", "project", "SetIamPolicy", "ADD", delta={"bindingDeltas.action": "{}"})
TYPE = 'resource.type="gce_firewall_rule"'
ANY = "protoPayload.methodName"


@pytest.mark.parametrize(
    "query",
    [
        TYPE,
        "resource.type=gce_firewall_rule",
        'RESOURCE.TYPE = "GCE_Firewall_Rule"',
        f'{TYPE} AND {ANY}:"compute.firewalls.insert"',
        f"{TYPE}\n{ANY}:compute.firewalls.insert",
        f'{TYPE} -- of rules AND nothing else\nAND {ANY}="v1.compute.firewalls.insert"',
        f'{ANY}=("v1.compute.firewalls.insert" OR "other")',
        f'{ANY}:("firewalls" AND "insert")',
        f'{ANY}=~"^v1\\.compute\\.firewalls\\.(insert|patch)$"',
        f'{ANY}=~"\\w+\\.insert$"',
        f'{ANY}=~"\\\\w+[.]insert$"',
        f'{ANY}!~"delete"',
        f'{ANY}!="v1.compute.firewalls.delete"',
        f'NOT {ANY}="v1.compute.firewalls.delete"',
        f'-{ANY}="v1.compute.firewalls.delete"',
        'protoPayload:"firewalls.insert"',
        "protoPayload.methodName:*",
        '"compute.firewalls.insert"',
        "severity>=NOTICE",
        "severity!=ERROR",
        'LOG_ID("cloudaudit.googleapis.com/activity")',
        'logName="projects/acme-prod/logs/cloudaudit.googleapis.com%2Factivity"',
        'resource.labels."project_id"="acme-prod"',
        'protoPayload.@type="type.googleapis.com/google.cloud.audit.AuditLog"',
        f'{TYPE} OR ip_in_net(protoPayload.requestMetadata.callerIp, "10.0.0.0/8")',
        # OR binds more than AND: (no OR insert) AND (type OR no)
        f'resource.type="no" OR {ANY}:insert AND {TYPE} OR resource.type="no"',
    ],
)
def test_what_takes_every_entry(query: str) -> None:
    assert covers(query, INSERT, "acme-prod")


@pytest.mark.parametrize(
    "query",
    [
        'resource.type="gce_route"',
        f'{TYPE} AND {ANY}:"compute.firewalls.delete"',
        f'{ANY}="compute.firewalls.insert"',  # the version is part of the name
        f'{ANY}:"V1.COMPUTE" AND NOT {ANY}:insert',
        f'{ANY}=~"compute\\|firewalls"',
        "severity>NOTICE",
        "severity=ERROR",
        'LOG_ID("cloudaudit.googleapis.com/data_access")',
        'logName="projects/acme-data/logs/cloudaudit.googleapis.com%2Factivity"',
        # (insert OR type) AND no, not insert OR (type AND no)
        f'{ANY}:insert OR {TYPE} AND resource.type="no"',
    ],
)
def test_what_leaves_the_entry_out(query: str) -> None:
    assert not covers(query, INSERT, "acme-prod")


@pytest.mark.parametrize(
    "query",
    [
        f'{TYPE} AND protoPayload.authenticationInfo.principalEmail="ada@acme.example"',
        f'{TYPE} AND NOT protoPayload.authenticationInfo.principalEmail="robot@acme.example"',
        f'{TYPE} AND protoPayload.authenticationInfo.principalEmail!="robot@acme.example"',
        f'{TYPE} AND -protoPayload.authenticationInfo.principalEmail:"robot"',
        f"{TYPE} AND NOT protoPayload.status:*",
        f"{TYPE} AND NOT robot",
        f"{TYPE} AND sample(insertId, 0.01)",
        f"{TYPE} AND NOT sample(insertId, 0.01)",
        f'{TYPE} AND NOT ip_in_net(protoPayload.requestMetadata.callerIp, ("10.0.0.0/8"))',
        f"{TYPE} AND httpRequest.status>=400",
        f'{TYPE} AND timestamp>"2026-01-01"',
        "severity>LOUD",
    ],
)
def test_what_hangs_on_other_members_of_an_entry_takes_not_every_one(query: str) -> None:
    assert not covers(query, INSERT, "acme-prod")


def test_a_filter_must_take_each_of_the_entries() -> None:
    assert covers(f"{ANY}:firewalls", FIREWALLS, "p")
    assert not covers(f"{ANY}:insert", FIREWALLS, "p")


def test_an_array_of_the_policy_delta_is_there_or_has_a_value() -> None:
    delta = "protoPayload.serviceData.policyDelta"
    assert covers(f"{delta}.bindingDeltas:*", ADD, "p")
    assert covers(f'{delta}.bindingDeltas.action="ADD"', ADD, "p")
    assert not covers(f"{delta}.auditConfigDeltas:*", ADD, "p")
    assert not covers(f'{delta}.bindingDeltas.action="REMOVE"', ADD, "p")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "-- nothing but a comment",
        f"{TYPE} AND",
        f"({TYPE}",
        f"{TYPE})",
        'resource.type="gce',
        "resource.type=",
        "= 3",
        "OR x=1",
        "log_id(",
        f'{ANY}=~"(a+)+$"',
        f'{ANY}=~".*.*.*.*.*x"',
        f'{ANY}=~"["',
        f"{ANY}~x",
    ],
)
def test_what_cannot_be_read_is_no_answer(query: str) -> None:
    with pytest.raises(Unreadable, match="log filter"):
        covers(query, INSERT, "acme-prod")
