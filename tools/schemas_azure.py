"""Writes the JSON schemas that the simulated tenant is held to, out of Microsoft's own Python models.

    pip install ...             (what it names when it is missing, in a venv of your own: 900 MB)
    python tools/schemas_azure.py                   writes tests/schemas/azure/*.json
    python tools/schemas_azure.py --check           writes nothing; exits with 1 when the models say otherwise

One file for each package: ``types`` maps a type of Azure Resource Manager, or a collection of Microsoft Graph, to a
name below ``$defs``. Prose is left out and every object is closed. A member may be null, which Azure writes for what is
not set. Models of Azure Resource Manager come in two kinds: with descriptors (``_RestField``) and with a map
(``_attribute_map``). Those of Microsoft Graph v1.0 are the classes that Kiota makes out of its OpenAPI description.
"""

from __future__ import annotations

import argparse
import collections.abc
import datetime as dt
import enum
import importlib
import importlib.metadata
import inspect
import json
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "schemas" / "azure"
MAX_BYTES = 200_000  # all files together
WORDS_MAX = 60  # an enumeration with more, such as the sizes of machines, is any text

Schema = dict[str, Any]
TEXT: Schema = {"type": ["string", "null"]}
PLAIN: dict[Any, Schema] = {
    str: TEXT,
    int: {"type": ["integer", "null"]},
    float: {"type": ["number", "null"]},
    bool: {"type": ["boolean", "null"]},
    dt.datetime: TEXT,
    dt.date: TEXT,
    dt.time: TEXT,
    dt.timedelta: TEXT,
    bytes: TEXT,
}

