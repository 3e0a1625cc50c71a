"""The operations that moto lacks or gets wrong, as functions from the world and a call to an output dict.

Each dict is checked against botocore's model before it is sent, and is cut into pages by ``aws.py``. Nothing here is
random or remembered: what can change is in ``World.state`` or in moto.
"""

from __future__ import annotations

import csv
import fnmatch
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.iam.models import iam_backends

from collector.demo.aws import COLLECTOR_KEY, Answer, Call, Refusal, World
from collector.demo.estate import bare

ANSWERS: dict[tuple[str, str], Answer] = {}

ROOT_CREATED = datetime(2021, 3, 4, 9, 30, tzinfo=UTC)
REPORT_COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
NOT_THERE = "N/A"
TRAIL_DELIVERY_LAG = timedelta(minutes=4)
ROTATION_DAYS = 365


def answers(service: str, *operations: str) -> Callable[[Answer], Answer]:
    """Registers a function as the answer to operations."""

    def register(function: Answer) -> Answer:
        for operation in operations:
            ANSWERS[service, operation] = function
        return function

    return register


def of_moto(world: World, call: Call) -> dict[str, Any]:
    """What moto says, whole, to be amended."""
    return world.moto.ask(call.service, call.operation, call.region, call.params)


# --- who asks, and where ---


@answers("sts", "GetCallerIdentity")
def caller(world: World, call: Call) -> dict[str, Any]:
    if call.key != COLLECTOR_KEY:
        return of_moto(world, call)
    arn = f"arn:aws:sts::{world.account}:assumed-role/evidence-collector/run"
    return {"UserId": "AROAEXAMPLEID:run", "Account": world.account, "Arn": arn}


@answers("ec2", "DescribeRegions")
def regions(world: World, call: Call) -> dict[str, Any]:
    asked = call.params.get("RegionNames") or world.regions
    found = [
        {"RegionName": name, "Endpoint": f"ec2.{name}.amazonaws.com", "OptInStatus": "opt-in-not-required"}
        for name in world.regions
        if name in asked
    ]
    return {"Regions": found}


# --- iam ---


def _users(world: World) -> list[Any]:
    return sorted(iam_backends[world.account]["aws"].users.values(), key=lambda user: user.name)


