"""The seeded storage and vaults of acme: storage accounts, disk encryption sets, key vaults and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.demo.azure.world import TENANT

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

STORAGE = "Microsoft.Storage/storageAccounts"
VAULT = "Microsoft.KeyVault/vaults"
ENCRYPTION_SET = "Microsoft.Compute/diskEncryptionSets"
YEAR = ("@unixlast365d", "@unixnext365d")  # a key that is rotated every year, always with a year to go from its making
NETWORK_RULES: Mapping[str, Any] = {
    "bypass": "AzureServices",
    "virtualNetworkRules": [],
    "ipRules": [],
    "defaultAction": "Deny",
}
SKUS = {name: {"name": name, "tier": name.partition("_")[0]} for name in ("Standard_LRS", "Standard_GRS")}
VAULT_SKU = {"family": "A", "name": "standard"}
OPERATIONS = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]


@dataclass(frozen=True)
class Account:
    """What distinguishes one storage account from another. ``minimum`` "" is an old account that has none."""

    name: str
    group: str
    minimum: str = "TLS1_2"
    https: bool = True
    customer_key: bool = False
    twice: bool | None = None


ACCOUNTS = {
    "production": (
        Account("acmeinvoices", "rg-payments", customer_key=True, twice=True),
        Account("acmereceipts", "rg-payments", customer_key=True, twice=True),
        Account("acmestatements", "rg-payments"),
        Account("acmelake", "rg-data", customer_key=True, twice=False),
        Account("acmeexports", "rg-data", https=False),
        Account("acmebackups", "rg-data", minimum="TLS1_0"),
        Account("acmediagnostics", "rg-platform", minimum="", twice=None),
    ),
    "staging": (
        Account("acmestgdata", "rg-data", customer_key=True, twice=True),
        Account("acmestgfiles", "rg-data", minimum="TLS1_1"),
        Account("acmestgscratch", "rg-platform"),
        Account("acmestgold", "rg-platform", minimum="", https=False),
    ),
}


def add_data(build: Builder) -> None:
    """Accounts and vaults, each as often as the scale says; a disk encryption set in each subscription."""
    short = short_of(build)
    for copy in build.copies():
        vault = add_vault(build, "rg-platform", f"kv-acme-{short}{copy}", purge_protection=True)
        add_keys(build, vault, (("storage", *YEAR), ("disks", *YEAR), ("sql", *YEAR)))
        if copy == "":
            _add_encryption_set(build, vault)
        apps = add_vault(build, "rg-payments", f"kv-acme-apps-{short}{copy}", purge_protection=False)
        made, decade = f"@unix-{300}d", f"@unix+{3350}d"
        add_keys(build, apps, (("signing", made, decade), ("tokens", made, ""), ("invoices", *YEAR)))
        add_keys(build, apps, (("retired", made, ""),), enabled=False)
        add_vault(build, "rg-data", f"kv-acme-data-{short}{copy}", purge_protection=build.environment == "production")
        for account in ACCOUNTS[build.environment]:
            add_account(build, account, vault, copy.replace("-", ""))


def short_of(build: Builder) -> str:
    """The environment as it is in names."""
    return {"production": "prod", "staging": "stg"}.get(build.environment, build.environment[:8])


# --- storage ---


def add_account(build: Builder, account: Account, vault: str, suffix: str = "", *, kind: str = "StorageV2") -> str:
    """Adds a storage account; its id. ``vault`` holds the key of one that has a customer managed key."""
    name = f"{account.name}{suffix}"
    made = f"{build.ago(380)}Z"
    service = {"keyType": "Account", "enabled": True, "lastEnabledTime": made}
    encryption: dict[str, Any] = {"services": {"file": service, "blob": service}, "keySource": "Microsoft.Storage"}
    if account.twice is not None:
        encryption["requireInfrastructureEncryption"] = account.twice
    members: dict[str, Any] = {}
    if account.customer_key:
        host = f"https://{vault.rpartition('/')[2]}.vault.azure.net"
        encryption["keySource"] = "Microsoft.Keyvault"
        encryption["keyvaultproperties"] = {
            "keyvaulturi": f"{host}/",
            "keyname": "storage",
            "currentVersionedKeyIdentifier": f"{host}/keys/storage/{build.hex(32)}",
            "lastKeyRotationTimestamp": f"{build.ago(120)}Z",
        }
        members["identity"] = build.identity()
    zone = f"z{build.random.randrange(1, 40)}"
    hosts = {name: name for name in ("dfs", "blob", "queue", "table", "file")} | {"web": f"{zone}.web"}
    properties: dict[str, Any] = {
        "keyCreationTime": {"key1": made, "key2": made},
        "allowCrossTenantReplication": False,
        "privateEndpointConnections": [],
        "allowBlobPublicAccess": False,
        "allowSharedKeyAccess": True,
        "isHnsEnabled": account.name.endswith("lake"),
        "networkAcls": NETWORK_RULES,
        "supportsHttpsTrafficOnly": account.https,
        "encryption": encryption,
        "accessTier": "Hot",
        "provisioningState": "Succeeded",
        "creationTime": made,
        "primaryEndpoints": {short: f"https://{name}.{host}.core.windows.net/" for short, host in hosts.items()},
        "primaryLocation": build.location,
        "statusOfPrimary": "available",
    }
    if account.minimum:
        properties["minimumTlsVersion"] = account.minimum
    sku = SKUS["Standard_LRS"]
    return build.add(STORAGE, account.group, name, properties, sku=sku, kind=kind, **members)


# --- vaults ---


def add_vault(build: Builder, group: str, name: str, *, purge_protection: bool) -> str:
    properties: dict[str, Any] = {
        "sku": VAULT_SKU,
        "tenantId": TENANT,
        "accessPolicies": [],
        "enabledForDeployment": False,
        "enabledForDiskEncryption": True,
        "enabledForTemplateDeployment": False,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": 90,
        "enableRbacAuthorization": True,
        "vaultUri": f"https://{name}.vault.azure.net/",
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    }
    if purge_protection:  # a vault that never had it does not say so
        properties["enablePurgeProtection"] = True
    return build.add(VAULT, group, name, properties)


def add_keys(build: Builder, vault: str, keys: tuple[tuple[str, str, str], ...], *, enabled: bool = True) -> None:
    """Adds keys, each with when it was made and when it ends ("" for never), as seconds since 1970."""
    name = vault.rpartition("/")[2]
    for key, made, ends in keys:
        uri = f"https://{name}.vault.azure.net/keys/{key}"
        attributes: dict[str, Any] = {
            "enabled": enabled,
            "created": made,
            "updated": made,
            "recoveryLevel": "Recoverable+Purgeable",
            "exportable": False,
        }
        if ends:
            attributes["exp"] = ends
        properties = {
            "attributes": attributes,
            "kty": "RSA",
            "keyOps": OPERATIONS,
            "keySize": 3072,
            "keyUri": uri,
            "keyUriWithVersion": f"{uri}/{build.hex(32)}",
        }
        build.child(vault, f"{VAULT}/keys", key, properties, location=build.location)


def encryption_set_of(build: Builder) -> str:
    """The id of the subscription's disk encryption set."""
    return build.id(ENCRYPTION_SET, "rg-platform", f"des-acme-{short_of(build)}")


def _add_encryption_set(build: Builder, vault: str) -> None:
    name = encryption_set_of(build).rpartition("/")[2]
    key = f"https://{vault.rpartition('/')[2]}.vault.azure.net/keys/disks/{build.hex(32)}"
    properties = {
        "activeKey": {"sourceVault": {"id": vault}, "keyUrl": key},
        "encryptionType": "EncryptionAtRestWithCustomerKey",
        "rotationToLatestKeyVersionEnabled": True,
        "provisioningState": "Succeeded",
    }
    build.add(ENCRYPTION_SET, "rg-platform", name, properties, identity=build.identity())