# Below each module of a package, the types and their models. Versions of the API are those that the package asks for.
# Of patchassessmentresources it is the properties of a row, of the other tables of Resource Graph the whole row.
MODELS = """
azure.mgmt.compute.models
    microsoft.compute/diskencryptionsets DiskEncryptionSet
    microsoft.compute/disks Disk
    microsoft.compute/virtualmachines VirtualMachine
azure.mgmt.containerservice.models
    microsoft.containerservice/locations/kubernetesversions KubernetesVersionListResult
    microsoft.containerservice/managedclusters ManagedCluster
azure.mgmt.eventhub.models
    microsoft.eventhub/namespaces EHNamespace
azure.mgmt.hybridcompute.models
    microsoft.hybridcompute/machines Machine
    patchassessmentresources MachineAssessPatchesResult
azure.mgmt.keyvault.models
    microsoft.keyvault/vaults Vault
    microsoft.keyvault/vaults/keys Key
azure.mgmt.loganalytics.models
    microsoft.operationalinsights/workspaces Workspace
azure.mgmt.maintenance.models
    maintenanceresources ConfigurationAssignment
    microsoft.maintenance/configurationassignments ConfigurationAssignment
    microsoft.maintenance/maintenanceconfigurations MaintenanceConfiguration
azure.mgmt.monitor.v2020_10_01.models
    microsoft.insights/activitylogalerts ActivityLogAlertResource
azure.mgmt.monitor.v2021_05_01_preview.models
    microsoft.insights/diagnosticsettings DiagnosticSettingsResource
azure.mgmt.monitor.v2023_01_01.models
    microsoft.insights/actiongroups ActionGroupResource
azure.mgmt.mysqlflexibleservers.models
    microsoft.dbformysql/flexibleservers Server
    microsoft.dbformysql/flexibleservers/configurations Configuration
azure.mgmt.network.models
    microsoft.network/networksecuritygroups NetworkSecurityGroup
    microsoft.network/networkwatchers NetworkWatcher
    microsoft.network/networkwatchers/flowlogs FlowLog
    microsoft.network/virtualnetworks VirtualNetwork
azure.mgmt.postgresqlflexibleservers.models
    microsoft.dbforpostgresql/flexibleservers Server
    microsoft.dbforpostgresql/flexibleservers/configurations Configuration
azure.mgmt.redis.models
    microsoft.cache/redis RedisResource
azure.mgmt.resource.resources.models
    microsoft.resources/subscriptions/resourcegroups ResourceGroup
azure.mgmt.security.v2021_06_01.models
    securityresources SecurityAssessmentResponse
azure.mgmt.security.v2024_01_01.models
    microsoft.security/pricings Pricing
azure.mgmt.sql.models
    microsoft.sql/servers Server
    microsoft.sql/servers/auditingsettings ServerBlobAuditingPolicy
    microsoft.sql/servers/databases Database
    microsoft.sql/servers/databases/transparentdataencryption LogicalDatabaseTransparentDataEncryption
    microsoft.sql/servers/encryptionprotector EncryptionProtector
azure.mgmt.storage.models
    microsoft.storage/storageaccounts StorageAccount
azure.mgmt.web.models
    microsoft.web/serverfarms AppServicePlan
    microsoft.web/sites Site
    microsoft.web/sites/config SiteConfigResource
    microsoft.web/sites/slots Site
    microsoft.web/sites/slots/config SiteConfigResource
msgraph.generated.models
    /directoryRoles DirectoryRole
    /groups Group
    /identity/conditionalAccess/authenticationStrength/policies AuthenticationStrengthPolicy
    /identity/conditionalAccess/namedLocations IpNamedLocation
    /identity/conditionalAccess/policies ConditionalAccessPolicy
    /organization Organization
    /policies/authenticationStrengthPolicies AuthenticationStrengthPolicy
    /policies/identitySecurityDefaultsEnforcementPolicy IdentitySecurityDefaultsEnforcementPolicy
    /reports/authenticationMethods/userRegistrationDetails UserRegistrationDetails
    /roleManagement/directory/roleAssignments UnifiedRoleAssignment
    /roleManagement/directory/roleDefinitions UnifiedRoleDefinition
    /roleManagement/directory/roleEligibilityScheduleInstances UnifiedRoleEligibilityScheduleInstance
    /servicePrincipals ServicePrincipal
    /users User
"""
# Large parts of large models that nobody here fills: any object may stand there. In msgraph-sdk, every entity that
# another object leads to is such a part, but for these few.
OPEN = re.compile(
    "|".join(
        (
            # compute
            *("ApplicationProfile", "Interconnect.*", "ProxyAgentSettings", "ResiliencyProfile", "ScheduledEvents.*"),
            *("VirtualMachineExtension", "VirtualMachineInstanceView", "VirtualMachineNetworkInterfaceConfiguration"),
            # containerservice
            *("AdvancedNetworking", "Istio.*", "KubeletConfig", "LinuxOSConfig", "LocalDNSProfile"),
            "ManagedCluster(AADProfile|APIServerAccess.*|AzureMonitor.*|HTTPProxyConfig|Ingress.*|LoadBalancer.*)",
            "ManagedCluster(NATGateway.*|PodIdentity.*|PropertiesAutoScaler.*|SecurityProfile|W(indows|orkload).*)",
            *("PrivateLinkResource", "VirtualMachinesProfile"),
            # eventhub, keyvault
            *("AccessPolicyEntry", "PrivateEndpointConnection.*"),
            # hybridcompute
            *("License.*", "MachineExtension.*"),
            # network
            *("ApplicationGateway.*", "ApplicationSecurityGroup", "BackendAddressPool", "IPConfiguration.*"),
            *("NatGateway", "NetworkInterface.*", "PrivateEndpoint", "RouteTable", "ServiceAssociationLink"),
            *("ServiceEndpointPolicy", "VirtualNetworkPeering"),
            # storage
            *("AzureFilesIdentity.*", "BlobRestore.*", "GeoReplicationStats", "StorageAccount(Ipv6|Internet).*"),
            # web
            *("AutoHeal(Actions|Triggers)", "CloningInfo", "DaprConfig", "FunctionAppConfig", "PushSettings"),
            # msgraph
            *("AddIn", "AppRole", "EmployeeOrgData", "KeyCredential", "LicenseAssignmentState", "MailboxSettings"),
            *("OnPremises.*", "PasswordCredential", "PermissionScope", "ResourceSpecificPermission"),
            *("CustomSecurityAttributeValue", "IpRange", "SignInActivity", "PasswordProfile"),
            # all
            "SystemData",
        )
    )
)
ENTITIES = frozenset(("AuthenticationStrengthPolicy",))
# Members that the services answer and their models leave out.
BESIDES: dict[str, dict[str, Schema]] = {
    "DiagnosticSettingsResource": {name: {"type": "null"} for name in ("identity", "kind", "location", "tags")},
    "HostNameSslState": {"ipBasedSslState": TEXT},
    "SiteConfigResource": {"location": TEXT},
    "SiteProperties": {"adminEnabled": PLAIN[bool], "name": TEXT, "vnetRouteAllEnabled": PLAIN[bool], "webSpace": TEXT},
    "WorkspaceFeatures": {"legacy": PLAIN[int], "searchVersion": PLAIN[int]},
}


