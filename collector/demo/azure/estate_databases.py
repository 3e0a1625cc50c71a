"""The seeded databases of acme: Azure SQL with its encryption and auditing, MySQL, PostgreSQL and Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_data import short_of
from collector.demo.azure.estate_logging import add_setting

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

SQL = "Microsoft.Sql/servers"
MYSQL = "Microsoft.DBforMySQL/flexibleServers"
POSTGRESQL = "Microsoft.DBforPostgreSQL/flexibleServers"
REDIS = "Microsoft.Cache/redis"
COLLATION = "SQL_Latin1_General_CP1_CI_AS"
SYSTEM_SKU = {"name": "System", "tier": "System", "capacity": 0}
GENERAL_SKU = {"name": "GP_S_Gen5", "tier": "GeneralPurpose", "family": "Gen5", "capacity": 2}
FLEXIBLE_SKU = {"name": "Standard_D2ds_v4", "tier": "GeneralPurpose"}
REDIS_SKU = {"name": "Standard", "family": "C", "capacity": 1}
AUDITED = ["SUCCESSFUL_DATABASE_AUTHENTICATION_GROUP", "FAILED_DATABASE_AUTHENTICATION_GROUP", "BATCH_COMPLETED_GROUP"]


def add_databases(build: Builder) -> None:
    short = short_of(build)
    production = build.environment == "production"
    for copy in build.copies():
        if production:
            _add_sql(build, f"sql-acme-orders{copy}", "1.2", True, _audit(build, retention=365))
            _add_sql(build, f"sql-acme-crm{copy}", "1.2", False, _audit(build, retention=0, monitor=True))
            _add_sql(build, f"sql-acme-reports{copy}", "1.0", False, None)
            _add_mysql(build, f"mysql-acme-shop{copy}", "ON", "TLSv1.2,TLSv1.3")
            _add_mysql(build, f"mysql-acme-legacy{copy}", "ON", "TLSv1.1,TLSv1.2")
            _add_postgresql(build, f"psql-acme-billing{copy}", "on", "TLSv1.2")
            _add_postgresql(build, f"psql-acme-archive{copy}", "on", "TLSv1.1")
            _add_redis(build, f"redis-acme-sessions{copy}", "1.2", plaintext=False)
            _add_redis(build, f"redis-acme-cache{copy}", "1.0", plaintext=False)
            continue
        _add_sql(build, f"sql-acme-{short}{copy}", "None", False, _audit(build, retention=30))
        _add_mysql(build, f"mysql-acme-{short}{copy}", "OFF", "TLSv1.2")
        _add_postgresql(build, f"psql-acme-{short}{copy}", "off", "TLSv1.2")
        _add_redis(build, f"redis-acme-{short}{copy}", "1.2", plaintext=True)


# --- Azure SQL ---


def _audit(build: Builder, *, retention: int, monitor: bool = False) -> dict[str, Any]:
    """Auditing that writes to the log account, or to Azure Monitor and from there to the workspace."""
    found: dict[str, Any] = {
        "state": "Enabled",
        "auditActionsAndGroups": AUDITED,
        "isAzureMonitorTargetEnabled": monitor,
        "isManagedIdentityInUse": False,
        "retentionDays": retention,
        "storageAccountSubscriptionId": "00000000-0000-0000-0000-000000000000",
    }
    if not monitor:
        found |= {
            "storageEndpoint": f"https://{build.sink.account.rpartition('/')[2]}.blob.core.windows.net/",
            "isStorageSecondaryKeyInUse": False,
            "storageAccountSubscriptionId": build.subscription,
        }
    return found


def _add_sql(build: Builder, name: str, minimum: str, customer_key: bool, audit: dict[str, Any] | None) -> None:
    properties: dict[str, Any] = {
        "administratorLogin": "acmeadmin",
        "version": "12.0",
        "state": "Ready",
        "fullyQualifiedDomainName": f"{name}.database.windows.net",
        "privateEndpointConnections": [],
        "minimalTlsVersion": minimum,
        "publicNetworkAccess": "Enabled",
        "restrictOutboundNetworkAccess": "Disabled",
        "externalGovernanceStatus": "Disabled",
    }
    vault = f"kv-acme-{short_of(build)}"
    key = f"https://{vault}.vault.azure.net/keys/sql/{build.hex(32)}"
    if customer_key:
        properties["keyId"] = key
    server = build.add(SQL, "rg-data", name, properties, kind="v12.0", identity=build.identity())
    protector: dict[str, Any] = {"serverKeyName": "ServiceManaged", "serverKeyType": "ServiceManaged"}
    if customer_key:
        protector = {
            "serverKeyName": f"{vault}_sql_{key.rpartition('/')[2]}",
            "serverKeyType": "AzureKeyVault",
            "uri": key,
            "autoRotationEnabled": True,
        }
    kind = str(protector["serverKeyType"]).lower()
    build.child(server, f"{SQL}/encryptionProtector", "current", protector, kind=kind, location=build.location)
    off = {
        "state": "Disabled",
        "auditActionsAndGroups": [],
        "isAzureMonitorTargetEnabled": False,
        "retentionDays": 0,
        "storageAccountSubscriptionId": "00000000-0000-0000-0000-000000000000",
    }
    build.child(server, f"{SQL}/auditingSettings", "default", audit or off)
    master = _add_database(build, server, "master", "")
    if audit is not None and audit["isAzureMonitorTargetEnabled"]:
        logs = (("SQLSecurityAuditEvents", True), ("SQLInsights", False))
        add_setting(build, master, "sql-audit", logs, workspace=build.sink.workspace)
    _add_database(build, server, "app", "Enabled")
    if not customer_key:
        _add_database(build, server, "archive", "Disabled" if audit is None else "Enabled")


def _add_database(build: Builder, server: str, name: str, encryption: str) -> str:
    system = name == "master"
    objective = "System0" if system else "GP_S_Gen5_2"
    sku = SYSTEM_SKU if system else GENERAL_SKU
    properties: dict[str, Any] = {
        "collation": COLLATION,
        "maxSizeBytes": 32212254720,
        "status": "Online",
        "databaseId": build.guid(),
        "creationDate": f"{build.ago(390)[:23]}Z",
        "currentServiceObjectiveName": objective,
        "requestedServiceObjectiveName": objective,
        "defaultSecondaryLocation": "northeurope",
        "catalogCollation": COLLATION,
        "zoneRedundant": False,
        "readScale": "Disabled",
        "currentBackupStorageRedundancy": "Geo",
        "requestedBackupStorageRedundancy": "Geo",
        "isLedgerOn": False,
        "currentSku": sku,
    }
    if not system:
        properties |= {"earliestRestoreDate": "@-7d", "autoPauseDelay": 60, "minCapacity": 0.5}
    kind = "v12.0,system" if system else "v12.0,user,vcore,serverless"
    head: dict[str, Any] = {"location": build.location, "sku": sku, "kind": kind, "managedBy": server}
    if not system:
        head["tags"] = build.tags
    database = build.child(server, f"{SQL}/databases", name, properties, **head)
    if encryption:
        kind = f"{SQL}/databases/transparentDataEncryption"
        build.child(database, kind, "current", {"state": encryption})
    return database


# --- MySQL, PostgreSQL ---


def _add_mysql(build: Builder, name: str, required: str, versions: str) -> None:
    properties: dict[str, Any] = {
        "administratorLogin": "acmeadmin",
        "version": "8.0.21",
        "state": "Ready",
        "fullyQualifiedDomainName": f"{name}.mysql.database.azure.com",
        "availabilityZone": "1",
        "replicationRole": "None",
        "replicaCapacity": 10,
        "storage": {
            "storageSizeGB": 128,
            "iops": 684,
            "autoGrow": "Enabled",
            "autoIoScaling": "Enabled",
            "logOnDisk": "Disabled",
            "storageSku": "Premium_LRS",
        },
        "backup": {"backupRetentionDays": 14, "geoRedundantBackup": "Enabled", "earliestRestoreDate": "@-14d"},
        "highAvailability": {"mode": "Disabled", "state": "NotEnabled", "standbyAvailabilityZone": ""},
        "network": {"publicNetworkAccess": "Enabled"},
        "privateEndpointConnections": [],
        "maintenanceWindow": {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0},
    }
    server = build.add(MYSQL, "rg-data", name, properties, sku=FLEXIBLE_SKU)
    for key, value, default, kind, allowed, read_only in (
        ("require_secure_transport", required, "ON", "Enumeration", "ON,OFF", "False"),
        ("tls_version", versions, "TLSv1.2", "Set", "TLSv1,TLSv1.1,TLSv1.2,TLSv1.3", "False"),
        ("audit_log_enabled", "ON", "OFF", "Enumeration", "ON,OFF", "False"),
    ):
        parameter = {
            "value": value,
            "currentValue": value,
            "description": "A server parameter.",
            "defaultValue": default,
            "dataType": kind,
            "allowedValues": allowed,
            "source": "system-default" if value == default else "user-override",
            "isReadOnly": read_only,
            "isConfigPendingRestart": "False",
            "isDynamicConfig": "True",
        }
        build.child(server, f"{MYSQL}/configurations", key, parameter)


def _add_postgresql(build: Builder, name: str, required: str, minimum: str) -> None:
    properties: dict[str, Any] = {
        "administratorLogin": "acmeadmin",
        "version": "16",
        "minorVersion": "8",
        "state": "Ready",
        "fullyQualifiedDomainName": f"{name}.postgres.database.azure.com",
        "availabilityZone": "1",
        "replicationRole": "Primary",
        "replicaCapacity": 5,
        "storage": {"storageSizeGB": 128, "autoGrow": "Enabled", "tier": "P10", "iops": 500, "type": "Premium_LRS"},
        "authConfig": {"activeDirectoryAuth": "Disabled", "passwordAuth": "Enabled"},
        "dataEncryption": {"type": "SystemManaged"},
        "backup": {"backupRetentionDays": 14, "geoRedundantBackup": "Disabled", "earliestRestoreDate": "@-14d"},
        "network": {"publicNetworkAccess": "Enabled"},
        "highAvailability": {"mode": "Disabled", "state": "NotEnabled"},
        "maintenanceWindow": {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0},
        "replica": {"role": "Primary", "capacity": 5},
        "privateEndpointConnections": [],
    }
    server = build.add(POSTGRESQL, "rg-data", name, properties, sku=FLEXIBLE_SKU)
    for key, value, default, kind, allowed in (
        ("require_secure_transport", required, "on", "Boolean", "on,off"),
        ("ssl_min_protocol_version", minimum, "TLSv1.2", "Enumeration", "TLSv1,TLSv1.1,TLSv1.2,TLSv1.3"),
        ("log_checkpoints", "on", "on", "Boolean", "on,off"),
    ):
        parameter = {
            "value": value,
            "description": "A server parameter.",
            "defaultValue": default,
            "dataType": kind,
            "allowedValues": allowed,
            "source": "system-default" if value == default else "user-override",
            "isDynamicConfig": True,
            "isReadOnly": False,
            "isConfigPendingRestart": False,
            "documentationLink": "",
        }
        build.child(server, f"{POSTGRESQL}/configurations", key, parameter)


# --- Redis ---


def _add_redis(build: Builder, name: str, minimum: str, *, plaintext: bool) -> None:
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "redisVersion": "6.0",
        "sku": REDIS_SKU,
        "enableNonSslPort": plaintext,
        "minimumTlsVersion": minimum,
        "publicNetworkAccess": "Enabled",
        "disableAccessKeyAuthentication": False,
        "updateChannel": "Stable",
        "redisConfiguration": {"maxclients": "1000", "maxmemory-reserved": "125", "maxmemory-delta": "125"},
        "accessKeys": None,
        "hostName": f"{name}.redis.cache.windows.net",
        "port": 6379,
        "sslPort": 6380,
        "linkedServers": [],
        "instances": [{"sslPort": 15000, "isMaster": True, "isPrimary": True}],
    }
    build.add(REDIS, "rg-platform", name, properties)
