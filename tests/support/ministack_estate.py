"""What the account with enforced IAM holds: at least one of each thing that a check asks a further question about."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

TLS_ORIGIN = {
    "HTTPPort": 80,
    "HTTPSPort": 443,
    "OriginProtocolPolicy": "https-only",
    "OriginSslProtocols": {"Quantity": 1, "Items": ["TLSv1.2"]},
}
PASSWORD = "simulated-Not-1-secret"
SERVICE_MAY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def populate(client: Callable[[str], Any]) -> None:
    """Fills an empty account; ``client`` makes a root client of a service. Raises what boto3 raises."""
    role = people(client("iam"))
    key = client("kms").create_key(Description="data")["KeyMetadata"]["Arn"]
    client("kms").enable_key_rotation(KeyId=key)
    buckets(client("s3"), key)
    subnets = network(client("ec2"), client("logs"), key, role)
    databases(client("rds"), key)
    client("efs").create_file_system(CreationToken="files", Encrypted=True, KmsKeyId=key)
    trail(client("cloudtrail"), client("config"), role)
    certificate = client("acm").request_certificate(DomainName="www.acme.example", ValidationMethod="DNS")
    web = balancer(client("elbv2"), subnets, certificate["CertificateArn"])
    edge(client("cloudfront"), web)
    code(client("lambda"), role)
    client("ecr").create_repository(repositoryName="app")
    client("eks").create_cluster(name="main", roleArn=role, resourcesVpcConfig={"subnetIds": subnets})


def people(iam: Any) -> str:
    """An administrator with MFA, which ministack takes for MFA of the account; returns the role that services take."""
    iam.create_user(UserName="ann")
    iam.create_login_profile(UserName="ann", Password=PASSWORD)
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="ann")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(
        UserName="ann", SerialNumber=device, AuthenticationCode1="123456", AuthenticationCode2="654321"
    )
    role: str = iam.create_role(RoleName="service", AssumeRolePolicyDocument=json.dumps(SERVICE_MAY))["Role"]["Arn"]
    return role


def buckets(s3: Any, key: str) -> None:
    s3.create_bucket(Bucket="acme-data")
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket="acme-data",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )


def network(ec2: Any, logs: Any, key: str, role: str) -> list[str]:
    """A network with flow logs, a machine and a volume; returns two subnets."""
    zone = f"{ec2.meta.region_name}a"
    ec2.create_volume(AvailabilityZone=zone, Size=8, Encrypted=True, KmsKeyId=key)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"{zone[:-1]}{letter}")["Subnet"]
        for n, letter in enumerate("ab")
    ]
    logs.create_log_group(logGroupName="flow")
    ec2.create_flow_logs(
        ResourceIds=[vpc], ResourceType="VPC", TrafficType="ALL", LogGroupName="flow", DeliverLogsPermissionArn=role
    )
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    names = [str(subnet["SubnetId"]) for subnet in subnets]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro", SubnetId=names[0])
    return names


def databases(rds: Any, key: str) -> None:
    login = {"MasterUsername": "keeper", "MasterUserPassword": PASSWORD, "StorageEncrypted": True, "KmsKeyId": key}
    rds.create_db_instance(
        DBInstanceIdentifier="ledger", DBInstanceClass="db.t3.micro", Engine="postgres", AllocatedStorage=20, **login
    )
    rds.create_db_snapshot(DBInstanceIdentifier="ledger", DBSnapshotIdentifier="ledger-1")
    rds.create_db_cluster(DBClusterIdentifier="orders", Engine="aurora-postgresql", **login)
    rds.create_db_cluster_snapshot(DBClusterIdentifier="orders", DBClusterSnapshotIdentifier="orders-1")


def trail(cloudtrail: Any, config: Any, role: str) -> None:
    cloudtrail.create_trail(Name="main", S3BucketName="acme-data", IsMultiRegionTrail=True)
    cloudtrail.start_logging(Name="main")
    everything = {"allSupported": True, "recordingStrategy": {"useOnly": "ALL_SUPPORTED_RESOURCE_TYPES"}}
    config.put_configuration_recorder(
        ConfigurationRecorder={"name": "default", "roleARN": role, "recordingGroup": everything}
    )


def balancer(elbv2: Any, subnets: list[str], certificate: str) -> str:
    """The ARN of a load balancer that sends plaintext on to HTTPS: rules and a TLS policy are both asked about."""
    arn: str = elbv2.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    redirect = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    gone = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "410"}}
    elbv2.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=[redirect])
    elbv2.create_listener(
        LoadBalancerArn=arn,
        Protocol="HTTPS",
        Port=443,
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[gone],
    )
    return arn


def edge(cloudfront: Any, inside: str) -> None:
    """A distribution in front of an origin inside a network, which has a question of its own."""
    made = cloudfront.create_vpc_origin(VpcOriginEndpointConfig={"Name": "inside", "Arn": inside, **TLS_ORIGIN})
    config = {"VpcOriginId": made["VpcOrigin"]["Id"]}
    origin = {"Id": "inside", "DomainName": "inside.acme.example", "VpcOriginConfig": config}
    forwarded = {"QueryString": False, "Cookies": {"Forward": "none"}}
    cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": "one",
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "inside",
                "ViewerProtocolPolicy": "redirect-to-https",
                "MinTTL": 0,
                "ForwardedValues": forwarded,
            },
        }
    )


def code(functions: Any, role: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): return 1")
    functions.create_function(
        FunctionName="daily",
        Runtime="python3.13",
        Role=role,
        Handler="handler.handle",
        Code={"ZipFile": packed.getvalue()},
    )
