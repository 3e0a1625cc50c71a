"""The IAM policies and the trust policy of AWS, from what the checks declare."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from collector.check import AnyCheck
from collector.errors import ConfigError

VERSION = "2012-10-17"  # of the policy language, the newest there is
CHARACTERS_MAX = 6_144  # of one managed policy, white space not counted: IAM's quota
# What the collector asks besides its checks: which regions are enabled. sts:GetCallerIdentity needs no permission
# (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
OWN = ("ec2:DescribeRegions",)

ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+")
PRINCIPAL = re.compile(r"arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:(root|(role|user)/[\w+=,.@/-]+)")
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # IAM's own rule for sts:ExternalId


def actions(checks: Iterable[AnyCheck]) -> list[str]:
    """The IAM actions that the AWS checks among ``checks`` and the collector need, sorted, each once.

    Raises ConfigError for a declared permission that is no plain action; a wildcard is never passed on.
    """
    found = set(OWN)
    for check in checks:
        if check.cloud != "aws":
            continue
        for action in check.permissions:
            if not ACTION.fullmatch(action):
                raise ConfigError(f"{check.id} declares {action!r}, which is no IAM action; name each action in full")
            found.add(action)
    return sorted(found)


# What a change feed does with its own queue: these two are the only things that are ever written, to take messages off.
FEED = ("sqs:DeleteMessage", "sqs:ReceiveMessage")
QUEUE_URL = re.compile(r"https://(?:sqs|[a-z0-9-]+\.queue)[a-z0-9.-]*/([0-9]{12})/([A-Za-z0-9_.-]+)")


def policy(checks: Iterable[AnyCheck], queues: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """One IAM policy document that allows exactly those actions: one statement a service, sorted.

    ``queues``: URL and region of each queue of a change feed, whose messages may then be taken.
    """
    document = _document(actions(checks))
    if resources := sorted(queue_arn(url, region) for url, region in queues):
        statement = {"Sid": "TakeFromTheFeed", "Effect": "Allow", "Action": list(FEED), "Resource": resources}
        document["Statement"].append(statement)
    return document


def queue_arn(url: str, region: str) -> str:
    """The ARN of a queue. Raises ConfigError for a URL that is none of SQS."""
    found = QUEUE_URL.fullmatch(url)
    if found is None:
        raise ConfigError(f"{url!r} is no URL of an SQS queue; it is https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:sqs:{region}:{found[1]}:{found[2]}"


def policies(checks: Iterable[AnyCheck]) -> list[dict[str, Any]]:
    """The same in as many documents as IAM's size limit makes necessary, services in order. Never empty."""
    documents: list[dict[str, Any]] = []
    taken: list[str] = []
    for action in actions(checks):
        if taken and size(_document([*taken, action])) > CHARACTERS_MAX:
            documents.append(_document(taken))
            taken = []
        taken.append(action)
    return [*documents, _document(taken)]


def trust_policy(principal: str, external_id: str) -> dict[str, Any]:
    """Who may take the role: one principal, and only with the external id (the confused-deputy guard).

    Raises ConfigError when either is not what IAM accepts, or when the principal is everybody.
    """
    if not PRINCIPAL.fullmatch(principal):
        raise ConfigError(
            f"{principal!r} cannot be trusted: name the ARN of the role that the collector runs as, "
            "arn:aws:iam::123456789012:role/NAME"
        )
    if not EXTERNAL_ID.fullmatch(external_id):
        raise ConfigError("the external id is 2 to 1224 letters, digits or any of + = , . @ : / -; choose another")
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "OnlyTheCollector",
                "Effect": "Allow",
                "Principal": {"AWS": principal},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }


def size(document: dict[str, Any]) -> int:
    """The characters that IAM counts."""
    return len(json.dumps(document, separators=(",", ":")))


def sid(service: str) -> str:
    """The name of a service's statement: letters and digits only, as IAM wants it."""
    return "Read" + "".join(part.capitalize() for part in service.split("-"))


def _document(named: Iterable[str]) -> dict[str, Any]:
    services: defaultdict[str, list[str]] = defaultdict(list)
    for action in named:
        services[action.partition(":")[0]].append(action)
    return {
        "Version": VERSION,
        "Statement": [
            {"Sid": sid(service), "Effect": "Allow", "Action": sorted(named), "Resource": "*"}
            for service, named in sorted(services.items())
        ],
    }
