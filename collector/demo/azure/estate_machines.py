"""The seeded machines of acme: virtual machines with their disks, Arc machines, their assessments and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_data import encryption_set_of

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

DISK = "Microsoft.Compute/disks"
VM = "Microsoft.Compute/virtualMachines"
NIC = "Microsoft.Network/networkInterfaces"
ARC = "Microsoft.HybridCompute/machines"
SCHEDULE = "Microsoft.Maintenance/maintenanceConfigurations"
ASSIGNMENT = "Microsoft.Maintenance/configurationAssignments"
ASSESSMENT = "Microsoft.Security/assessments"
SYSTEM_UPDATES = "e1145ab1-eb4f-43d8-911b-36ddf771d13f"  # "System updates should be installed on your machines"
GIBIBYTE = 2**30
IMAGES = {
    "Linux": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest"},
    "Windows": {
        "publisher": "MicrosoftWindowsServer",
        "offer": "WindowsServer",
        "sku": "2022-datacenter-azure-edition",
        "version": "latest",
    },
}
EXACT = {"Linux": "24.04.202511010", "Windows": "20348.4171.251101"}
DISPLAYED = {"running": "VM running", "deallocated": "VM deallocated"}
PLATFORM_KEY = {"type": "EncryptionAtRestWithPlatformKey"}
TRUSTED = {"uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True}, "securityType": "TrustedLaunch"}
PREMIUM = {"name": "Premium_LRS", "tier": "Premium"}


@dataclass(frozen=True)
class Vm:
    """What distinguishes one machine from another. ``mode`` "" is a machine without patch settings; ``missing`` are
    the critical and security patches that the last assessment found, None where there is none."""

    name: str
    group: str = "rg-platform"
    os: str = "Linux"
    mode: str = "AutomaticByPlatform"
    by_schedule: bool = False  # patched by a schedule of the customer only
    scheduled: bool = False  # and one is assigned
    power: str = "running"
    missing: tuple[int, int] | None = (0, 0)
    assessment: str = "Succeeded"
    defender: str = "Healthy"  # "" where Defender has not assessed it
    customer_key: bool = False
    data_disk: bool = False


MACHINES = {
    "production": (
        Vm("vm-web-1", "rg-payments", customer_key=True, data_disk=True),
        Vm("vm-web-2", "rg-payments", by_schedule=True, scheduled=True, customer_key=True),
        Vm("vm-jobs", by_schedule=True, missing=(0, 3), defender="Unhealthy"),
        Vm("vm-files", os="Windows", mode="AutomaticByOS", missing=(1, 0), defender="Unhealthy"),
        Vm("vm-reports", os="Windows", mode="Manual", missing=None, defender=""),
        Vm("vm-retired", power="deallocated", missing=None, defender=""),
    ),
    "staging": (
        Vm("vm-stg-web", customer_key=True),
        Vm("vm-stg-build", mode="ImageDefault", assessment="Failed", defender="Exempt"),
        Vm("vm-stg-old", mode="", power="deallocated", missing=None, defender=""),
    ),
}


def add_machines(build: Builder) -> None:
    production = build.environment == "production"
    if production:
        _add_schedule(build, "mc-weekly", "InGuestPatch")
        _add_schedule(build, "mc-hosts", "Host")
    for copy in build.copies():
        for vm in MACHINES[build.environment]:
            add_machine(build, vm, copy)
        if production:
            _add_arc(build, f"pos-berlin{copy}", "Connected", (0, 0))
            _add_arc(build, f"pos-lyon{copy}", "Connected", (2, 5))
            _add_arc(build, f"plant-scada{copy}", "Disconnected", None)
            _add_disk(build, f"disk-archive{copy}", "rg-data", "Empty", 512, state="Unattached")
            _add_confidential(build, f"disk-enclave{copy}")
            _add_guest_encrypted(build, f"disk-payroll{copy}")


# --- virtual machines ---


def add_machine(build: Builder, vm: Vm, copy: str = "") -> None:
    """Adds a machine with its disks, what Update Manager and Defender know of it, and its schedule."""
    name = f"{vm.name}{copy}"
    id = build.id(VM, vm.group, name)
    key = encryption_set_of(build) if vm.customer_key else ""
    image = {**IMAGES[vm.os], "exactVersion": EXACT[vm.os]}
    state = "Reserved" if vm.power == "deallocated" else "Attached"
    os_disk = _add_disk(
        build, f"{name}_OsDisk_1_{build.hex(32)}", vm.group.upper(), "FromImage", 64, id, state, key, vm.os
    )
    data = [_add_disk(build, f"{name}_DataDisk_0", vm.group, "Empty", 256, id, state, key)] if vm.data_disk else []
    patch: dict[str, Any] = {"patchMode": vm.mode, "assessmentMode": "AutomaticByPlatform"} if vm.mode else {}
    if vm.by_schedule:
        patch["automaticByPlatformSettings"] = {"bypassPlatformSafetyChecksOnUserSchedule": True}
    configuration: dict[str, Any] = {"provisionVMAgent": True}
    if vm.os == "Linux":
        configuration["disablePasswordAuthentication"] = True
    else:
        configuration["enableAutomaticUpdates"] = vm.mode != "Manual"
    if patch:
        configuration["patchSettings"] = patch
    nic = build.id(NIC, vm.group, f"{name}-nic")
    status = {"code": f"PowerState/{vm.power}", "level": "Info", "displayStatus": DISPLAYED[vm.power]}
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "provisioningState": "Succeeded",
        "vmId": build.guid(),
        "additionalCapabilities": {"hibernationEnabled": False},
        "storageProfile": {
            "imageReference": image,
            "osDisk": {
                "osType": vm.os,
                "name": os_disk.rpartition("/")[2],
                "createOption": "FromImage",
                "caching": "ReadWrite",
                "managedDisk": _managed(os_disk, key),
                "deleteOption": "Delete",
                "diskSizeGB": 64,
            },
            "dataDisks": [
                {
                    "lun": lun,
                    "name": disk.rpartition("/")[2],
                    "createOption": "Attach",
                    "caching": "None",
                    "managedDisk": _managed(disk, key),
                    "deleteOption": "Detach",
                    "diskSizeGB": 256,
                    "toBeDetached": False,
                }
                for lun, disk in enumerate(data)
            ],
            "diskControllerType": "SCSI",
        },
        "osProfile": {
            "computerName": name[:15],
            "adminUsername": "acmeadmin",
            f"{vm.os.lower()}Configuration": configuration,
            "secrets": [],
            "allowExtensionOperations": True,
            "requireGuestProvisionSignal": True,
        },
        "securityProfile": TRUSTED,
        "networkProfile": {"networkInterfaces": [{"id": nic, "properties": {"deleteOption": "Delete"}}]},
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        "timeCreated": f"{build.ago(300)}+00:00",
        # What Resource Graph adds and the machine's own GET does not have.
        "extended": {"instanceView": {"powerState": status}},
    }
    build.add(VM, vm.group, name, properties, etag=f'"{build.random.randrange(1, 99)}"')
    if vm.missing is not None:
        _add_patches(build, id, vm.os, vm.assessment, vm.missing)
    if vm.defender:
        _add_finding(build, id, vm.defender)
    if vm.scheduled:
        _add_assignment(build, id, "mc-weekly", copy)


def _managed(disk: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {"storageAccountType": "Premium_LRS", "id": disk}
    return {**found, "diskEncryptionSet": {"id": key}} if key else found


def _add_disk(
    build: Builder,
    name: str,
    group: str,
    option: str,
    size: int,
    owner: str = "",
    state: str = "Attached",
    key: str = "",
    os: str = "",
    **more: Any,
) -> str:
    """Adds a disk; its id. ``key`` is the encryption set that it is encrypted under, "" for a platform key."""
    properties: dict[str, Any] = {
        "creationData": {"createOption": option},
        "diskSizeGB": size,
        "diskIOPSReadWrite": 500,
        "diskMBpsReadWrite": 100,
        "encryption": {"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": key} if key else PLATFORM_KEY,
        "networkAccessPolicy": "DenyAll",
        "publicNetworkAccess": "Disabled",
        "timeCreated": f"{build.ago(300)}+00:00",
        "provisioningState": "Succeeded",
        "diskState": state,
        "diskSizeBytes": size * GIBIBYTE,
        "uniqueId": build.guid(),
        "tier": "P10",
    }
    if os:
        image = IMAGES[os]
        path = f"Publishers/{image['publisher']}/ArtifactTypes/VMImage/Offers/{image['offer']}/Skus/{image['sku']}"
        where = f"/Subscriptions/{build.subscription}/Providers/Microsoft.Compute/Locations/{build.location}"
        properties |= {
            "osType": os,
            "hyperVGeneration": "V2",
            "securityProfile": {"securityType": "TrustedLaunch"},
            "creationData": {
                "createOption": option,
                "imageReference": {"id": f"{where}/{path}/Versions/{EXACT[os]}"},
            },
        }
    members = {"managedBy": owner} if owner else {}
    return build.add(DISK, group, name, {**properties, **more}, sku=PREMIUM, **members)


def _add_confidential(build: Builder, name: str) -> None:
    security = {
        "securityType": "ConfidentialVM_DiskEncryptedWithCustomerKey",
        "secureVMDiskEncryptionSetId": encryption_set_of(build),
    }
    _add_disk(build, name, "rg-payments", "Empty", 32, state="Unattached", securityProfile=security)


def _add_guest_encrypted(build: Builder, name: str) -> None:
    """A disk that Azure Disk Encryption has encrypted from within its machine."""
    vault = build.id("Microsoft.KeyVault/vaults", "rg-platform", "kv-acme-prod")
    secret = f"https://kv-acme-prod.vault.azure.net/secrets/{build.guid()}/{build.hex(32)}"
    settings = [{"diskEncryptionKey": {"sourceVault": {"id": vault}, "secretUrl": secret}}]
    guest = {"enabled": True, "encryptionSettings": settings, "encryptionSettingsVersion": "1.1"}
    _add_disk(build, name, "rg-data", "Empty", 128, state="Unattached", encryptionSettingsCollection=guest)


# --- Arc ---


def _add_arc(build: Builder, name: str, status: str, missing: tuple[int, int] | None) -> None:
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "status": status,
        "lastStatusChange": "@-2h" if status == "Connected" else f"{build.ago(40)}Z",
        "agentVersion": "1.58.03228.1462",
        "vmId": build.guid(),
        "vmUuid": build.guid(),
        "displayName": name,
        "machineFqdn": f"{name}.corp.acme.example",
        "osName": "linux",
        "osType": "linux",
        "osVersion": "5.15.0-157-generic",
        "osSku": "Ubuntu 22.04.5 LTS",
        "domainName": "corp.acme.example",
        "clientPublicKey": build.guid(),
        "cloudMetadata": {"provider": "N/A"},
        "osProfile": {
            "computerName": name,
            "linuxConfiguration": {"patchSettings": {"assessmentMode": "AutomaticByPlatform"}},
        },
        "errorDetails": [],
        "detectedProperties": {"cloudprovider": "N/A", "manufacturer": "Dell Inc.", "model": "PowerEdge R450"},
        "agentConfiguration": {
            "extensionsEnabled": "true",
            "guestConfigurationEnabled": "true",
            "incomingConnectionsPorts": [],
            "extensionsAllowList": [],
            "extensionsBlockList": [],
            "configMode": "full",
        },
        "serviceStatuses": {
            "extensionService": {"status": "running", "startupType": "automatic"},
            "guestConfigurationService": {"status": "running", "startupType": "automatic"},
        },
    }
    id = build.add(ARC, "rg-platform", name, properties, identity=build.identity())
    if missing is not None:
        _add_patches(build, id, "Linux", "Succeeded", missing)


# --- what Update Manager and Defender say ---


def _add_patches(build: Builder, machine: str, os: str, status: str, missing: tuple[int, int]) -> None:
    """The last assessment of a machine, which is assessed once a day."""
    counts = {"critical": missing[0], "security": missing[1], "other": 4 + build.random.randrange(20)}
    if os == "Windows":
        counts |= dict.fromkeys(("updateRollup", "featurePack", "servicePack", "definition", "tools", "updates"), 0)
    properties: dict[str, Any] = {
        "osType": os,
        "status": status,
        "startDateTime": "@-5h",
        "lastModifiedDateTime": "@-5h",
        "startedBy": "Platform",
        "patchServiceUsed": "APT" if os == "Linux" else "WU",
        "rebootPending": bool(missing[0]),
        "assessmentActivityId": build.guid(),
        "availablePatchCountByClassification": counts if status == "Succeeded" else None,
        "errorDetails": None,
    }
    if status != "Succeeded":
        properties["errorDetails"] = {
            "code": "1",
            "message": "1 error/s reported.",
            "details": [{"code": "PACKAGE_MANAGER_FAILURE", "message": "apt-get update failed"}],
        }
    whole = machine.replace("/resourceGroups/", "/resourcegroups/")
    kind = f"{machine.split('/')[6]}/{machine.split('/')[7]}/patchAssessmentResults"
    id = f"{whole}/patchAssessmentResults/latest"
    # The row is called after the assessment and not after the end of its id.
    name = str(properties["assessmentActivityId"])
    build.row("patchassessmentresources", id, kind, properties, name=name, location=build.location, tags=build.tags)


def _add_finding(build: Builder, machine: str, code: str) -> None:
    """What Defender for Cloud says of a machine's updates; ids in its table are in small letters."""
    status: dict[str, Any] = {"code": code, "firstEvaluationDate": build.ago(200), "statusChangeDate": build.ago(20)}
    if code == "Unhealthy":
        status["description"] = "There are updates missing"
    elif code == "Exempt":
        status |= {"code": "NotApplicable", "cause": "Exempt", "description": "The resource is exempt"}
    low = machine.lower()
    properties = {
        "displayName": "System updates should be installed on your machines (powered by Azure Update Manager)",
        "resourceDetails": {"Source": "Azure", "Id": low, "ResourceId": low},
        "status": status,
        "metadata": {
            "displayName": "System updates should be installed on your machines (powered by Azure Update Manager)",
            "assessmentType": "BuiltIn",
            "policyDefinitionId": "/providers/Microsoft.Authorization/policyDefinitions/"
            "f85bf3e0-d513-442e-89c3-1784ad63382b",
            "severity": "Medium",
            "categories": ["Compute"],
            "userImpact": "Low",
            "implementationEffort": "Low",
            "threats": ["dataExfiltration", "dataSpillage"],
        },
    }
    id = f"{low}/providers/microsoft.security/assessments/{SYSTEM_UPDATES}"
    build.row("securityresources", id, ASSESSMENT, properties)


