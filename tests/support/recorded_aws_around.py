"""Which operations of AWS the recorded objects of each check come from, and the answers of ours that stand around."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import xform_name

ACCOUNT, REGION = "644160558196", "us-east-1"  # the account that most recordings are of
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/44444444-5555-4666-8777-888888888888"
TRAIL = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/all"
REPORT = "iam:get_credential_report"

Body = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """An operation ("ec2/DescribeVolumes") whose answers hold objects of a check, at a dotted path of a list.

    ``around`` makes other answers to one such answer; ``folder`` is where it was recorded, if of another service.
    """

    operation: str
    path: str = ""
    around: Callable[[Body], Body] = lambda body: {}
    folder: str = ""

    @property
    def question(self) -> str:
        service, _, name = self.operation.partition("/")
        return f"{service}:{xform_name(name)}"


# --- what stands around a recorded answer, where it has to fit ---


def _listed_key(body: Body) -> Body:
    known = body.get("KeyMetadata", {})
    return {"kms:list_keys": {"Keys": [{"KeyId": known.get("KeyId"), "KeyArn": known.get("Arn", KEY)}], **WHOLE}}


def bucket_of(body: Body) -> Body:
    name = json.dumps(body.get("Policy", "")).partition("arn:aws:s3:::")[2].partition('\\"')[0]
    named = {"Name": name.partition("/")[0] or "acme-bucket", "BucketRegion": REGION}
    return {"s3:list_buckets": {"Buckets": [named]}}


def _instance(body: Body) -> Body:
    ids = [each["InstanceId"] for each in body["InstanceInformationList"]]
    machines = [{"InstanceId": id, "State": {"Code": 16, "Name": "running"}} for id in ids]
    return {"ec2:describe_instances": {"Reservations": [{"Instances": machines}]}}


def _versions(body: Body) -> Body:
    version, name = body["cluster"].get("version"), body["cluster"].get("name", "one")
    known = [{"clusterVersion": version, "versionStatus": "STANDARD_SUPPORT"}]
    return {"eks:list_clusters": {"clusters": [name]}, "eks:describe_cluster_versions": {"clusterVersions": known}}


def _cluster(body: Body) -> Body:
    version = body["clusterVersions"][0]["clusterVersion"]
    return {
        "eks:list_clusters": {"clusters": ["one"]},
        "eks:describe_cluster": {"cluster": {"name": "one", "version": version}},
    }


def _recorder(body: Body) -> Body:
    names = [each["name"] for each in body.get("ConfigurationRecordersStatus", [])]
    group = {"recordingStrategy": {"useOnly": "ALL_SUPPORTED_RESOURCE_TYPES"}}
    found = [{"name": name, "recordingGroup": group} for name in names]
    return {"config:describe_configuration_recorders": {"ConfigurationRecorders": found}}


def _recording(body: Body) -> Body:
    names = [each["name"] for each in body["ConfigurationRecorders"]]
    found = [{"name": name, "recording": True, "lastStatus": "SUCCESS"} for name in names]
    return {"config:describe_configuration_recorder_status": {"ConfigurationRecordersStatus": found}}


def _flow_log(body: Body) -> Body:
    ids = [each["VpcId"] for each in body["Vpcs"]]
    words = {"FlowLogStatus": "ACTIVE", "TrafficType": "ALL", "DeliverLogsStatus": "SUCCESS"}
    return {"ec2:describe_flow_logs": {"FlowLogs": [{"ResourceId": id, **words} for id in ids]}}


def _vpc(body: Body) -> Body:
    return {"ec2:describe_vpcs": {"Vpcs": [{"VpcId": each["ResourceId"]} for each in body["FlowLogs"]]}}


def _policies(body: Body) -> Body:
    names = {
        name
        for balancer in body["LoadBalancerDescriptions"]
        for listener in balancer.get("ListenerDescriptions", ())
        for name in listener.get("PolicyNames", ())
    }
    return {"elb:describe_load_balancer_policies": {"PolicyDescriptions": [_negotiation(name) for name in names]}}


def _negotiation(name: str) -> Body:
    secure = "SSL" in name or "Security" in name
    kind = "SSLNegotiationPolicyType" if secure else "AppCookieStickinessPolicyType"
    spoken = [{"AttributeName": "Protocol-TLSv1.2", "AttributeValue": "true"}]
    return {"PolicyName": name, "PolicyTypeName": kind, "PolicyAttributeDescriptions": spoken}


def _balancer(body: Body) -> Body:
    listener = {
        "Listener": {"Protocol": "HTTPS", "LoadBalancerPort": 443},
        "PolicyNames": [each["PolicyName"] for each in body["PolicyDescriptions"]][:1],
    }
    one = {"LoadBalancerName": "one", "DNSName": "one.elb.amazonaws.com", "ListenerDescriptions": [listener]}
    return {"elb:describe_load_balancers": {"LoadBalancerDescriptions": [one]}}


def _listeners(body: Body) -> Body:
    arn = body["LoadBalancers"][0]["LoadBalancerArn"]
    listener = {"ListenerArn": f"{arn}/1", "Protocol": "HTTPS", "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06"}
    found = {"elbv2:describe_listeners": {"Listeners": [listener]}}
    return {**found, **_ssl_policies(found["elbv2:describe_listeners"])}


def _ssl_policies(body: Body) -> Body:
    names = sorted({each["SslPolicy"] for each in body["Listeners"] if "SslPolicy" in each})
    known = [{"Name": name, "SslProtocols": ["TLSv1.2", "TLSv1.3"]} for name in names]
    arns = [{"LoadBalancerArn": each.get("LoadBalancerArn", "one")} for each in body["Listeners"][:1]]
    return {
        "elbv2:describe_ssl_policies": {"SslPolicies": known},
        "elbv2:describe_load_balancers": {"LoadBalancers": arns},
    }


def _detector(body: Body) -> Body:
    return {"guardduty:list_detectors": {"DetectorIds": ["12abc34d567e8fa901bc2d34e56789f0"]}}


def _enabled(body: Body) -> Body:
    return {"guardduty:get_detector": {"Status": "ENABLED"}}


WHOLE = {"Truncated": False}
INSTANCES = (Source("ec2/DescribeInstances", "Reservations"),)
DISTRIBUTIONS = (Source("cloudfront/ListDistributions", "DistributionList.Items"),)
DB_INSTANCES = tuple(
    Source("rds/DescribeDBInstances", "DBInstances", folder=folder) for folder in ("rds", "neptune", "docdb")
)
DB_CLUSTERS = tuple(
    Source("rds/DescribeDBClusters", "DBClusters", folder=folder) for folder in ("rds", "neptune", "docdb")
)
SOURCES: Mapping[str, tuple[Source, ...]] = {
    "aws-acm-certificate-expiry": (Source("acm/ListCertificates", "CertificateSummaryList"),),
    "aws-cloudfront-origin-tls": DISTRIBUTIONS,
    "aws-cloudfront-viewer-tls": DISTRIBUTIONS,
    "aws-cloudtrail-multi-region": (
        Source("cloudtrail/DescribeTrails", "trailList"),
        Source("cloudtrail/GetTrailStatus"),
        Source("cloudtrail/GetEventSelectors"),
    ),
    "aws-config-recorder": (
        Source("config/DescribeConfigurationRecorders", around=_recording),
        Source("config/DescribeConfigurationRecorderStatus", around=_recorder),
    ),
    "aws-ebs-default-encryption": (),
    "aws-ebs-volume-encryption": (Source("ec2/DescribeVolumes", "Volumes"),),
    "aws-ec2-patch-compliance": INSTANCES,
    "aws-ec2-ssm-managed": (
        *INSTANCES,
        Source("ssm/DescribeInstanceInformation", "InstanceInformationList", _instance),
    ),
    "aws-ecr-image-scanning": (Source("ecr/DescribeRepositories", "repositories"),),
    "aws-efs-file-system-encryption": (Source("efs/DescribeFileSystems", "FileSystems"),),
    "aws-eks-version-supported": (
        Source("eks/DescribeCluster", around=_versions),
        Source("eks/DescribeClusterVersions", "clusterVersions", _cluster),
    ),
    "aws-elb-classic-listener-tls": (
        Source("elb/DescribeLoadBalancers", "LoadBalancerDescriptions", _policies),
        Source("elb/DescribeLoadBalancerPolicies", around=_balancer),
    ),
    "aws-elbv2-listener-tls": (
        Source("elbv2/DescribeListeners", "Listeners", _ssl_policies),
        Source("elbv2/DescribeLoadBalancers", "LoadBalancers", _listeners),
    ),
    "aws-guardduty-enabled": (
        Source("guardduty/GetDetector", around=_detector),
        Source("guardduty/ListDetectors", around=_enabled),
    ),
    "aws-iam-admin-hardware-mfa": (Source("iam/ListMFADevices"), Source("iam/GetLoginProfile")),
    "aws-iam-user-mfa": (Source("iam/GetCredentialReport", "Content"),),
    "aws-kms-key-rotation": (Source("kms/DescribeKey", around=_listed_key), Source("kms/ListKeys", "Keys")),
    "aws-lambda-runtime-supported": (Source("lambda/ListFunctions", "Functions"),),
    "aws-log-group-retention": (Source("logs/DescribeLogGroups", "logGroups"),),
    "aws-rds-auto-minor-upgrade": (*DB_INSTANCES, *DB_CLUSTERS),
    "aws-rds-cluster-encryption": DB_CLUSTERS,
    "aws-rds-cluster-snapshot-encryption": tuple(
        Source("rds/DescribeDBClusterSnapshots", "DBClusterSnapshots", folder=folder) for folder in ("rds", "neptune")
    ),
    "aws-rds-instance-encryption": DB_INSTANCES,
    "aws-rds-snapshot-encryption": (Source("rds/DescribeDBSnapshots", "DBSnapshots"),),
    "aws-root-mfa": (
        Source("iam/GetCredentialReport"),
        Source("iam/GetAccountSummary"),
        Source("iam/ListVirtualMFADevices"),
    ),
    "aws-s3-bucket-key-holder": (
        Source("s3/GetBucketEncryption", around=bucket_of),
        Source("s3/ListBuckets", "Buckets"),
        Source("kms/DescribeKey", around=bucket_of),
    ),
    "aws-s3-bucket-tls": (Source("s3/GetBucketPolicy", around=bucket_of), Source("s3/ListBuckets", "Buckets")),
    "aws-vpc-flow-logs": (
        Source("ec2/DescribeVpcs", "Vpcs", _flow_log),
        Source("ec2/DescribeFlowLogs", "FlowLogs", _vpc),
    ),
}


def ours(question: str, params: Mapping[str, Any]) -> Any:
    """An answer of a sound account to a question that nobody recorded, None for one that we do not answer either."""
    whole = {"IsTruncated": False}
    trail = {"TrailARN": TRAIL, "HomeRegion": REGION, "IsMultiRegionTrail": True, "LogFileValidationEnabled": True}
    everything = {"ReadWriteType": "All", "IncludeManagementEvents": True, "ExcludeManagementEventSources": []}
    under = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    key = {"KeyManager": "CUSTOMER", "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"}
    asked: list[str] = params.get("InstanceIds") or next((each["Values"] for each in params.get("Filters", ())), [])
    patched = {
        "OperationEndTime": "2026-11-20T03:05:11Z",
        "CriticalNonCompliantCount": 0,
        "SecurityNonCompliantCount": 0,
    }
    names = params.get("repositoryNames", ())
    report = (
        "user,password_enabled,mfa_active,access_key_1_active,access_key_2_active\n<root_account>,true,true,false,false"
    )
    answers: Body = {
        "cloudtrail:describe_trails": {"trailList": [trail]},
        "cloudtrail:get_trail_status": {"IsLogging": True, "LatestDeliveryTime": "2026-11-23T11:55:00Z"},
        "cloudtrail:get_event_selectors": {"TrailARN": TRAIL, "EventSelectors": [everything]},
        "ecr:get_registry_scanning_configuration": {"scanningConfiguration": {"scanType": "BASIC", "rules": []}},
        "ecr:batch_get_repository_scanning_configuration": {
            "scanningConfigurations": [
                {"repositoryName": name, "scanOnPush": True, "scanFrequency": "SCAN_ON_PUSH"} for name in names
            ]
        },
        "elbv2:describe_rules": {
            "Rules": [
                {"Actions": [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_301"}}]}
            ]
        },
        "iam:generate_credential_report": {"State": "COMPLETE"},
        "iam:get_account_authorization_details": {
            "UserDetailList": [_administrator()],
            "GroupDetailList": [],
            "Policies": [],
            **whole,
        },
        "iam:get_account_summary": {"SummaryMap": {"AccountMFAEnabled": 1}},
        REPORT: {"Content": list(csv.DictReader(io.StringIO(report)))},
        "iam:get_login_profile": {"LoginProfile": {"UserName": "eve"}},
        "iam:list_mfa_devices": {"MFADevices": [{"SerialNumber": "GAHT12345678"}], **whole},
        "iam:list_virtual_mfa_devices": {"VirtualMFADevices": [], **whole},
        "kms:describe_key": {"KeyMetadata": {"Arn": params.get("KeyId"), **key}},
        "kms:get_key_rotation_status": {"KeyRotationEnabled": True, "RotationPeriodInDays": 365},
        "rds:describe_db_clusters": {"DBClusters": []},
        "rds:describe_db_instances": {"DBInstances": []},
        "s3:get_bucket_encryption": {
            "ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": under}]}
        },
        "s3:get_bucket_policy": {"Policy": json.dumps(_denial(str(params.get("Bucket"))))},
        "ssm:describe_instance_information": {
            "InstanceInformationList": [{"InstanceId": id, "PingStatus": "Online"} for id in asked]
        },
        "ssm:describe_instance_patch_states": {"InstancePatchStates": [{"InstanceId": id, **patched} for id in asked]},
    }
    return answers.get(question)


def _administrator() -> Body:
    rights = {"PolicyName": "AdministratorAccess", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
    arn = f"arn:aws:iam::{ACCOUNT}:user/eve"
    return {"UserName": "eve", "Arn": arn, "GroupList": [], "AttachedManagedPolicies": [rights]}


def _denial(bucket: str) -> Body:
    arn = f"arn:aws:s3:::{bucket}"
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    return {
        "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"], "Condition": plain}
        ]
    }
