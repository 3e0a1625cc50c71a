"""What never reaches evidence, and what stays so that a reader sees that there was something."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from collector.clouds.redact import REDACTED, SECRET_MEMBERS, redact

KEY = "c2ltdWxhdGVkLW5vdC1hLXNlY3JldA=="


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"properties": {"administratorLoginPassword": "x"}}, {"properties": {"administratorLoginPassword": REDACTED}}),
        ({"accessKeys": {"primaryKey": KEY}}, {"accessKeys": {"primaryKey": REDACTED}}),
        ({"primaryKey": {"columns": ["id"]}}, {"primaryKey": {"columns": ["id"]}}),
        (
            {"siteConfig": {"appSettings": [{"name": "DB", "value": "x"}], "minTlsVersion": "1.2"}},
            {"siteConfig": {"appSettings": [{"name": "DB", "value": REDACTED}], "minTlsVersion": "1.2"}},
        ),
        (
            {"connectionStrings": [{"name": "db", "connectionString": "x", "type": "SQLAzure"}]},
            {"connectionStrings": [{"name": "db", "connectionString": REDACTED, "type": "SQLAzure"}]},
        ),
        (
            {"env": [{"name": "A", "value": "x"}, {"name": "B", "secretRef": "b"}]},
            {"env": [{"name": "A", "value": REDACTED}, {"name": "B", "secretRef": "b"}]},
        ),
        ({"Variables": {"DB": "x"}}, {"Variables": {"DB": REDACTED}}),
        ({"protectedSettings": {"key": "x"}}, {"protectedSettings": REDACTED}),
        (
            {"webhookReceivers": [{"name": "ops", "serviceUri": "https://hooks.example/T0/B0"}]},
            {"webhookReceivers": [{"name": "ops", "serviceUri": REDACTED}]},
        ),
        (
            {"userPrincipalName": "ada@acme.example", "businessPhones": ["+1 555 0100"], "mobilePhone": "+1 555 0101"},
            {"userPrincipalName": "ada@acme.example", "businessPhones": REDACTED, "mobilePhone": REDACTED},
        ),
        ({"businessPhones": [], "mobilePhone": None}, {"businessPhones": [], "mobilePhone": None}),
        ({"smsReceivers": [{"phoneNumber": "5550100"}]}, {"smsReceivers": [{"phoneNumber": REDACTED}]}),
        ({"note": f"Endpoint=sb://x/;SharedAccessKey={KEY}"}, {"note": REDACTED}),
        ({"uri": "https://x.blob.core.windows.net/c?sv=1&sig=abcdefghijklmnopqrstuvwxyz%3D"}, {"uri": REDACTED}),
        ({"uris": ["redis://:hunter2@cache", "https://acme.example"]}, {"uris": [REDACTED, "https://acme.example"]}),
        ({"text": "-----BEGIN RSA PRIVATE KEY-----"}, {"text": REDACTED}),
        ({"text": "ghp_" + "a" * 36}, {"text": REDACTED}),
        ({"text": "xoxb-1234567890-abc"}, {"text": REDACTED}),
    ],
)
def test_a_secret_goes_and_its_name_stays(answer: Any, kept: Any) -> None:
    before = copy.deepcopy(answer)
    assert redact(answer) == kept
    assert answer == before  # what was handed in is never changed


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "/subscriptions/x", "properties": {"keySource": "Microsoft.Keyvault", "keyUri": "https://v/keys/a/1"}},
        {"signature": "RSA", "design": "high", "url": "https://acme.example/@ada"},
        {"primaryEndpoints": {"blob": "https://x.blob.core.windows.net/"}, "secretCount": 3},
    ],
)
def test_what_is_no_secret_is_not_even_copied(answer: Any) -> None:
    assert redact(answer) is answer


@pytest.mark.parametrize("name", sorted(SECRET_MEMBERS))
def test_a_secret_member_is_known_in_any_case_and_at_any_depth(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert redact([{"a": [{spelled: "x"}]}]) == [{"a": [{spelled: REDACTED}]}]
        assert redact({spelled: ""}) == {spelled: ""}
