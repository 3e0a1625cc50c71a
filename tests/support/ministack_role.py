"""The collector's role in the account with enforced IAM: give it a policy, run every check, see which were refused.

The handle, its clients, the credentials of the role and every check are the product's own. ministack decides about each
request before it looks for an answer; what it has no answer to is answered from here, after that decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collector.check import AnyCheck
from collector.clouds.aws import Account, Clients, Edge, credentials_for
from collector.clouds.transcript import Answer, Transcript
from collector.collect import Task, collect
from collector.errors import Denied
from collector.model import CheckRun, Scope, State
from collector.policy.aws import VERSION, trust_policy
from tests.support.ministack import ACCOUNT, REGION, Ministack

NAME = "evidence-collector"
ARN = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
EXTERNAL_ID = "external-id-of-the-tests"
BALANCER = {
    "LoadBalancerName": "classic",
    "DNSName": "classic.elb.example",
    "ListenerDescriptions": [{"Listener": {"Protocol": "HTTPS"}, "PolicyNames": ["tls"]}],
}
TLS_POLICY = {
    "PolicyName": "tls",
    "PolicyTypeName": "SSLNegotiationPolicyType",
    "PolicyAttributeDescriptions": [{"AttributeName": "Protocol-TLSv1.2", "AttributeValue": "true"}],
}
MODERN = {"Name": "ELBSecurityPolicy-TLS13-1-2-2021-06", "SslProtocols": ["TLSv1.2", "TLSv1.3"]}
# Questions about which ministack decides and then has no answer of its own. Classic load balancers it does not know
# at all: it takes the question for the one about the newer ones.
ANSWERED_HERE: Mapping[tuple[str, str], Any] = {
    ("ec2", "get_ebs_encryption_by_default"): {"EbsEncryptionByDefault": True},
    ("ecr", "batch_get_repository_scanning_configuration"): {
        "scanningConfigurations": [
            {"repositoryName": "app", "scanFrequency": "SCAN_ON_PUSH", "scanOnPush": True},
        ]
    },
    ("ecr", "get_registry_scanning_configuration"): {"scanningConfiguration": {"scanType": "BASIC"}},
    ("eks", "describe_cluster_versions"): {
        "clusterVersions": [{"clusterVersion": f"1.{n}", "versionStatus": "STANDARD_SUPPORT"} for n in range(25, 50)]
    },
    ("elb", "describe_load_balancer_policies"): {"PolicyDescriptions": [TLS_POLICY]},
    ("elb", "describe_load_balancers"): {"LoadBalancerDescriptions": [BALANCER]},
    ("elbv2", "describe_ssl_policies"): {"SslPolicies": [MODERN]},
    ("ssm", "describe_instance_patch_states"): {"InstancePatchStates": []},
}


@dataclass(frozen=True)
class Seen:
    """One run of all checks: what they saw, and what the account said."""

    runs: Sequence[CheckRun]
    transcript: Transcript
    own: Mapping[tuple[str, str], Answer]  # what ministack itself said where the answer came from here

    @property
    def refused(self) -> set[str]:
        """The checks that are blind because a question was refused, as their reasons say."""
        return {run.check for run in self.runs if any(self._refusal(reason) for reason in unseen(run))}

    def _refusal(self, reason: str) -> bool:
        denied = [each for each in self.transcript.log if each.failure == Denied.code]
        return any(f"{each.operation} at {each.endpoint}: {each.error}" in reason for each in denied)

    @property
    def seeing(self) -> set[str]:
        """The checks that judged at least one subject."""
        return {
            run.check
            for run in self.runs
            if any(each.verdict.state is not State.UNDETERMINED for each in run.observations)
        }


def unseen(run: CheckRun) -> list[str]:
    """Why a run did not see its population, or some of its subjects; empty when it saw them all."""
    undetermined = [each.verdict for each in run.observations if each.verdict.state is State.UNDETERMINED]
    return [run.reason] if run.population is None else [verdict.reason for verdict in undetermined]


class Role:
    """The role that the generated trust policy makes. The environment must lead boto3 to the emulator."""

    def __init__(self, ministack: Ministack, checks: Iterable[AnyCheck]) -> None:
        self._iam = ministack.client("iam")
        self._checks = list(checks)
        self._iam.create_user(UserName="boot")
        made = self._iam.create_access_key(UserName="boot")["AccessKey"]
        self.source = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ARN}
        self._iam.put_user_policy(
            UserName="boot", PolicyName="boot", PolicyDocument=json.dumps({"Version": VERSION, "Statement": [may]})
        )
        trust = trust_policy(f"arn:aws:iam::{ACCOUNT}:user/boot", EXTERNAL_ID)
        self._iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(trust))
        self._clients = Clients()
        self._credentials: Any = None

    def allow(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Replaces what the role may do by these policy documents; by nothing when there are none."""
        for name in self._iam.list_role_policies(RoleName=NAME)["PolicyNames"]:
            self._iam.delete_role_policy(RoleName=NAME, PolicyName=name)
        for n, document in enumerate(documents):
            self._iam.put_role_policy(RoleName=NAME, PolicyName=f"part-{n}", PolicyDocument=json.dumps(document))

    def open(self, transcript: Transcript, own: dict[tuple[str, str], Answer] | None = None) -> Account:
        """The handle that checks are given, signed in as the role."""
        if self._credentials is None:
            self._credentials = credentials_for(role_arn=ARN, external_id=EXTERNAL_ID, session_name=NAME)
        edge = Edge(self._clients, ACCOUNT, self._credentials, now, sleep=lambda _: None)

        def put(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
            answer = edge.put(service, operation, region, params)
            body = ANSWERED_HERE.get((service, operation))
            if body is None or answer.failure == Denied.code:
                return answer
            if own is not None:
                own[service, operation] = answer
            return Answer(body, answer.started, answer.duration_ms)

        return Account(ACCOUNT, transcript, now(), put, REGION, sleep=lambda _: None)

    def look(self) -> Seen:
        """Runs every check once, over a transcript of its own."""
        transcript = Transcript()
        own: dict[tuple[str, str], Answer] = {}
        handle = self.open(transcript, own)
        tasks = [
            Task(check, Scope("aws", ACCOUNT, REGION if check.parted else ""), handle, check.limits)
            for check in self._checks
        ]
        return Seen(collect(tasks, now), transcript, own)


def now() -> datetime:
    return datetime.now(UTC)
