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
        ({"settings": {"rootPassword": "x"}}, {"settings": {"rootPassword": REDACTED}}),
        ({"text": "xoxb-1234567890-abc"}, {"text": REDACTED}),
        ({"text": "Server=db;Uid=app;Pwd=hunter2hunter2;"}, {"text": REDACTED}),
        ({"text": "export PASSWORD='hunter2hunter2'"}, {"text": REDACTED}),
        ({"text": "curl https://x.example/?api_key=0123456789"}, {"text": REDACTED}),
        ({"text": "https://ada:hunter2@git.example/x"}, {"text": REDACTED}),
        ({"text": "Authorization: Bearer " + "a" * 24}, {"text": REDACTED}),
        ({"text": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln"}, {"text": REDACTED}),
        ({"text": "https://hooks.slack.com/services/T0/B0/x"}, {"text": REDACTED}),
        ({"text": "https://b.s3.amazonaws.com/k?X-Amz-Signature=" + "0f" * 32}, {"text": REDACTED}),
        (
            {"Tags": [{"Key": "db-password", "Value": "x"}, {"Key": "Name", "Value": "web"}]},
            {"Tags": [{"Key": "db-password", "Value": REDACTED}, {"Key": "Name", "Value": "web"}]},
        ),
        (
            {
                "metadata": {
                    "items": [{"key": "startup-script", "value": "x"}, {"key": "enable-oslogin", "value": "TRUE"}]
                }
            },
            {
                "metadata": {
                    "items": [{"key": "startup-script", "value": REDACTED}, {"key": "enable-oslogin", "value": "TRUE"}]
                }
            },
        ),
        ({"labels": {"api_key": "x", "team": "web"}}, {"labels": {"api_key": REDACTED, "team": "web"}}),
        ({"nodeLabels": {"token": "x", "pool": "a"}}, {"nodeLabels": {"token": REDACTED, "pool": "a"}}),
        ({"metadata": {"ssh-keys": "x", "a": "b"}}, {"metadata": {"ssh-keys": REDACTED, "a": "b"}}),
        ({"masterAuth": {"clientKey": KEY, "username": "a"}}, {"masterAuth": {"clientKey": REDACTED, "username": "a"}}),
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
        {"filter": 'protoPayload.methodName="SetIamPolicy" AND resource.labels.token="a"', "passwordAuth": "Enabled"},
        {"filterPattern": '{ ($.errorCode = "*Unauthorized*") && ($.password==a) }', "CreationToken": "shared-home"},
        {"parameters": [{"name": "require_secure_transport", "value": "ON"}], "HttpTokens": "required"},
        {"tags": {"team": "web"}, "Value": "x", "name": "password_encryption", "value": "scram-sha-256"},
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