class Definitions:
    """The definitions of one package, made as they are referred to."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def reference(self, model: type) -> Schema:
        if OPEN.fullmatch(model.__name__) or self.remote(model):
            self.made["any"] = {"type": ["object", "null"]}
            return {"$ref": "#/$defs/any"}
        name = model.__name__
        if name not in self.made:
            self.made[name] = {}  # for models that lead back to themselves
            self.made[name] = self.definition(model)
        return {"$ref": f"#/$defs/{name}"}

    def definition(self, model: type) -> Schema:
        if below := self.below(model):
            return {"anyOf": [self.reference(each) for each in below]}
        members = {**self.members(model), **BESIDES.get(model.__name__, {})}
        return self.closed(members, self.others(model))

    def closed(self, members: dict[str, Schema], others: Schema | None) -> Schema:
        found: Schema = {"type": ["object", "null"], "properties": dict(sorted(members.items()))}
        return {**found, "additionalProperties": False if others is None else others}

    def remote(self, model: type) -> bool:
        """Whether an answer only refers to such an object."""
        return False

    def below(self, model: type) -> list[type]:
        """The models of which an object of this one is always one."""
        return []

    def members(self, model: type) -> dict[str, Schema]:
        raise NotImplementedError

    def others(self, model: type) -> Schema | None:
        """The schema of members that the model does not name; None where it may have none."""
        return None


def words(model: type[enum.Enum]) -> Schema:
    """An enumeration; SDKs take words that they do not know, these schemas do not."""
    known = [each.value for each in model]
    return {"enum": [*known, None]} if len(known) <= WORDS_MAX else TEXT


# --- models of Azure Resource Manager ---


class WithDescriptors(Definitions):
    """Models whose members are ``_RestField``."""

    def members(self, model: type) -> dict[str, Schema]:
        found: dict[str, Schema] = {}
        for base in reversed(model.__mro__):
            fields = {key: value for key, value in vars(base).items() if type(value).__name__ == "_RestField"}
            if not fields:
                continue
            package = importlib.import_module(base.__module__.rpartition(".")[0])
            names = {**vars(sys.modules[base.__module__]), "_models": package, "_types": package}
            hints = typing.get_type_hints(base, names)
            for key, value in fields.items():
                found[value._rest_name_input or key] = self.hinted(hints[key])
        return found

    def below(self, model: type) -> list[type]:
        own = vars(model).get("__mapping__") or {}
        return list(dict.fromkeys(own.values())) if own and any(each is not model for each in own.values()) else []

    def hinted(self, hint: Any) -> Schema:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Union or origin is types.UnionType:
            inner = [each for each in arguments if each is not type(None)]
            enums = [each for each in inner if isinstance(each, type) and issubclass(each, enum.Enum)]
            return words(enums[0]) if enums else self.hinted(inner[0]) if len(inner) == 1 else {}
        if origin in (list, collections.abc.Sequence):
            return {"type": ["array", "null"], "items": self.hinted(arguments[0])}
        if origin in (dict, collections.abc.Mapping):
            return {"type": ["object", "null"], "additionalProperties": self.hinted(arguments[1])}
        if origin is typing.Literal:
            return {"enum": [getattr(each, "value", each) for each in arguments]}
        if hint in PLAIN:
            return PLAIN[hint]
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return words(hint)
        if isinstance(hint, type) and any(base.__name__ == "Model" for base in hint.__mro__):
            return self.reference(hint)
        return {}


class WithMap(Definitions):
    """Models whose members are in ``_attribute_map``, some of them flattened: "properties.tier"."""

    def members(self, model: type) -> dict[str, Schema]:
        tree: dict[str, Any] = {}
        for name, entry in model._attribute_map.items():  # type: ignore[attr-defined]
            if not entry["key"]:
                continue
            *way, last = (part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", entry["key"]))
            at = tree
            for part in way:
                at = at.setdefault(part, {})
            at[last] = self.typed(model, name, entry["type"])
        return {name: self.nested(value) for name, value in tree.items()}

    def nested(self, value: Any) -> Schema:
        if isinstance(value, dict):
            return self.closed({name: self.nested(member) for name, member in value.items()}, None)
        found: Schema = value.schema
        return found

    def others(self, model: type) -> Schema | None:
        entry = model._attribute_map.get("additional_properties")  # type: ignore[attr-defined]
        return self.typed(model, "", entry["type"][1:-1]).schema if entry else None

    def below(self, model: type) -> list[type]:
        package = importlib.import_module(model.__module__.rpartition(".")[0])
        named = (vars(model).get("_subtype_map") or {}).values()
        return [getattr(package, each) for group in named for each in group.values()]

    def typed(self, model: type, name: str, kind: str) -> Leaf:
        return Leaf(self.schema(model, name, kind))

    def schema(self, model: type, name: str, kind: str) -> Schema:
        if kind.startswith("["):
            return {"type": ["array", "null"], "items": self.schema(model, name, kind[1:-1])}
        if kind.startswith("{"):
            return {"type": ["object", "null"], "additionalProperties": self.schema(model, name, kind[1:-1])}
        simple = {"int": int, "long": int, "float": float, "bool": bool, "object": None, "decimal": float}
        if kind in simple:
            return PLAIN[simple[kind]] if simple[kind] else {}
        package = importlib.import_module(model.__module__.rpartition(".")[0])
        found = getattr(package, kind, None)
        if found is not None and issubclass(found, enum.Enum):
            return words(found)
        if found is not None:
            return self.reference(found)
        # A text: its words stand in the annotation of the constructor only.
        hint = str(inspect.signature(model.__init__).parameters.get(name, ""))  # type: ignore[misc]
        named = re.search(r'Union\[str, ForwardRef\(\'_models\.(\w+)\'\)|"_models\.(\w+)"\]', hint)
        known = getattr(package, next(each for each in named.groups() if each), None) if named else None
        return words(known) if known is not None and issubclass(known, enum.Enum) else TEXT


class Leaf:
    """A schema that is no further branch of flattened members."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema


# --- models of Microsoft Graph ---

READ = re.compile(r'"([^"]+)": lambda n : setattr\(self, \'\w+\', n\.get_(\w+)\((\w*)\)')


class OfGraph(Definitions):
    """Classes made by Kiota: each member with the call that reads it out of JSON."""

    def __init__(self, asked: str) -> None:
        super().__init__()
        self.asked = asked

    def members(self, model: type) -> dict[str, Schema]:
        found: dict[str, Schema] = {"@odata.type": TEXT}
        for base in reversed(model.__mro__):
            if "get_field_deserializers" in vars(base):
                source = inspect.getsource(vars(base)["get_field_deserializers"])
                for name, call, argument in READ.findall(source):
                    found[name] = self.called(source, base, call, argument)
        return found

    def remote(self, model: type) -> bool:
        entity = any(base.__name__ == "Entity" for base in model.__mro__[1:])
        return entity and model.__name__ not in (*ENTITIES, self.asked)

    def called(self, source: str, base: type, call: str, argument: str) -> Schema:
        plain = {"bool_value": bool, "int_value": int, "float_value": float}
        if call in plain:
            return PLAIN[plain[call]]
        if call == "collection_of_primitive_values":
            kinds: dict[str, type] = {"bool": bool, "int": int, "float": float}
            return {"type": ["array", "null"], "items": PLAIN[kinds.get(argument, str)]}
        if not argument:
            return TEXT
        imported = re.search(rf"from (\.[\w.]*) import {argument}\b", source)
        place = importlib.import_module(imported[1], base.__module__.rpartition(".")[0]) if imported else None
        model = getattr(place, argument) if place else base
        if issubclass(model, enum.Enum):
            return self.flags(model, several=call.startswith("collection_of"))
        one = self.reference(model)
        if not call.startswith("collection_of"):
            return one
        whole = {"type": ["array", "null"]}
        return whole if one.get("$ref") == "#/$defs/any" else {**whole, "items": one}

    def flags(self, model: type[enum.Enum], *, several: bool) -> Schema:
        """An enumeration. Kiota reads one whose words can be combined, as in "password,sms", like a list of it."""
        word = f"({'|'.join(re.escape(str(each.value)) for each in model)})"
        self.made[model.__name__] = {"type": ["string", "null"], "pattern": f"^({word}(,(?!$)|$))+$"}
        one: Schema = {"$ref": f"#/$defs/{model.__name__}"}
        return {"anyOf": [one, {"type": "array", "items": one}]} if several else one


