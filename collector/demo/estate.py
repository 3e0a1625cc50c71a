"""What the simulated account holds: a seeded population in which each check has good, bad and inapplicable subjects.

What moto can make is made by real boto calls; what it cannot is kept in ``World.state``, which ``answers.py`` reads.
Events that change it later are in ``story.py``.

Keys of ``World.state`` (JSON values, so that a story can set them; REGION as in ``eu-west-1``):

* ``root``: ``{"mfa": "hardware" | "virtual" | "none", "password": bool, "access_keys": int}``
* ``ssm.instances/REGION``: ``[{"id", "ping"}]``, what Systems Manager manages
* ``ssm.patches/REGION``: ``[{"id", "missing", "critical", "security", "scan_age_days"}]``
* ``acm/REGION``: ``[{"arn", "domain", "not_after" (ISO 8601), "type", "in_use": [ARN]}]``
* ``ecr.registry/REGION``: ``{"type": "BASIC" | "ENHANCED", "rules": [{"frequency", "filter"}]}``
* ``inspector/REGION``: ``{"ec2": bool, "ecr": bool, "lambda": bool}``
* ``rds.pending/REGION``: ``[{"arn", "action", "description"}]``
* ``eks.versions``: ``[{"version", "status"}]``
* ``kms.managed``: ``{ARN: alias}`` of keys that AWS manages; ``kms.periods``: ``{key id: days}``
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from datetime import timedelta
from typing import Any

from collector.demo.aws import World

HOME = "us-east-1"
HERE = "eu-west-1"
ADMINISTRATOR_ACCESS = "arn:aws:iam::aws:policy/AdministratorAccess"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
IMAGE = "ami-12c6146b"

# Where AWS hands out secrets: none of these may ever reach evidence.
SECRET_IN_LAMBDA = "PLANTED-SECRET-lambda-environment-4f1d0c"
SECRET_IN_CLOUDFRONT = "PLANTED-SECRET-cloudfront-origin-header-9b27aa"
SECRET_IN_USER_DATA = "PLANTED-SECRET-instance-user-data-c3e81f"
PLANTED_SECRETS = [SECRET_IN_LAMBDA, SECRET_IN_CLOUDFRONT, SECRET_IN_USER_DATA]

# The subjects of the story, by name.
STORY_USER = "maria.lopez"
LEAVER = "frank.miller"
STORY_BUCKET = "acme-invoices"
STORY_TRAIL = "acme-audit"
STORY_INSTANCE = "web-1"
STORY_CERTIFICATE = "shop.acme.example"
STORY_DATABASE = "reporting"

ANYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}

EXTRA_USERS = 20  # for each step of scale beyond the first
EXTRA_BUCKETS = 20
EXTRA_VOLUMES = 15
EXTRA_LOG_GROUPS = 20
EXTRA_FUNCTIONS = 10
EXTRA_KEYS = 5
EXTRA_DATABASES = 5
EXTRA_REPOSITORIES = 5


class Estate:
    """A population. The same seed and scale make the same names and, by moto's seeded ids, the same ARNs."""

    def __init__(self, seed: int = 7, scale: int = 1) -> None:
        if scale < 1:
            raise ValueError("scale is at least 1")
        self.seed = seed
        self.scale = scale
        self._random = random.Random(seed)
        self._keys: dict[str, str] = {}

    def populate(self, world: World) -> None:
        """Makes everything; ``world`` must be empty."""
        self._world = world
        home, here = world.regions[0], world.regions[-1]
        self._identities()
        for region in world.regions:
            self._keys_of(region)
            self._network(region)
            self._instances(region, everything=region == home)
            self._databases(region)
            self._logs(region)
            self._functions(region)
            self._certificates(region)
            self._balancers(region)
            self._registry(region)
            self._clusters(region)
            self._recorder(region, good=region == home)
        self._buckets(home, here)
        self._trails(home)
        self._distributions()
        for region in world.regions:
            self._file_systems(region)
        if self.scale > 1:
            self._more(home, here)

    def _client(self, service: str, region: str = HOME) -> Any:
        return self._world.moto.client(service, region)

    # --- who ---

    def _identities(self) -> None:
        iam = self._client("iam")
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
        trust["Statement"][0]["Principal"] = {"Service": "lambda.amazonaws.com"}  # type: ignore[index]
        iam.create_role(RoleName="service", AssumeRolePolicyDocument=json.dumps(trust))
        iam.create_group(GroupName="administrators")
        iam.attach_group_policy(GroupName="administrators", PolicyArn=ADMINISTRATOR_ACCESS)
        iam.create_group(GroupName="developers")
        iam.put_group_policy(
            GroupName="developers",
            PolicyName="read",
            PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:Get*"], "Resource": ["*"]}]}
            ),
        )
        everything = iam.create_policy(PolicyName="everything", PolicyDocument=json.dumps(ANYTHING))["Policy"]["Arn"]
        people = {
            "alice.jones": ("passkey", True),
            "bob.tanaka": ("virtual", True),
            "carol.weiss": ("token", True),
            "dave.okafor": ("", False),
            "erin.novak": ("virtual", True),
            LEAVER: ("", True),
            "grace.kim": ("passkey", True),
            "hugo.perez": ("virtual", True),
            STORY_USER: ("virtual", True),
            "ci-deploy": ("", False),
            "backup-agent": ("", False),
        }
        for name, (factor, password) in people.items():
            self.person(name, factor, password=password)
        iam.attach_user_policy(UserName="alice.jones", PolicyArn=ADMINISTRATOR_ACCESS)
        iam.add_user_to_group(GroupName="administrators", UserName="bob.tanaka")
        iam.put_user_policy(UserName="carol.weiss", PolicyName="all", PolicyDocument=json.dumps(ANYTHING))
        iam.attach_user_policy(UserName="dave.okafor", PolicyArn=everything)
        iam.attach_user_policy(UserName="hugo.perez", PolicyArn=everything)
        for name in ("erin.novak", "grace.kim", STORY_USER):
            iam.add_user_to_group(GroupName="developers", UserName=name)
        for name in ("dave.okafor", "ci-deploy", "backup-agent"):
            iam.create_access_key(UserName=name)
        iam.update_account_password_policy(
            MinimumPasswordLength=14, RequireSymbols=True, RequireNumbers=True, PasswordReusePrevention=24
        )
        iam.create_account_alias(AccountAlias="acme-production")
        self._world.state["root"] = {"mfa": "hardware", "password": True, "access_keys": 0}

    def person(self, name: str, factor: str, *, password: bool) -> None:
        iam = self._client("iam")
        iam.create_user(UserName=name)
        if password:
            iam.create_login_profile(UserName=name, Password="Correct-Horse-7-Battery")
        account = self._world.account
        serial = {
            "passkey": f"arn:aws:iam::{account}:u2f/user/{name}/key-{self._random.randrange(10**8):08d}",
            "token": f"GAHT{self._random.randrange(10**8):08d}",
        }.get(factor, "")
        if factor == "virtual":
            device = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
            serial = device["SerialNumber"]
        if serial:
            iam.enable_mfa_device(
                UserName=name, SerialNumber=serial, AuthenticationCode1="123456", AuthenticationCode2="654321"
            )

    # --- keys, disks, machines ---

    def _keys_of(self, region: str) -> None:
        kms = self._client("kms", region)

        def key(alias: str, **more: Any) -> str:
            found = kms.create_key(Description=alias, **more)["KeyMetadata"]
            kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=found["KeyId"])
            return str(found["Arn"])

        main = self._keys[region] = key("data")
        periods = self._world.state.setdefault("kms.periods", {})
        for rotated, days in ((main, 365), (key("archive"), 180), (key("slow"), 2000)):
            kms.enable_key_rotation(KeyId=bare(rotated), RotationPeriodInDays=days)
            periods[bare(rotated)] = days
        key("forgotten")
        key("signing", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
        kms.schedule_key_deletion(KeyId=bare(key("old")), PendingWindowInDays=30)
        kms.disable_key(KeyId=bare(key("parked")))
        for service in ("ebs", "rds", "s3"):
            made = kms.create_key(Description=f"Default key that protects my {service} data")["KeyMetadata"]
            kms.create_alias(AliasName=f"alias/aws-{service}", TargetKeyId=made["KeyId"])
            self._world.state.setdefault("kms.managed", {})[made["Arn"]] = f"alias/aws/{service}"

    def _network(self, region: str) -> None:
        ec2, logs, s3 = self._client("ec2", region), self._client("logs", region), "arn:aws:s3:::acme-flow-logs"
        default = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        if region == HOME:
            ec2.create_flow_logs(
                ResourceIds=[default],
                ResourceType="VPC",
                TrafficType="ALL",
                LogDestinationType="s3",
                LogDestination=self._flow_bucket(s3),
            )
        own = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        ec2.create_tags(Resources=[own], Tags=[{"Key": "Name", "Value": "production"}])
        group = f"/vpc/{region}/flow"
        logs.create_log_group(logGroupName=group)
        logs.put_retention_policy(logGroupName=group, retentionInDays=365)
        ec2.create_flow_logs(
            ResourceIds=[own],
            ResourceType="VPC",
            TrafficType="REJECT" if region != HOME else "ALL",
            LogGroupName=group,
            DeliverLogsPermissionArn=f"arn:aws:iam::{self._world.account}:role/service",
        )
        if region == HOME:
            ec2.create_vpc(CidrBlock="10.99.0.0/16")  # somebody tried something: no flow logs
            ec2.enable_ebs_encryption_by_default()

    def _flow_bucket(self, arn: str) -> str:
        self._client("s3").create_bucket(Bucket=arn.rpartition(":")[2])
        return arn

    def _instances(self, region: str, *, everything: bool) -> None:
        ec2 = self._client("ec2", region)
        managed, patches = [], []
        machines = [
            (STORY_INSTANCE, "Online", (0, 0, 0, 1)),
            ("web-2", "Online", (0, 0, 0, 2)),
            ("batch-1", "Online", (4, 1, 3, 1)),
            ("legacy-1", "ConnectionLost", (2, 0, 2, 60)),
            ("unknown-1", "", None),
            ("spare-1", "", None),
        ]
        for name, ping, patch in machines if everything else machines[1:5]:
            id = self._machine(ec2, name, encrypted=name != "legacy-1", region=region)
            if ping:
                managed.append({"id": id, "ping": ping})
            if patch:
                missing, critical, security, age = patch
                patches.append(
                    {"id": id, "missing": missing, "critical": critical, "security": security, "scan_age_days": age}
                )
            if name.startswith("spare"):
                ec2.stop_instances(InstanceIds=[id])
        self._world.state[f"ssm.instances/{region}"] = managed
        self._world.state[f"ssm.patches/{region}"] = patches
        zone = f"{region}a"
        ec2.create_volume(AvailabilityZone=zone, Size=100, Encrypted=True, KmsKeyId=self._keys[region])
        ec2.create_volume(AvailabilityZone=zone, Size=20, Encrypted=True, KmsKeyId=self._keys[region])
        old = ec2.create_volume(AvailabilityZone=zone, Size=8, Encrypted=False)
        ec2.create_snapshot(VolumeId=old["VolumeId"], Description="before the move")
        self._world.state[f"inspector/{region}"] = {"ec2": everything, "ecr": everything, "lambda": False}

    def _machine(self, ec2: Any, name: str, *, encrypted: bool, region: str) -> str:
        disk: dict[str, Any] = {"VolumeSize": 30, "Encrypted": encrypted, "VolumeType": "gp3"}
        if encrypted:
            disk["KmsKeyId"] = self._keys[region]
        made = ec2.run_instances(
            ImageId=IMAGE,
            MinCount=1,
            MaxCount=1,
            InstanceType="t3.medium",
            UserData=f"#!/bin/sh\nexport TOKEN={SECRET_IN_USER_DATA}\n",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}],
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
        )
        return str(made["Instances"][0]["InstanceId"])

    # --- databases ---

    def _databases(self, region: str) -> None:
        rds = self._client("rds", region)
        here = [
            ("orders", "postgres", True, True, False),
            ("customers", "mysql", True, False, False),
            ("wiki", "mysql", False, True, True),
        ]
        for name, engine, encrypted, minor, public in here:
            self.database(region, name, engine, encrypted=encrypted, minor=minor, public=public)
        for name, encrypted in (("ledger", True), ("playground", False)):
            more = {"KmsKeyId": self._keys[region]} if encrypted else {}
            rds.create_db_cluster(
                DBClusterIdentifier=name,
                Engine="aurora-postgresql",
                EngineVersion="16.6",
                MasterUsername="root1",
                MasterUserPassword="Correct-Horse-7",
                StorageEncrypted=encrypted,
                **more,
            )
            rds.create_db_cluster_snapshot(DBClusterIdentifier=name, DBClusterSnapshotIdentifier=f"{name}-2025")
        for name in ("orders", "wiki"):
            rds.create_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier=f"{name}-2025")
        arn = f"arn:aws:rds:{region}:{self._world.account}:db:wiki"
        pending = [{"arn": arn, "action": "system-update", "description": "New Operating System update is available"}]
        self._world.state[f"rds.pending/{region}"] = pending

    def _file_systems(self, region: str) -> None:
        for name, encrypted in (("shared-home", True), ("uploads", True), ("build-cache", False)):
            key = {"KmsKeyId": self._keys[region]} if encrypted else {}
            self._client("efs", region).create_file_system(CreationToken=name, Encrypted=encrypted, **key)

    def database(self, region: str, name: str, engine: str, *, encrypted: bool, minor: bool, public: bool) -> None:
        self._client("rds", region).create_db_instance(
            DBInstanceIdentifier=name,
            Engine=engine,
            EngineVersion={"postgres": "16.6", "mysql": "8.0.40"}[engine],
            DBInstanceClass="db.t4g.medium",
            AllocatedStorage=50,
            MasterUsername="root1",
            MasterUserPassword="Correct-Horse-7",
            StorageEncrypted=encrypted,
            AutoMinorVersionUpgrade=minor,
            PubliclyAccessible=public,
            **({"KmsKeyId": self._keys[region]} if encrypted else {}),
        )

    # --- buckets ---

    def _buckets(self, home: str, here: str) -> None:
        customer, managed = {"SSEAlgorithm": "aws:kms"}, {"SSEAlgorithm": "aws:kms"}
        owned = {"SSEAlgorithm": "AES256"}
        spellings: list[tuple[str, str, dict[str, str], Any]] = [
            (STORY_BUCKET, home, customer, tls_policy(STORY_BUCKET)),
            ("acme-flow-logs", home, owned, None),
            ("acme-audit-logs", home, customer, tls_policy("acme-audit-logs", principal={"AWS": ["*"]})),
            ("acme-website", home, owned, None),
            ("acme-exports", home, managed, tls_policy("acme-exports", action=["s3:*"], value=["false"])),
            ("acme-half", home, owned, tls_policy("acme-half", action="s3:GetObject")),
            ("acme-eu-documents", here, customer, tls_policy("acme-eu-documents", version=True)),
            ("acme-eu-inbox", here, owned, tls_policy("acme-eu-inbox", objects_only=True)),
            ("acme-eu-uploads", here, customer, tls_policy("acme-eu-uploads", principal={"AWS": "*"}, value=False)),
        ]
        for name, region, default, policy in spellings:
            own = self._keys[region] if default is customer else ""
            self.bucket(name, region, default["SSEAlgorithm"], key=own, policy=policy)

    def bucket(self, name: str, region: str, algorithm: str, *, key: str = "", policy: Any = None) -> None:
        s3 = self._client("s3", region)
        if name != "acme-flow-logs":  # made with the flow logs that it holds
            where = {} if region == HOME else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            s3.create_bucket(Bucket=name, **where)
        default: dict[str, Any] = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": bool(key)}]
            },
        )
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": name != "acme-website",
                "RestrictPublicBuckets": name != "acme-website",
            },
        )
        if policy is not None:
            s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))

    # --- traffic ---

    def _certificates(self, region: str) -> None:
        now = self._world.now
        ages = {STORY_CERTIFICATE: 200, "www.acme.example": 300, "old.acme.example": 12, "gone.acme.example": -20}
        found = []
        for name, days in ages.items() if region == HOME else list(ages.items())[1:3]:
            made = self._client("acm", region).request_certificate(DomainName=name, ValidationMethod="DNS")
            found.append(
                {
                    "arn": made["CertificateArn"],
                    "domain": name,
                    "not_after": (now + timedelta(days=days)).replace(microsecond=0).isoformat(),
                    "type": "IMPORTED" if name.startswith("old") else "AMAZON_ISSUED",
                    "in_use": [],
                }
            )
        self._world.state[f"acm/{region}"] = found

    def _balancers(self, region: str) -> None:
        ec2, elbv2, elb = self._client("ec2", region), self._client("elbv2", region), self._client("elb", region)
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
        certificates = self._world.state[f"acm/{region}"]
        certificate = certificates[0]["arn"]

        def balancer(name: str, kind: str = "application") -> str:
            made = elbv2.create_load_balancer(Name=name, Subnets=subnets, Type=kind, Scheme="internet-facing")
            return str(made["LoadBalancers"][0]["LoadBalancerArn"])

        def listener(arn: str, protocol: str, port: int, action: dict[str, Any], policy: str = "") -> None:
            secure = {"SslPolicy": policy, "Certificates": [{"CertificateArn": certificate}]} if policy else {}
            elbv2.create_listener(LoadBalancerArn=arn, Protocol=protocol, Port=port, DefaultActions=[action], **secure)

        redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "ContentType": "text/plain"}}
        front, legacy = balancer("front"), balancer("legacy")
        for each in certificates:
            each["in_use"] = [] if each["domain"].startswith("gone") else [front]
        listener(front, "HTTPS", 443, fixed, "ELBSecurityPolicy-TLS13-1-2-2021-06")
        listener(front, "HTTP", 80, {"Type": "redirect", "RedirectConfig": redirect})
        listener(legacy, "HTTPS", 443, fixed, "ELBSecurityPolicy-2016-08")
        listener(legacy, "HTTP", 80, fixed)
        network = balancer("stream", "network")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        target = elbv2.create_target_group(Name="stream", Protocol="TCP", Port=5000, VpcId=vpc)["TargetGroups"][0]
        forward = {"Type": "forward", "TargetGroupArn": target["TargetGroupArn"]}
        listener(network, "TLS", 443, forward, "ELBSecurityPolicy-TLS13-1-2-Res-2021-06")
        listener(network, "TCP", 5000, forward)

        https = {"Protocol": "HTTPS", "LoadBalancerPort": 443, "InstanceProtocol": "HTTP", "InstancePort": 80}
        plain = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 80}
        policies = {
            "classic-good": [("Reference-Security-Policy", "ELBSecurityPolicy-TLS-1-2-2017-01")],
            "classic-old": [("Reference-Security-Policy", "ELBSecurityPolicy-2016-08")],
            "classic-own": [("Protocol-TLSv1", "true"), ("Protocol-TLSv1.2", "true")],
            "classic-plain": [],
        }
        for name, attributes in policies.items():
            listeners = [{**https, "SSLCertificateId": certificate}] if attributes else [plain]
            elb.create_load_balancer(LoadBalancerName=name, Listeners=listeners, AvailabilityZones=[f"{region}a"])
            if attributes:
                elb.create_load_balancer_policy(
                    LoadBalancerName=name,
                    PolicyName=f"{name}-tls",
                    PolicyTypeName="SSLNegotiationPolicyType",
                    PolicyAttributes=[{"AttributeName": key, "AttributeValue": value} for key, value in attributes],
                )
                elb.set_load_balancer_policies_of_listener(
                    LoadBalancerName=name, LoadBalancerPort=443, PolicyNames=[f"{name}-tls"]
                )

    def _distributions(self) -> None:
        cloudfront = self._client("cloudfront")
        kinds = [
            ("shop", "redirect-to-https", "TLSv1.2_2021", "https-only", ["TLSv1.2"]),
            ("media", "allow-all", "TLSv1", "http-only", ["TLSv1", "TLSv1.1"]),
            ("api", "https-only", "TLSv1.2_2019", "match-viewer", ["TLSv1.2"]),
        ]
        for name, viewer, version, origin, protocols in kinds:
            cloudfront.create_distribution(
                DistributionConfig={
                    "CallerReference": name,
                    "Comment": name,
                    "Enabled": True,
                    "Aliases": {"Quantity": 1, "Items": [f"{name}.acme.example"]},
                    "Origins": {
                        "Quantity": 1,
                        "Items": [
                            {
                                "Id": name,
                                "DomainName": f"{name}-origin.acme.example",
                                "CustomHeaders": {
                                    "Quantity": 1,
                                    "Items": [{"HeaderName": "X-Origin-Key", "HeaderValue": SECRET_IN_CLOUDFRONT}],
                                },
                                "CustomOriginConfig": {
                                    "HTTPPort": 80,
                                    "HTTPSPort": 443,
                                    "OriginProtocolPolicy": origin,
                                    "OriginSslProtocols": {"Quantity": len(protocols), "Items": protocols},
                                },
                            }
                        ],
                    },
                    "DefaultCacheBehavior": {
                        "TargetOriginId": name,
                        "ViewerProtocolPolicy": viewer,
                        "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
                        "MinTTL": 0,
                    },
                    "ViewerCertificate": {
                        "ACMCertificateArn": f"arn:aws:acm:us-east-1:{self._world.account}:certificate/{name}",
                        "SSLSupportMethod": "sni-only",
                        "MinimumProtocolVersion": version,
                        "CloudFrontDefaultCertificate": False,
                    },
                }
            )

    # --- logs and watching ---

    def _trails(self, home: str) -> None:
        trail = self._client("cloudtrail", home)
        trail.create_trail(
            Name=STORY_TRAIL, S3BucketName="acme-audit-logs", IsMultiRegionTrail=True, EnableLogFileValidation=True
        )
        trail.start_logging(Name=STORY_TRAIL)
        trail.create_trail(
            Name="acme-old", S3BucketName="acme-audit-logs", IsMultiRegionTrail=False, EnableLogFileValidation=False
        )

    def _recorder(self, region: str, *, good: bool) -> None:
        config, guard = self._client("config", region), self._client("guardduty", region)
        config.put_configuration_recorder(
            ConfigurationRecorder={
                "name": "default",
                "roleARN": f"arn:aws:iam::{self._world.account}:role/service",
                "recordingGroup": {"allSupported": True, "includeGlobalResourceTypes": good},
            }
        )
        config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "acme-audit-logs"})
        if good:
            config.start_configuration_recorder(ConfigurationRecorderName="default")
            guard.create_detector(Enable=True, FindingPublishingFrequency="SIX_HOURS")

    def _logs(self, region: str) -> None:
        logs = self._client("logs", region)
        for name, days in (("/app/orders", 365), ("/app/web", 30), ("/app/debug", 0), ("/aws/lambda/resize", 0)):
            logs.create_log_group(logGroupName=name)
            if days:
                logs.put_retention_policy(logGroupName=name, retentionInDays=days)

    # --- what runs ---

    def _functions(self, region: str) -> None:
        for name, runtime in (("resize", "python3.13"), ("notify", "nodejs22.x"), ("import-old", "python3.8")):
            self.function(region, name, runtime)
        if region == HOME:
            self.function(region, "render", "")

    def function(self, region: str, name: str, runtime: str) -> None:
        """A function; without a runtime it is a container image."""
        made: dict[str, Any] = {"PackageType": "Zip", "Runtime": runtime, "Handler": "main.run"}
        made["Code"] = {"ZipFile": archive()}
        if not runtime:
            made = {"PackageType": "Image"}
            made["Code"] = {"ImageUri": f"{self._world.account}.dkr.ecr.{region}.amazonaws.com/render:1"}
        self._client("lambda", region).create_function(
            FunctionName=name,
            Role=f"arn:aws:iam::{self._world.account}:role/service",
            Environment={"Variables": {"STAGE": "production", "API_TOKEN": SECRET_IN_LAMBDA}},
            **made,
        )

    def _registry(self, region: str) -> None:
        ecr = self._client("ecr", region)
        for name, on_push in (("render", True), ("shop", True), ("tools/lint", False)):
            ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": on_push})
        rules = [{"frequency": "SCAN_ON_PUSH", "filter": "shop*"}] if region == HOME else []
        self._world.state[f"ecr.registry/{region}"] = {"type": "BASIC", "rules": rules}

    def _clusters(self, region: str) -> None:
        eks, ec2 = self._client("eks", region), self._client("ec2", region)
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
        for name, version in (("production", "1.34"), ("staging", "1.31"), ("lab", "1.28")):
            if region == HOME or name == "production":
                eks.create_cluster(
                    name=name,
                    version=version,
                    roleArn=f"arn:aws:iam::{self._world.account}:role/service",
                    resourcesVpcConfig={"subnetIds": subnets},
                )
        status = {"1.34": "STANDARD_SUPPORT", "1.33": "STANDARD_SUPPORT", "1.32": "STANDARD_SUPPORT"}
        status |= {"1.31": "EXTENDED_SUPPORT", "1.30": "EXTENDED_SUPPORT", "1.28": "UNSUPPORTED"}
        self._world.state["eks.versions"] = [{"version": name, "status": kind} for name, kind in status.items()]

    # --- scale ---

    def _more(self, home: str, here: str) -> None:
        steps, pick = self.scale - 1, self._random.random
        for n in range(steps * EXTRA_USERS):
            self.person(f"person-{n:04d}", "virtual" if pick() < 0.8 else "", password=pick() < 0.7)
        for n in range(steps * EXTRA_BUCKETS):
            region, name = (home if pick() < 0.5 else here), f"acme-data-{n:04d}"
            key = self._keys[region] if pick() < 0.6 else ""
            policy = tls_policy(name) if pick() < 0.8 else None
            self.bucket(name, region, "aws:kms" if key else "AES256", key=key, policy=policy)
        for region in (home, here):
            half = (steps + 1) // 2 if region == home else steps // 2
            self._more_of(region, half)

    def _more_of(self, region: str, steps: int) -> None:
        pick = self._random.random
        ec2, logs, kms = self._client("ec2", region), self._client("logs", region), self._client("kms", region)
        for _ in range(steps * EXTRA_VOLUMES):
            key = {"Encrypted": True, "KmsKeyId": self._keys[region]} if pick() < 0.9 else {"Encrypted": False}
            ec2.create_volume(AvailabilityZone=f"{region}a", Size=10, **key)
        for n in range(steps * EXTRA_LOG_GROUPS):
            logs.create_log_group(logGroupName=f"/service/{n:04d}")
            if pick() < 0.8:
                logs.put_retention_policy(logGroupName=f"/service/{n:04d}", retentionInDays=365)
        for n in range(steps * EXTRA_FUNCTIONS):
            self.function(region, f"worker-{n:04d}", "python3.13" if pick() < 0.9 else "nodejs16.x")
        for _ in range(steps * EXTRA_KEYS):
            made = kms.create_key()["KeyMetadata"]["KeyId"]
            if pick() < 0.8:
                kms.enable_key_rotation(KeyId=made, RotationPeriodInDays=365)
        for n in range(steps * EXTRA_DATABASES):
            name = f"database-{n:04d}"
            self.database(region, name, "postgres", encrypted=pick() < 0.9, minor=pick() < 0.9, public=False)
        for n in range(steps * EXTRA_REPOSITORIES):
            self._client("ecr", region).create_repository(
                repositoryName=f"service/{n:04d}", imageScanningConfiguration={"scanOnPush": pick() < 0.9}
            )


def archive() -> bytes:
    """The smallest deployment package."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo("main.py"), "def run(event, context): return {}\n")
    return buffer.getvalue()


def tls_policy(
    bucket: str,
    *,
    principal: Any = "*",
    action: Any = "s3:*",
    value: Any = "false",
    version: bool = False,
    objects_only: bool = False,
) -> dict[str, Any]:
    """A bucket policy that refuses what does not come over TLS, in the spelling asked for.

    With ``version`` it demands TLS 1.2 besides; with ``objects_only`` the bucket itself is left out: too little.
    """
    arns = [f"arn:aws:s3:::{bucket}/*"] if objects_only else [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    deny: dict[str, Any] = {"Sid": "OnlyTLS", "Effect": "Deny", "Principal": principal, "Action": action}
    deny |= {"Resource": arns, "Condition": {"Bool": {"aws:SecureTransport": value}}}
    statements = [deny]
    if version:
        condition = {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
        statements.append({**deny, "Sid": "OnlyTLS12", "Condition": condition})
    return {"Version": "2012-10-17", "Statement": statements}


def bare(arn: str) -> str:
    """The last part of an ARN; moto looks some things up by it only."""
    return arn.rpartition("/")[2]
