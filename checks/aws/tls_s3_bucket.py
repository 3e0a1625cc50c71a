"""The policy of every S3 bucket refuses requests that are not over TLS.

Why: an object fetched over http can be read and changed on the way, and so can the credentials that fetch it.
Remedy: add a statement that denies s3:* to * on the bucket and its objects when aws:SecureTransport is false.

Cost: one call for 1000 buckets and one for each bucket.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, document, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Bucket:
    policy: bool
    denies: tuple[str, ...] = ()  # what plaintext requests are denied on: "bucket", "objects"


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """All buckets of the account; only an answer to a question with a parameter names their regions."""
    partition = aws.arn("s3", "").split(":")[1]
    for bucket in aws.each("s3", "list_buckets", "Buckets", MaxBuckets=1000):
        yield {**bucket, "arn": f"arn:{partition}:s3:::{bucket['Name']}"}


def observe(aws: Account, bucket: Mapping[str, Any]) -> Bucket:
    region = text(bucket["BucketRegion"])
    answer = aws.call("s3", "get_bucket_policy", Bucket=bucket["Name"], region=region, absent=("NoSuchBucketPolicy",))
    if answer is None:
        return Bucket(policy=False)
    statements = listed(field(document(answer["Policy"]), "Statement"))
    covered = {part for statement in statements for part in denied(statement, str(bucket["arn"]))}
    return Bucket(policy=True, denies=tuple(sorted(covered)))


def denied(statement: Mapping[str, Any], arn: str) -> set[str]:
    """The parts of the bucket on which a statement denies every plaintext request of anybody."""
    if one_of(statement["Effect"], ("Allow", "Deny")) == "Allow" or not {"Principal", "Action", "Resource"} <= set(
        statement
    ):
        return set()  # NotPrincipal, NotAction and NotResource leave somebody or something out
    who, what = statement["Principal"], {action.lower() for action in listed(statement["Action"])}
    anybody = who == "*" or "*" in listed(who.get("AWS", ()) if isinstance(who, dict) else ())
    if not anybody or not {"*", "s3:*"} & what or not plaintext(statement.get("Condition", {})):
        return set()
    parts = {"*": ("bucket", "objects"), f"{arn}*": ("bucket", "objects"), arn: ("bucket",), f"{arn}/*": ("objects",)}
    return {part for resource in listed(statement["Resource"]) for part in parts.get(resource, ())}


def plaintext(condition: Mapping[str, Any]) -> bool:
    """Whether a condition holds for every plaintext request: aws:SecureTransport is false and nothing else is asked."""
    tests = [(test, key, value) for test, keys in condition.items() for key, value in keys.items()]
    if len(tests) != 1 or tests[0][0] not in ("Bool", "BoolIfExists") or tests[0][1].lower() != "aws:securetransport":
        return False
    return not any(boolean(value) for value in listed(tests[0][2]))


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def evaluate(bucket: Bucket) -> Verdict:
    if {"bucket", "objects"} <= set(bucket.denies):
        return satisfied("has a policy that denies every request that is not over TLS")
    if bucket.denies:
        return not_satisfied(f"has a policy that denies plaintext requests on its {bucket.denies[0]} only")
    return not_satisfied("has a policy that lets plaintext requests through" if bucket.policy else "has no policy")


CHECK = Check(
    id="aws-s3-bucket-tls",
    family=Family.TLS,
    criteria=("CC6.1", "CC6.7"),
    permissions=("s3:GetBucketPolicy", "s3:ListAllMyBuckets"),
    per="account",
    see=("aws-config:s3-bucket-ssl-requests-only", "cis-aws-3.0:2.1.1", "prowler:s3_bucket_secure_transport_policy"),
    population=population,
    name=lambda bucket: str(bucket["arn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Bucket(True, ("bucket", "objects"))),
        bad(Bucket(True, ("objects",))),
        bad(Bucket(True)),
        bad(Bucket(False)),
    ),
)