# --- files ---


def packages() -> dict[str, dict[str, str]]:
    """By package: what it has of ``MODELS``, a type and "module model"."""
    found: dict[str, dict[str, str]] = {}
    module = package = ""
    for line in MODELS.strip().splitlines():
        if line.startswith(" "):
            type_, model = line.split()
            found.setdefault(package, {})[type_] = f"{module} {model}"
        else:
            module = line
            package = "msgraph-sdk" if line.startswith("msgraph.") else f"azure-mgmt-{line.split('.')[2]}"
    return found


def extracted(package: str, types_: dict[str, str]) -> dict[str, Any]:
    """What is kept of one package. Raises AttributeError for a model that it no longer has."""
    named: dict[str, str] = {}
    made: dict[str, Schema] = {}
    for type_, place in types_.items():
        model = model_of(*place.split())
        build: Definitions = WithMap() if hasattr(model, "_attribute_map") else WithDescriptors()
        if package == "msgraph-sdk":
            build = OfGraph(asked=model.__name__)
        named[type_] = build.reference(model)["$ref"].removeprefix("#/$defs/")
        for name, schema in build.made.items():
            if made.setdefault(name, schema) != schema:
                sys.exit(f"{package} has two models {name} that differ; the definitions need longer names")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"{package} {importlib.metadata.version(package)}; made by tools/schemas_azure.py",
        "types": named,
        "$defs": dict(sorted(made.items())),
    }


def model_of(module: str, name: str) -> type:
    if module.startswith("msgraph."):
        module = f"{module}.{re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}"
    found: type = getattr(importlib.import_module(module), name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    check = parser.parse_args().check
    made: dict[Path, str] = {}
    for package, types_ in packages().items():
        try:
            document = extracted(package, types_)
        except ImportError as error:
            sys.exit(f"{error}: install into a venv of your own and run with its python: {' '.join(packages())}")
        name = package.removeprefix("azure-mgmt-")
        made[FOLDER / f"{name}.json"] = json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"
    size = sum(len(text) for text in made.values())
    if size > MAX_BYTES:
        sys.exit(f"{size} bytes are more than {MAX_BYTES}: open some model in OPEN")
    stale = [file for file in FOLDER.glob("*.json") if file not in made]
    differing = [file for file, text in made.items() if not file.exists() or file.read_text() != text]
    if check:
        for file in (*stale, *differing):
            print(f"{file.relative_to(ROOT)} is not what the models say; run tools/schemas_azure.py")
        sys.exit(1 if stale or differing else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in stale:
        file.unlink()
    for file, text in made.items():
        file.write_text(text)
    print(f"{len(made)} files, {size} bytes")


if __name__ == "__main__":
    main()