# --- schedules ---


def _add_schedule(build: Builder, name: str, scope: str) -> None:
    properties: dict[str, Any] = {
        "namespace": None,
        "extensionProperties": {"InGuestPatchMode": "User"} if scope == "InGuestPatch" else {},
        "maintenanceScope": scope,
        "maintenanceWindow": {
            "startDateTime": "2025-01-05 03:00",
            "expirationDateTime": None,
            "duration": "03:00",
            "timeZone": "W. Europe Standard Time",
            "recurEvery": "1Week Sunday",
        },
        "visibility": "Custom",
    }
    if scope == "InGuestPatch":
        properties["installPatches"] = {
            "rebootSetting": "IfRequired",
            "windowsParameters": {"classificationsToInclude": ["Critical", "Security"]},
            "linuxParameters": {"classificationsToInclude": ["Critical", "Security"]},
        }
    build.add(SCHEDULE, "rg-platform", name, properties)


def _add_assignment(build: Builder, machine: str, schedule: str, copy: str) -> None:
    """That a machine is on a schedule: Azure Resource Manager lists it with the machine, Resource Graph by itself."""
    name = f"{schedule}-assignment{copy}"
    properties = {
        "maintenanceConfigurationId": build.id(SCHEDULE, "rg-platform", schedule),
        "resourceId": machine.lower(),
    }
    id = f"{machine}/providers/{ASSIGNMENT}/{name}"
    body = {"id": id, "name": name, "type": ASSIGNMENT, "location": build.location, "properties": properties}
    build.store(id, ASSIGNMENT, body)
    build.row("maintenanceresources", id.lower(), ASSIGNMENT, properties, location=build.location)
