"""Secrets, and where the simulated clouds and our own configuration hold them. What is searched for them is elsewhere.

Where a place is meant for a secret (an environment variable, user data, a password), any text stands there. Where
people put secrets though they should not (tags, labels, descriptions, filters), what stands there looks like one:
nothing can tell an arbitrary word from a secret. Nothing is planted where no check ever asks: there it could not leak.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from collector.demo.cloud import SimulatedCloud
from collector.demo.estate import SECRET_IN_CLOUDFRONT, SECRET_IN_LAMBDA

NOW = datetime(2026, 1, 1, 11, 30, tzinfo=UTC)
MARK = "zq7XvKp3"  # of every secret that is planted here; no other text has it
TAIL = "0123456789abcdef"
CROSSING = f"{MARK}-[a-z0-9-]+?-{TAIL}|{SECRET_IN_LAMBDA}|{SECRET_IN_CLOUDFRONT}"


def secret(place: str) -> str:
    """A secret that says where it was planted, if it is found."""
    return f"{MARK}-{place}-{TAIL}"


OURS = {
    "COLLECTOR_HOOK_SECRET": secret("webhook-key"),
    "COLLECTOR_MAIL_PASSWORD": secret("smtp-password"),
    "COLLECTOR_PAGER": (MARK + TAIL * 2)[:32],
    "COLLECTOR_SLACK": f"http://127.0.0.1:1/services/T0/B0/{secret('slack')}",
    "COLLECTOR_TEAMS": f"http://127.0.0.1:1/workflows/x?sig={secret('teams')}",
    "COLLECTOR_APPRISE": f"json://ada:{secret('apprise')}@127.0.0.1:1/",
    "COLLECTOR_ALIVE": f"http://127.0.0.1:1/ping/{secret('heartbeat')}",
    # Of the collector's own process, which the clouds that it observes show: under a name that says nothing.
    "APP_SECRET": secret("own-setting"),
}


def plant(cloud: SimulatedCloud) -> set[str]:
    """Plants in all three clouds; what was planted."""
    return {SECRET_IN_LAMBDA, SECRET_IN_CLOUDFRONT, *_aws(cloud), *_azure(cloud), *_gcp(cloud)}


def _aws(cloud: SimulatedCloud) -> set[str]:
    ec2, lam, iam = (cloud.client(name) for name in ("ec2", "lambda", "iam"))
    kms, rds, eks = (cloud.client(name) for name in ("kms", "rds", "eks"))
    machines = [i["InstanceId"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    tags = [
        {"Key": "db-password", "Value": secret("ec2-tag")},
        {"Key": "dsn", "Value": f"mysql://app:{secret('ec2-dsn')}@db/app"},
        {"Key": "note", "Value": f"see {secret('own-setting')}"},
    ]
    ec2.create_tags(Resources=[*machines, ec2.describe_volumes()["Volumes"][0]["VolumeId"]], Tags=tags)
    function = lam.list_functions()["Functions"][0]["FunctionName"]
    variables = {"Variables": {"DB": secret("lambda-variable")}}
    lam.update_function_configuration(
        FunctionName=function, Environment=variables, Description=f"api_key={secret('lambda-description')}"
    )
    key = kms.list_keys()["Keys"][0]["KeyId"]
    kms.update_key_description(KeyId=key, Description=f"Password={secret('kms-description')}")
    user = iam.list_users()["Users"][0]["UserName"]
    iam.tag_user(UserName=user, Tags=[{"Key": "access-key", "Value": secret("iam-tag")}])
    base = rds.describe_db_instances()["DBInstances"][0]["DBInstanceArn"]
    rds.add_tags_to_resource(ResourceName=base, Tags=[{"Key": "api-key", "Value": secret("rds-tag")}])
    cluster = eks.list_clusters()["clusters"][0]
    arn = eks.describe_cluster(name=cluster)["cluster"]["arn"]
    eks.tag_resource(resourceArn=arn, tags={"token": secret("eks-tag")})
    names = ("ec2-tag", "ec2-dsn", "own-setting", "lambda-variable", "lambda-description", "kms-description")
    return {secret(name) for name in (*names, "iam-tag", "rds-tag", "eks-tag")}


def _azure(cloud: SimulatedCloud) -> set[str]:
    sas = f"https://x.blob.core.windows.net/c?sv=1&sig={secret('azure-sas')}"
    plants: list[tuple[str, str, Any]] = [
        ("Microsoft.Compute/virtualMachines", "properties.osProfile.customData", secret("azure-custom-data")),
        ("Microsoft.Compute/virtualMachines", "properties.osProfile.adminPassword", secret("azure-admin")),
        ("Microsoft.Compute/virtualMachines", "properties.userData", secret("azure-user-data")),
        (
            "Microsoft.Compute/virtualMachines",
            "properties.diagnosticsProfile",
            {"bootDiagnostics": {"storageUri": sas}},
        ),
        (
            "Microsoft.Compute/virtualMachines",
            "properties.extensionProfile",
            {
                "extensions": [
                    {
                        "settings": {"commandToExecute": secret("azure-extension")},
                        "protectedSettings": {"storageAccountKey": secret("azure-protected")},
                    }
                ]
            },
        ),
        ("Microsoft.Web/sites", "properties.siteConfig.appSettings", [{"name": "A", "value": secret("azure-app")}]),
        (
            "Microsoft.Web/sites",
            "properties.siteConfig.connectionStrings",
            [{"name": "db", "connectionString": secret("azure-connection"), "type": "SQLAzure"}],
        ),
        (
            "Microsoft.Web/sites",
            "properties.siteConfig.appCommandLine",
            f"run Server=db;Pwd={secret('azure-command')};",
        ),
        ("Microsoft.KeyVault/vaults", "properties.note", f"Bearer {secret('azure-bearer')}"),
        ("Microsoft.Sql/servers", "properties.administratorLoginPassword", secret("azure-sql")),
        ("Microsoft.Cache/redis", "properties.accessKeys", {"primaryKey": secret("azure-redis")}),
        (
            "Microsoft.ContainerService/managedClusters",
            "properties.servicePrincipalProfile",
            {"clientId": "x", "secret": secret("azure-principal")},
        ),
        (
            "Microsoft.ContainerService/managedClusters",
            "properties.windowsProfile",
            {"adminUsername": "x", "adminPassword": secret("azure-windows")},
        ),
        (
            "Microsoft.ContainerService/managedClusters",
            "properties.agentPoolProfiles.0.tags",
            {"db-password": secret("azure-tag")},
        ),
        (
            "Microsoft.ContainerService/managedClusters",
            "properties.agentPoolProfiles.0.nodeLabels",
            {"token": secret("azure-label")},
        ),
        (
            "Microsoft.Insights/actionGroups",
            "properties.webhookReceivers",
            [{"name": "ops", "serviceUri": f"https://hooks.example/{secret('azure-hook')}"}],
        ),
        ("Microsoft.Insights/activityLogAlerts", "properties.description", f"password={secret('azure-alert')}"),
    ]
    for kind, path, value in plants:
        for id in cloud.azure.resources(type=kind):
            cloud.azure.edit(id=id, path=path, value=value)
    return _named(plants)


def _gcp(cloud: SimulatedCloud) -> set[str]:
    scripts = [
        {"key": "enable-osconfig", "value": "TRUE"},
        {"key": "dsn", "value": f"#!/bin/sh\nexport DB=postgres://app:{secret('gcp-dsn')}@db.acme.example/app\n"},
        *({"key": key, "value": secret(f"gcp-{key}")} for key in ("startup-script", "user-data", "db-password")),
    ]
    plants: list[tuple[str, str, Any]] = [
        ("compute.googleapis.com/Instance", "resource.data.metadata.items", scripts),
        ("compute.googleapis.com/Instance", "resource.data.labels", {"db_password": secret("gcp-label")}),
        ("compute.googleapis.com/Instance", "resource.data.description", f"password={secret('gcp-description')}"),
        ("sqladmin.googleapis.com/Instance", "resource.data.rootPassword", secret("gcp-root-password")),
        ("sqladmin.googleapis.com/Instance", "resource.data.settings.userLabels", {"token": secret("gcp-sql-label")}),
        ("logging.googleapis.com/LogSink", "resource.data.description", f"Bearer {secret('gcp-sink')}"),
        ("storage.googleapis.com/Bucket", "resource.data.labels", {"api_key": secret("gcp-bucket-label")}),
        (
            "container.googleapis.com/Cluster",
            "resource.data.masterAuth",
            {"username": "x", "password": secret("gcp-master"), "clientKey": secret("gcp-client-key")},
        ),
        ("container.googleapis.com/NodePool", "resource.data.config.metadata", {"ssh-keys": secret("gcp-ssh")}),
        (
            "monitoring.googleapis.com/AlertPolicy",
            "resource.data.documentation",
            {
                "content": f"curl -H 'Authorization: Bearer {secret('gcp-runbook')}'",
                "mimeType": "text/markdown",
                "links": [{"displayName": "x", "url": text} for text in _looks_like_one()],
            },
        ),
        (
            "monitoring.googleapis.com/NotificationChannel",
            "resource.data.labels",
            {"url": f"https://ops:{secret('gcp-channel')}@hooks.example/x", "auth_token": secret("gcp-channel-token")},
        ),
    ]
    for kind, path, value in plants:
        for id in cloud.gcp.resources(type=kind):
            cloud.gcp.edit(id=id, path=path, value=value)
    return _named(plants)


def _looks_like_one() -> list[str]:
    """Texts that give themselves away, one of each kind."""
    return [
        f"eyJhbGciOiJSUzI1NiJ9.eyJ{secret('gcp-jwt')}",
        f"ya29.{secret('gcp-token')}",
        f"AIza{secret('gcp-browser-key')}",
        f"https://hooks.slack.com/services/T0/B0/{secret('gcp-slack')}",
        f"AccountKey={'A' * 24}== {secret('gcp-account-key')}",
        f"ghp_{'a' * 36} {secret('gcp-github')}",
        f"xoxb-{secret('gcp-bot')}",
        f"-----BEGIN PRIVATE KEY-----\n{secret('gcp-pem')}\n-----END PRIVATE KEY-----",
    ]


def _named(plants: list[tuple[str, str, Any]]) -> set[str]:
    text = repr(plants)
    return {f"{MARK}{part.partition(TAIL)[0]}{TAIL}" for part in text.split(MARK)[1:]}