def _stamp(moment: Any) -> str:
    """Times of moto have no zone and are UTC."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}+00:00"


def _row(user: Any) -> dict[str, str]:
    made = _stamp(user.create_date)
    row = dict.fromkeys(REPORT_COLUMNS, NOT_THERE)
    row |= {"user": user.name, "arn": user.arn, "user_creation_time": made}
    row |= {"password_enabled": str(bool(user.password)).lower(), "mfa_active": str(bool(user.mfa_devices)).lower()}
    if user.password:
        row |= {"password_last_used": "no_information", "password_last_changed": made}
    for n in (1, 2):
        key = user.access_keys[n - 1] if len(user.access_keys) >= n else None
        row[f"access_key_{n}_active"] = str(key is not None and key.status == "Active").lower()
        if key is not None:
            row[f"access_key_{n}_last_rotated"] = _stamp(key.create_date)
        row[f"cert_{n}_active"] = "false"
    return row


def _root_row(world: World) -> dict[str, str]:
    root, made = world.state["root"], ROOT_CREATED.isoformat()
    row = dict.fromkeys(REPORT_COLUMNS, NOT_THERE)
    row |= {"user": "<root_account>", "arn": f"arn:aws:iam::{world.account}:root", "user_creation_time": made}
    row |= {"password_enabled": "not_supported" if root["password"] else "false", "password_last_used": made}
    row |= {"password_last_changed": "not_supported", "password_next_rotation": "not_supported"}
    row["mfa_active"] = str(root["mfa"] != "none").lower()
    for n in (1, 2):
        row[f"access_key_{n}_active"] = str(root["access_keys"] >= n).lower()
        row[f"cert_{n}_active"] = "false"
    return row


@answers("iam", "GenerateCredentialReport")
def make_report(world: World, call: Call) -> dict[str, Any]:
    return {"State": "COMPLETE"}


@answers("iam", "GetCredentialReport")
def report(world: World, call: Call) -> dict[str, Any]:
    """Made anew whenever something changed; AWS would make it at most every four hours."""
    text = io.StringIO()
    table = csv.DictWriter(text, REPORT_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerow(_root_row(world))
    table.writerows(_row(user) for user in _users(world))
    made = world.now.astimezone(UTC).replace(microsecond=0)
    return {"Content": text.getvalue().rstrip("\n").encode(), "ReportFormat": "text/csv", "GeneratedTime": made}


@answers("iam", "GetAccountSummary")
def summary(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    root = world.state["root"]
    found["SummaryMap"] |= {
        "AccountMFAEnabled": int(root["mfa"] != "none"),
        "AccountAccessKeysPresent": int(root["access_keys"] > 0),
        "AccountPasswordPresent": int(root["password"]),
        "Users": len(_users(world)),
        "MFADevicesInUse": sum(bool(user.mfa_devices) for user in _users(world)),
    }
    return found


@answers("iam", "ListVirtualMFADevices")
def virtual_devices(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    if world.state["root"]["mfa"] == "virtual" and call.params.get("AssignmentStatus") != "Unassigned":
        arn = f"arn:aws:iam::{world.account}"
        root = {"UserId": world.account, "Arn": f"{arn}:root", "UserName": "", "Path": "/", "CreateDate": ROOT_CREATED}
        serial = f"{arn}:mfa/root-account-mfa-device"
        found["VirtualMFADevices"].append({"SerialNumber": serial, "User": root, "EnableDate": ROOT_CREATED})
    return found


@answers("iam", "GetAccountAuthorizationDetails")
def details(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    for user in found.get("UserDetailList", []):
        if not user.get("UserPolicyList"):
            user.pop("UserPolicyList", None)  # AWS leaves it out
    return found


# --- keys and buckets ---


@answers("kms", "DescribeKey")
def key(world: World, call: Call) -> dict[str, Any]:
    managed: Mapping[str, str] = world.state.get("kms.managed", {})
    id = str(call.params.get("KeyId", ""))
    if id.rpartition(":")[2].startswith("alias/aws/"):
        name = id.rpartition(":")[2]
        id = next((arn for arn, alias in managed.items() if alias == name and f":{call.region}:" in arn), id)
    found = world.moto.ask("kms", "DescribeKey", call.region, {"KeyId": id})
    if found["KeyMetadata"]["Arn"] in managed:
        found["KeyMetadata"]["KeyManager"] = "AWS"
    return found


@answers("kms", "ListAliases")
def aliases(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    for alias in found["Aliases"]:
        if alias["AliasName"].startswith("alias/aws-"):  # moto lets nobody make the real names
            alias["AliasName"] = alias["AliasName"].replace("alias/aws-", "alias/aws/")
            alias["AliasArn"] = alias["AliasArn"].replace("alias/aws-", "alias/aws/")
    return found


@answers("kms", "GetKeyRotationStatus")
def rotation(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    id = str(call.params["KeyId"])
    arn = id if id.startswith("arn:") else f"arn:aws:kms:{call.region}:{world.account}:key/{id}"
    if arn in world.state.get("kms.managed", {}):
        return {"KeyId": arn, "KeyRotationEnabled": True, "RotationPeriodInDays": ROTATION_DAYS}
    found["KeyId"] = arn
    if found["KeyRotationEnabled"]:
        found["RotationPeriodInDays"] = world.state.get("kms.periods", {}).get(bare(arn), ROTATION_DAYS)
    return found


@answers("kms", "EnableKeyRotation")
def rotate(world: World, call: Call) -> dict[str, Any]:
    """moto forgets the period."""
    of_moto(world, call)
    periods = world.state.setdefault("kms.periods", {})
    periods[bare(str(call.params["KeyId"]))] = int(call.params.get("RotationPeriodInDays") or ROTATION_DAYS)
    return {}


@answers("s3", "ListBuckets")
def buckets(world: World, call: Call) -> dict[str, Any]:
    """AWS names the region of a bucket only in answers to a question with a parameter."""
    found = of_moto(world, call)
    region = call.params.get("BucketRegion")
    kept = []
    for bucket in found.get("Buckets") or []:
        where = world.moto.ask("s3", "GetBucketLocation", "us-east-1", {"Bucket": bucket["Name"]})
        bucket["BucketRegion"] = where.get("LocationConstraint") or "us-east-1"
        if region in (None, bucket["BucketRegion"]) and bucket["Name"].startswith(call.params.get("Prefix") or ""):
            kept.append(bucket if call.params else {k: v for k, v in bucket.items() if k != "BucketRegion"})
    return {"Buckets": kept, "Owner": found["Owner"]}


# --- databases ---


@answers("rds", "DescribeDBClusters")
def clusters(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    for each in found["DBClusters"]:
        each.setdefault("AutoMinorVersionUpgrade", each["DBClusterIdentifier"] != "playground")
    return found


@answers("rds", "DescribePendingMaintenanceActions")
def maintenance(world: World, call: Call) -> dict[str, Any]:
    asked = call.params.get("ResourceIdentifier")
    found = [
        {
            "ResourceIdentifier": each["arn"],
            "PendingMaintenanceActionDetails": [{"Action": each["action"], "Description": each["description"]}],
        }
        for each in world.of("rds.pending", call.region)
        if asked in (None, each["arn"])
    ]
    return {"PendingMaintenanceActions": found}


# --- traffic ---


def _certificate(world: World, region: str, state: Mapping[str, Any]) -> dict[str, Any]:
    end = datetime.fromisoformat(state["not_after"])
    start = end - timedelta(days=395)
    own = {"ImportedAt": start} if state["type"] == "IMPORTED" else {"IssuedAt": start}
    return {
        "CertificateArn": state["arn"],
        "DomainName": state["domain"],
        "SubjectAlternativeNames": [state["domain"]],
        "Subject": f"CN={state['domain']}",
        "Issuer": "Amazon" if state["type"] == "AMAZON_ISSUED" else "Example CA",
        "Serial": "0d:" + ":".join(f"{n:02x}" for n in state["arn"].encode()[-15:]),
        "CreatedAt": start,
        "Status": "EXPIRED" if end <= world.now else "ISSUED",
        "NotBefore": start,
        "NotAfter": end,
        "KeyAlgorithm": "RSA-2048",  # so in the details, with an underscore in the listing
        "SignatureAlgorithm": "SHA256WITHRSA",
        "InUseBy": list(state["in_use"]),
        "Type": state["type"],
        "KeyUsages": [{"Name": "DIGITAL_SIGNATURE"}, {"Name": "KEY_ENCIPHERMENT"}],
        "ExtendedKeyUsages": [{"Name": "TLS_WEB_SERVER_AUTHENTICATION", "OID": "1.3.6.1.5.5.7.3.1"}],
        "RenewalEligibility": "ELIGIBLE" if state["type"] == "AMAZON_ISSUED" and state["in_use"] else "INELIGIBLE",
        "Options": {"CertificateTransparencyLoggingPreference": "ENABLED"},
        **own,
    }


@answers("acm", "ListCertificates")
def certificates(world: World, call: Call) -> dict[str, Any]:
    """Without a filter on key types AWS lists RSA-1024 and RSA-2048 only; here all are RSA-2048."""
    found = []
    for state in world.of("acm", call.region):
        whole = _certificate(world, call.region, state)
        names = {"CertificateArn", "DomainName", "Status", "Type", "KeyAlgorithm", "NotBefore", "NotAfter", "CreatedAt"}
        names |= {"IssuedAt", "ImportedAt", "RenewalEligibility"}
        short = {name: value for name, value in whole.items() if name in names}
        short |= {
            "KeyAlgorithm": "RSA_2048",
            "SubjectAlternativeNameSummaries": whole["SubjectAlternativeNames"],
            "HasAdditionalSubjectAlternativeNames": False,
            "InUse": bool(whole["InUseBy"]),
            "KeyUsages": ["DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT"],
            "ExtendedKeyUsages": ["TLS_WEB_SERVER_AUTHENTICATION"],
        }
        if whole["Status"] in (call.params.get("CertificateStatuses") or [whole["Status"]]):
            found.append(short)
    return {"CertificateSummaryList": found}


@answers("acm", "DescribeCertificate")
def certificate(world: World, call: Call) -> dict[str, Any]:
    for state in world.of("acm", call.region):
        if state["arn"] == call.params["CertificateArn"]:
            return {"Certificate": _certificate(world, call.region, state)}
    raise Refusal("ResourceNotFoundException", f"Could not find certificate {call.params['CertificateArn']}.")


ELB_PROTOCOLS = {
    "ELBSecurityPolicy-TLS-1-2-2017-01": ("TLSv1.2",),
    "ELBSecurityPolicy-TLS-1-1-2017-01": ("TLSv1.1", "TLSv1.2"),
    "ELBSecurityPolicy-2016-08": ("TLSv1", "TLSv1.1", "TLSv1.2"),
    "ELBSecurityPolicy-2015-05": ("TLSv1", "TLSv1.1", "TLSv1.2"),
}


@answers("elb", "DescribeLoadBalancerPolicies")
def classic_policies(world: World, call: Call) -> dict[str, Any]:
    """AWS writes out all protocols of a TLS policy, also of one that only refers to a predefined one."""
    found = of_moto(world, call)
    for policy in found["PolicyDescriptions"]:
        if policy["PolicyTypeName"] != "SSLNegotiationPolicyType":
            continue
        given = {each["AttributeName"]: each["AttributeValue"] for each in policy["PolicyAttributeDescriptions"]}
        reference = given.get("Reference-Security-Policy", "")
        on = ELB_PROTOCOLS.get(reference, [name.removeprefix("Protocol-") for name in given if given[name] == "true"])
        whole = {"Reference-Security-Policy": reference} if reference else {}
        whole |= {f"Protocol-{name}": str(name in on).lower() for name in ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2")}
        whole |= {"Server-Defined-Cipher-Order": "true", "ECDHE-RSA-AES128-GCM-SHA256": "true", "RC4-SHA": "false"}
        policy["PolicyAttributeDescriptions"] = [
            {"AttributeName": name, "AttributeValue": value} for name, value in whole.items()
        ]
    return found


# --- logs and watching ---


@answers("cloudtrail", "GetTrailStatus")
def trail_status(world: World, call: Call) -> dict[str, Any]:
    """Deliveries follow the clock while the trail logs, and end with it."""
    found = of_moto(world, call)
    end = world.now if found["IsLogging"] else found.get("StopLoggingTime")
    if end is not None and found.get("StartLoggingTime") is not None:
        last = (end - TRAIL_DELIVERY_LAG).astimezone(UTC).replace(microsecond=0)
        found |= {"LatestDeliveryTime": last, "LatestDigestDeliveryTime": last - timedelta(minutes=30)}
        found["LatestDeliveryAttemptTime"] = f"{last:%Y-%m-%dT%H:%M:%SZ}"
        found["LatestDeliveryAttemptSucceeded"] = f"{last:%Y-%m-%dT%H:%M:%SZ}"
    return found


@answers("cloudtrail", "GetEventSelectors")
def event_selectors(world: World, call: Call) -> dict[str, Any]:
    """A trail for which nobody chose events records all management events; moto knows it in its home region only."""
    name = str(call.params["TrailName"])
    region = name.split(":")[3] if name.startswith("arn:") else call.region
    found = world.moto.ask("cloudtrail", "GetEventSelectors", region, call.params)
    if not found.get("EventSelectors") and not found.get("AdvancedEventSelectors"):
        every = {"ReadWriteType": "All", "IncludeManagementEvents": True}
        found["EventSelectors"] = [every | {"DataResources": [], "ExcludeManagementEventSources": []}]
    return {key: value for key, value in found.items() if value}


@answers("config", "DescribeConfigurationRecorderStatus")
def recorder_status(world: World, call: Call) -> dict[str, Any]:
    found = of_moto(world, call)
    for each in found["ConfigurationRecordersStatus"]:
        if each.get("recording"):
            each["lastStatus"] = "Success"  # the model's word; recorded answers say SUCCESS
        each["name"] = each.get("name", "default")
    return found


@answers("config", "DescribeDeliveryChannelStatus")
def channel_status(world: World, call: Call) -> dict[str, Any]:
    channels = world.moto.ask("config", "DescribeDeliveryChannels", call.region, {})["DeliveryChannels"]
    last = {"lastStatus": "SUCCESS", "lastAttemptTime": world.now, "lastSuccessfulTime": world.now}
    return {"DeliveryChannelsStatus": [{"name": each["name"], "configHistoryDeliveryInfo": last} for each in channels]}


# --- patches ---


@answers("ssm", "DescribeInstanceInformation")
def managed(world: World, call: Call) -> dict[str, Any]:
    filters = [*(call.params.get("Filters") or [])]
    filters += [
        {"Key": each["key"], "Values": each["valueSet"]}
        for each in call.params.get("InstanceInformationFilterList") or []
    ]
    wanted = [set(each["Values"]) for each in filters if each["Key"] == "InstanceIds"]
    pings = [set(each["Values"]) for each in filters if each["Key"] == "PingStatus"]
    now = world.now.astimezone(UTC).replace(microsecond=0)
    found = []
    for each in world.of("ssm.instances", call.region):
        if all(each["id"] in ids for ids in wanted) and all(each["ping"] in some for some in pings):
            seen = now - (timedelta(minutes=3) if each["ping"] == "Online" else timedelta(days=9))
            found.append(
                {
                    "InstanceId": each["id"],
                    "PingStatus": each["ping"],
                    "LastPingDateTime": seen,
                    "AgentVersion": "3.3.987.0",
                    "IsLatestVersion": True,
                    "PlatformType": "Linux",
                    "PlatformName": "Amazon Linux",
                    "PlatformVersion": "2023",
                    "ResourceType": "EC2Instance",
                    "IPAddress": "10.20.0.17",
                    "ComputerName": f"ip-10-20-0-17.{call.region}.compute.internal",
                    "SourceId": each["id"],
                    "SourceType": "AWS::EC2::Instance",
                }
            )
    return {"InstanceInformationList": found}


def _patch_state(world: World, state: Mapping[str, Any]) -> dict[str, Any]:
    """Scans run at three in the morning."""
    night = world.now.astimezone(UTC).replace(hour=3, minute=0, second=0, microsecond=0)
    end = night - timedelta(days=state["scan_age_days"])
    return {
        "InstanceId": state["id"],
        "PatchGroup": "production",
        "BaselineId": "pb-0c10e65780EXAMPLE",
        "SnapshotId": "2be3e7d8-3f6b-4d8e-9d11-0f5f1ff9b1c2",
        "OwnerInformation": "",
        "InstalledCount": 210,
        "InstalledOtherCount": 4,
        "InstalledPendingRebootCount": 0,
        "InstalledRejectedCount": 0,
        "MissingCount": state["missing"],
        "FailedCount": 0,
        "UnreportedNotApplicableCount": 0,
        "NotApplicableCount": 1431,
        "OperationStartTime": end - timedelta(seconds=95),
        "OperationEndTime": end,
        "Operation": "Scan",
        "RebootOption": "NoReboot",
        "CriticalNonCompliantCount": state["critical"],
        "SecurityNonCompliantCount": state["security"],
        "OtherNonCompliantCount": max(0, state["missing"] - state["critical"] - state["security"]),
    }


@answers("ssm", "DescribeInstancePatchStates")
def patch_states(world: World, call: Call) -> dict[str, Any]:
    known = {state["id"]: state for state in world.of("ssm.patches", call.region)}
    found = [_patch_state(world, known[id]) for id in call.params["InstanceIds"] if id in known]
    return {"InstancePatchStates": found}


@answers("ssm", "DescribeInstancePatches")
def patches(world: World, call: Call) -> dict[str, Any]:
    state = next(
        (each for each in world.of("ssm.patches", call.region) if each["id"] == call.params["InstanceId"]), None
    )
    night = world.now.astimezone(UTC).replace(hour=3, minute=0, second=0, microsecond=0)
    kinds = [("Critical", "Security")] * (state["critical"] if state else 0)
    kinds += [("Important", "Security")] * (state["security"] if state else 0)
    found = [
        {
            "Title": f"openssl.x86_64:1:3.2.2-1.amzn2023.0.{n}",
            "KBId": f"openssl-{n}.x86_64",
            "Classification": kind,
            "Severity": severity,
            "State": "Missing",
            "InstalledTime": night,
        }
        for n, (severity, kind) in enumerate(kinds)
    ]
    return {"Patches": found}


@answers("ssm", "ListResourceComplianceSummaries")
def compliance(world: World, call: Call) -> dict[str, Any]:
    found = []
    for state in world.of("ssm.patches", call.region):
        bad = state["missing"] > 0
        found.append(
            {
                "ComplianceType": "Patch",
                "ResourceType": "ManagedInstance",
                "ResourceId": state["id"],
                "Status": "NON_COMPLIANT" if bad else "COMPLIANT",
                "OverallSeverity": "CRITICAL" if state["critical"] else "HIGH" if bad else "UNSPECIFIED",
                "ExecutionSummary": {"ExecutionTime": _patch_state(world, state)["OperationEndTime"]},
            }
        )
    return {"ResourceComplianceSummaryItems": found}


@answers("ecr", "GetRegistryScanningConfiguration")
def registry_scanning(world: World, call: Call) -> dict[str, Any]:
    state = world.state[f"ecr.registry/{call.region}"]
    return {
        "registryId": world.account,
        "scanningConfiguration": {
            "scanType": state["type"],
            "rules": [
                {
                    "scanFrequency": rule["frequency"],
                    "repositoryFilters": [{"filter": rule["filter"], "filterType": "WILDCARD"}],
                }
                for rule in state["rules"]
            ],
        },
    }


@answers("ecr", "BatchGetRepositoryScanningConfiguration")
def repository_scanning(world: World, call: Call) -> dict[str, Any]:
    known = world.moto.ask("ecr", "DescribeRepositories", call.region, {})["repositories"]
    by_name = {each["repositoryName"]: each for each in known}
    rules = world.state[f"ecr.registry/{call.region}"]["rules"]
    found, failures = [], []
    for name in call.params["repositoryNames"]:
        if name not in by_name:
            code = "REPOSITORY_NOT_FOUND"
            failures.append({"repositoryName": name, "failureCode": code, "failureReason": "Repository not found"})
            continue
        hits = [rule for rule in rules if fnmatch.fnmatchcase(name, rule["filter"])]
        found.append(
            {
                "repositoryArn": by_name[name]["repositoryArn"],
                "repositoryName": name,
                "scanOnPush": by_name[name]["imageScanningConfiguration"]["scanOnPush"],
                "scanFrequency": hits[0]["frequency"] if hits else "MANUAL",
                "appliedScanFilters": [{"filter": rule["filter"], "filterType": "WILDCARD"} for rule in hits],
            }
        )
    return {"scanningConfigurations": found, "failures": failures}


@answers("inspector2", "BatchGetAccountStatus")
def inspector(world: World, call: Call) -> dict[str, Any]:
    state = world.state[f"inspector/{call.region}"]
    fine = {"errorCode": "ALREADY_ENABLED", "errorMessage": ""}

    def of(on: bool) -> dict[str, Any]:
        return {"status": "ENABLED" if on else "DISABLED", **fine}

    each = {"ec2": of(state["ec2"]), "ecr": of(state["ecr"]), "lambda": of(state["lambda"])}
    account = {"accountId": world.account, "state": of(any(state.values())), "resourceState": each}
    return {"accounts": [account], "failedAccounts": []}


@answers("inspector2", "ListCoverage")
def coverage(world: World, call: Call) -> dict[str, Any]:
    state, found = world.state[f"inspector/{call.region}"], []
    scanned = world.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if state["ec2"]:
        for each in world.of("ssm.instances", call.region):
            online = each["ping"] == "Online"
            status = {
                "statusCode": "ACTIVE" if online else "INACTIVE",
                "reason": "SUCCESSFUL" if online else "STALE_INVENTORY",
            }
            found.append({"resourceId": each["id"], "resourceType": "AWS_EC2_INSTANCE", "scanStatus": status})
    if state["ecr"]:
        for each in world.moto.ask("ecr", "DescribeRepositories", call.region, {})["repositories"]:
            status = {"statusCode": "ACTIVE", "reason": "SUCCESSFUL"}
            kind = "AWS_ECR_REPOSITORY"
            found.append({"resourceId": each["repositoryArn"], "resourceType": kind, "scanStatus": status})
    own = {"accountId": world.account, "scanType": "PACKAGE", "lastScannedAt": scanned}
    return {"coveredResources": [each | own for each in found]}


@answers("eks", "DescribeClusterVersions")
def kubernetes(world: World, call: Call) -> dict[str, Any]:
    everything = call.params.get("includeAll")
    asked = call.params.get("clusterVersions")
    found = []
    for n, each in enumerate(world.state["eks.versions"]):
        if (not everything and not asked and each["status"] == "UNSUPPORTED") or (
            asked and each["version"] not in asked
        ):
            continue
        released = datetime(2025, 10, 1, tzinfo=UTC) - timedelta(days=120 * n)
        found.append(
            {
                "clusterVersion": each["version"],
                "clusterType": "eks",
                "defaultPlatformVersion": "eks.3",
                "defaultVersion": n == 0,
                "releaseDate": released,
                "endOfStandardSupportDate": released + timedelta(days=425),
                "endOfExtendedSupportDate": released + timedelta(days=790),
                "status": each["status"].lower().replace("_", "-"),
                "versionStatus": each["status"],
                "kubernetesPatchVersion": f"{each['version']}.2",
            }
        )
    return {"clusterVersions": found}


# --- small settings that moto does not know ---


@answers("ec2", "GetSnapshotBlockPublicAccessState")
def snapshot_block(world: World, call: Call) -> dict[str, Any]:
    return {"State": "block-all-sharing"}


@answers("ec2", "GetEbsDefaultKmsKeyId")
def default_key(world: World, call: Call) -> dict[str, Any]:
    return {"KmsKeyId": "alias/aws/ebs"}


@answers("securityhub", "GetEnabledStandards")
def standards(world: World, call: Call) -> dict[str, Any]:
    return {"StandardsSubscriptions": []}


@answers("guardduty", "ListFindings")
def threats(world: World, call: Call) -> dict[str, Any]:
    return {"FindingIds": []}


@answers("lambda", "ListFunctionUrlConfigs")
def function_urls(world: World, call: Call) -> dict[str, Any]:
    return {"FunctionUrlConfigs": []}
