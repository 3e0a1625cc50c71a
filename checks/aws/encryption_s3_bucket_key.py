"""The default encryption of every S3 bucket is under a customer managed KMS key.

Why: AWS encrypts every object since 2023; only with a key of your own do you decide, and see, who may decrypt.
Remedy: choose Properties > Default encryption > SSE-KMS on the bucket, with a key whose policy you keep.

Cost: one call for 1000 buckets, one for each bucket and one for each key that they name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

NO_DEFAULT = ("ServerSideEncryptionConfigurationNotFoundError",)
ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")


@dataclass(frozen=True)
class Bucket:
    algorithm: str = ""  # "" where the bucket has no default encryption
    key: str = ""
    manager: str = ""  # CUSTOMER or AWS


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """All buckets of the account; only an answer to a question with a parameter names their regions."""
    partition = aws.arn("s3", "").split(":")[1]
    for bucket in aws.each("s3", "list_buckets", "Buckets", MaxBuckets=1000):
        yield {**bucket, "arn": f"arn:{partition}:s3:::{bucket['Name']}"}


def observe(aws: Account, bucket: Mapping[str, Any]) -> Bucket:
    region = text(bucket["BucketRegion"])
    answer = aws.call("s3", "get_bucket_encryption", Bucket=bucket["Name"], region=region, absent=NO_DEFAULT)
    if answer is None:
        return Bucket()
    rules = field(answer, "ServerSideEncryptionConfiguration.Rules")
    one_of(str(len(rules)), ("1",))  # a bucket has one rule; more of them nobody has judged yet
    default = field(rules[0], "ApplyServerSideEncryptionByDefault")
    algorithm = one_of(default["SSEAlgorithm"], ALGORITHMS)
    if algorithm == "AES256":
        return Bucket(algorithm)
    because = "API_ServerSideEncryptionByDefault: without a customer managed key S3 uses a key that it creates itself"
    key = text(absent_means(default, "KMSMasterKeyID", "alias/aws/s3", because=because))
    if key == "alias/aws/s3" or key.endswith(":alias/aws/s3"):  # may not exist before the first object
        return Bucket(algorithm, key, "AWS")
    found = aws.call("kms", "describe_key", KeyId=key, region=region)
    return Bucket(algorithm, key, one_of(field(found, "KeyMetadata.KeyManager"), ("AWS", "CUSTOMER")))


def evaluate(bucket: Bucket) -> Verdict:
    if bucket.manager == "CUSTOMER":
        return satisfied(f"is encrypted by default under the customer managed key {bucket.key}")
    if bucket.manager == "AWS":
        return not_satisfied("is encrypted by default under a KMS key that AWS manages")
    return not_satisfied("is encrypted by default under keys that S3 owns")


CHECK = Check(
    id="aws-s3-bucket-key-holder",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("kms:DescribeKey", "s3:GetEncryptionConfiguration", "s3:ListAllMyBuckets"),
    per="account",
    see=("aws-config:s3-default-encryption-kms", "prowler:s3_bucket_kms_encryption"),
    population=population,
    name=lambda bucket: str(bucket["arn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Bucket("aws:kms", "arn:aws:kms:eu-west-1:123456789012:key/1234abcd", "CUSTOMER")),
        bad(Bucket("aws:kms:dsse", "alias/aws/s3", "AWS")),
        bad(Bucket("AES256")),
        bad(Bucket()),
    ),
)
