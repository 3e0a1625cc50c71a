"""What is known of how CloudTrail logs a call: where, under which name, with which parameters, and which it does not.

Facts about AWS, each with its source. Nothing is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import UnknownServiceError

from collector.clouds.aws_models import lean_session

# Not logged as management events, so that nobody can find them in the event history: actions on objects and items.
# docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html and
# docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html.
_OBJECTS = ("GetObject", "GetObjectAcl", "GetObjectAttributes", "GetObjectTagging", "HeadObject", "ListParts")
_LISTINGS = ("HeadBucket", "ListObjectVersions", "ListObjects", "ListObjectsV2")
_ITEMS = ("BatchGetItem", "GetItem", "Query", "Scan")
DATA_EVENTS = frozenset((*(f"s3:{name}" for name in (*_OBJECTS, *_LISTINGS)), *(f"dynamodb:{name}" for name in _ITEMS)))

# Requests whose sender was not established; what is logged are authenticated requests.
# docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html.
UNAUTHENTICATED = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)

# Names of events that are not those of the operations. Of S3: the page above. Others only add the date of their API, as
# ListFunctions20150331 (Lambda) and ListDistributions2014_01_31 (CloudFront) in the guides of these services.
_NAMES = {
    ("s3", "GetBucketLifecycleConfiguration"): "GetBucketLifecycle",
    ("s3", "GetBucketNotificationConfiguration"): "GetBucketNotification",
    ("s3", "GetPublicAccessBlock"): "GetBucketPublicAccessBlock",
    ("s3control", "GetPublicAccessBlock"): "GetAccountPublicAccessBlock",
}
_DATED = re.compile(r"\d{4}_?\d{2}_?\d{2}(v\d+)?$")

# Account-wide services are logged in one region of each partition.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html, global service events.
_REGION = re.compile(r"(?:^|[.-])((?:af|ap|ca|cn|eu|il|me|mx|sa|us)(?:-[a-z]+)+-\d)(?=\.)")
_GLOBAL = (("amazonaws.com.cn", "cn-north-1"), ("us-gov.amazonaws.com", "us-gov-west-1"), ("", "us-east-1"))

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"  # stands in an event for what is no auditor's business


def region_of(endpoint: str) -> str:
    """The region in which a call to a host is logged.

    >>> region_of("api.ecr.eu-west-1.amazonaws.com"), region_of("iam.amazonaws.com")
    ('eu-west-1', 'us-east-1')
    """
    found = _REGION.search(endpoint)
    return found[1] if found else next(region for suffix, region in _GLOBAL if endpoint.endswith(suffix))


def user_of(principal: str) -> str:
    """The name under which events of a principal are looked up: of the session for a role, else of the user.

    >>> user_of("arn:aws:sts::123456789012:assumed-role/evidence-collector/run")
    'run'
    """
    return principal.rpartition("/")[2].rpartition(":")[2]


@cache
def source_of(service: str) -> str:
    """The ``eventSource`` of a service by botocore's name for it: "elbv2" is elasticloadbalancing.amazonaws.com.

    It is the name that requests are signed for. "" for a service that botocore does not know.
    """
    try:
        model = lean_session().get_service_model(service)
    except UnknownServiceError:
        return ""
    return f"{model.signing_name}.amazonaws.com"


def wire_name(service: str, operation: str) -> str:
    """The ``eventName`` of an operation, without the date that some services add."""
    return _NAMES.get((service, operation), operation)


def plain_name(event_name: str) -> str:
    """An ``eventName`` without the date of its API."""
    return _DATED.sub("", event_name)


def other_params(asked: Mapping[str, Any], logged: Mapping[str, Any]) -> list[str]:
    """In words, texts that were sent under one name and logged under the same with another value.

    What has no twin says nothing: CloudTrail begins names with a small letter, calls a bucket ``bucketName``, may log a
    full name where a short one was sent, or what stood in a path as it stood there, and hides or cuts some values.
    """
    names = {name.lower(): value for name, value in logged.items() if isinstance(value, str)}
    found = []
    for name, value in asked.items():
        other = names.get(name.lower(), names.get(f"{name.lower()}name"))
        if not isinstance(value, str) or not other or not value or HIDDEN in other:
            continue
        if not any(_ends(value, text) or _ends(text, value) for text in (other, unquote(other))):
            found.append(f"it asked for {name} {other}, not {value}")
    return found


def _ends(whole: str, part: str) -> bool:
    return whole == part or whole.endswith((f"/{part}", f":{part}"))
