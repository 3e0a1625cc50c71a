"""What happens in the simulated clouds in a window, as data: seeded events that change a cloud or the collector.

Nothing here watches what a collector makes of it. Who lives through the events and turns the clock is in ``play.py``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from collector.demo.azure.estate import ACCOUNT_ID, MFA_POLICY_ID
from collector.demo.azure.world import ANALYTICS
from collector.demo.cloud import SimulatedCloud
from collector.demo.estate import (
    LEAVER,
    STORY_BUCKET,
    STORY_CERTIFICATE,
    STORY_DATABASE,
    STORY_INSTANCE,
    STORY_TRAIL,
    STORY_USER,
    tls_policy,
)

STORY_PERSON = "dana@acme.example"
STORY_PROJECT = "//cloudresourcemanager.googleapis.com/projects/100000000001"
STORY_SQL = "//cloudsql.googleapis.com/projects/acme-prod/instances/accounts"
SSL_MODE = "resource.data.settings.ipConfiguration.sslMode"

Kind = Literal["cloud", "collector-down", "collector-up", "denied", "granted", "authority-down", "authority-up"]
Act = Callable[[SimulatedCloud], None]

HOME, HERE = "us-east-1", "eu-west-1"
FULL_DAYS = 30  # the window that the times below are written for
LEAST_DAYS = 14  # from here on everything happens
CERTIFICATE_DAYS_LEFT = 20
RENEWED_DAYS = 395
DENIED_LABEL, THROTTLED_LABEL = "story-denied", "story-throttled"
THROTTLED_CALLS = 2  # of each service: enough to be seen in the call log, few enough to be overcome by patience


@dataclass(frozen=True)
class Event:
    """Something that happens at a moment; ``act`` does it to the cloud, and does nothing for the collector's own."""

    at: datetime
    title: str
    kind: Kind
    act: Act


def story(seed: int, start: datetime, days: int) -> list[Event]:
    """The events of ``days`` from ``start``, in order. The same seed tells the same story.

    All of them happen in a window of 14 days or more; in a shorter one those that begin before its end.
    """
    teller = _Teller(random.Random(seed), start, days)
    teller.people()
    teller.buckets()
    teller.machines()
    teller.traffic()
    teller.azure()
    teller.google()
    teller.outages()
    end = start + timedelta(days=days)
    return sorted((event for event in teller.events if event.at < end), key=lambda event: (event.at, event.title))


class _Teller:
    """Places events. Where they begin is stretched with the window; how long they last is not, in 14 days and more."""

    def __init__(self, random: random.Random, start: datetime, days: int) -> None:
        self._random, self._start = random, start
        self._stretch = days / FULL_DAYS
        self.events: list[Event] = []

    def at(self, day: float) -> datetime:
        """A moment around a day of the full window, at an odd minute of some hour."""
        moment = self._start + timedelta(days=day * self._stretch)
        return moment.replace(second=0, microsecond=0) + timedelta(minutes=self._random.randrange(7, 173))

    def tell(self, at: datetime, title: str, act: Act, kind: Kind = "cloud") -> datetime:
        self.events.append(Event(at, title, kind, act))
        return at

    def people(self) -> None:
        lost = self.tell(self.at(2), f"{STORY_USER} loses the phone; MFA is switched off", lose_mfa)
        back = lost + timedelta(days=min(3, 3 * max(self._stretch, 0.5)), minutes=self._random.randrange(60))
        self.tell(back, f"{STORY_USER} has MFA again", regain_mfa)
        seen = self.tell(self.at(6), "a user appears: nina.vogel, with a password and no MFA yet", appear_user)
        self.tell(max(self.at(7.5), seen + timedelta(hours=1)), "nina.vogel enrols a passkey", enrol_user)
        self.tell(self.at(19), f"{LEAVER} leaves the company; the user is deleted", vanish_user)

    def buckets(self) -> None:
        lost = self.tell(self.at(4), f"a deployment removes the policy of {STORY_BUCKET}", drop_policy)
        self.tell(lost + timedelta(hours=20), f"{STORY_BUCKET} refuses plaintext again", mend_policy)
        self.tell(self.at(10), "a bucket appears: acme-scratch, encrypted by S3, with no policy", appear_bucket)

    def machines(self) -> None:
        self.tell(self.at(8), f"an unencrypted database appears: {STORY_DATABASE}", appear_database)
        missing = self.tell(self.at(11), f"{STORY_INSTANCE} lacks a critical patch", miss_patch)
        mended = missing + timedelta(days=max(1.5, 3 * self._stretch))
        self.tell(mended, f"{STORY_INSTANCE} is patched", mend_patch)
        self.tell(self.at(24), "a disk that nobody needs is deleted", vanish_volume)

    def traffic(self) -> None:
        stopped = self.tell(self.at(13), f"somebody stops the trail {STORY_TRAIL}", stop_trail)
        self.tell(stopped + timedelta(hours=14), f"the trail {STORY_TRAIL} records again", start_trail)
        near = self.at(20)
        until = near + timedelta(days=CERTIFICATE_DAYS_LEFT)
        title = f"the certificate of {STORY_CERTIFICATE} is replaced by one with {CERTIFICATE_DAYS_LEFT} days left"
        self.tell(near, title, lambda cloud: certify(cloud, until))
        renewed = near + timedelta(days=max(1.5, 4 * self._stretch))
        later = renewed + timedelta(days=RENEWED_DAYS)
        self.tell(renewed, f"the certificate of {STORY_CERTIFICATE} is renewed", lambda cloud: certify(cloud, later))

    def azure(self) -> None:
        eased = self.tell(self.at(3.2), "Entra: MFA for all users is put in report-only", ease_mfa)
        again = eased + timedelta(days=min(3, max(1.5, 3 * self._stretch)))
        self.tell(again, "Entra: MFA is required of all users again", demand_mfa)
        lowered = self.tell(self.at(12), "Azure: the storage account acmeinvoices takes TLS 1.0", lower_tls)
        self.tell(lowered + timedelta(days=1.5), "Azure: acmeinvoices takes TLS 1.2 or later only", raise_tls)
        self.tell(self.at(9), "Azure: the subscription acme-analytics appears", appear_subscription)

    def google(self) -> None:
        lost = self.tell(self.at(5), f"Google: {STORY_PERSON} switches 2-Step Verification off", lose_2sv)
        self.tell(lost + timedelta(days=2), f"Google: {STORY_PERSON} has 2-Step Verification again", regain_2sv)
        exempt = self.tell(self.at(14), "Google: the audit logs of acme-prod exempt a user", exempt_user)
        self.tell(exempt + timedelta(days=1.5), "Google: the audit logs of acme-prod exempt nobody", exempt_nobody)
        opened = self.tell(self.at(18), "Google: the database accounts takes connections without TLS", open_database)
        self.tell(opened + timedelta(hours=30), "Google: the database accounts takes TLS only", close_database)
        off = self.tell(self.at(23), "Google: the OS Config API of acme-prod is disabled", disable_api)
        self.tell(off + timedelta(days=1), "Google: the OS Config API of acme-prod is enabled again", enable_api)

    def outages(self) -> None:
        down = self.tell(self.at(15.5), "the collector's machine goes down", nothing, "collector-down")
        up = down + timedelta(days=2 * min(1.0, max(0.75, self._stretch)))
        self.tell(up, "the collector's machine is back", nothing, "collector-up")
        silent = self.tell(self.at(11), "the time stamping authority does not answer", nothing, "authority-down")
        self.tell(silent + timedelta(days=1), "the time stamping authority answers again", nothing, "authority-up")
        denied = self.tell(self.at(22), "kms:GetKeyRotationStatus is taken from the collector", deny, "denied")
        self.tell(denied + timedelta(days=1), "kms:GetKeyRotationStatus is granted again", grant, "granted")
        morning = (self._start + timedelta(days=26.5 * self._stretch)).replace(
            hour=11, minute=40, second=0, microsecond=0
        )
        if morning < self._start:
            morning += timedelta(days=1)
        self.tell(morning, f"AWS throttles in {HERE}", throttle)
        self.tell(morning + timedelta(hours=3), f"AWS answers {HERE} at full speed again", release)


# --- what the events do ---


def nothing(cloud: SimulatedCloud) -> None:
    """The cloud does not notice whether anybody collects."""


def lose_mfa(cloud: SimulatedCloud) -> None:
    iam = cloud.client("iam")
    for device in iam.list_mfa_devices(UserName=STORY_USER)["MFADevices"]:
        iam.deactivate_mfa_device(UserName=STORY_USER, SerialNumber=device["SerialNumber"])


def regain_mfa(cloud: SimulatedCloud) -> None:
    enrol(cloud, STORY_USER, f"arn:aws:iam::{cloud.account}:u2f/user/{STORY_USER}/new-phone")


def enrol(cloud: SimulatedCloud, user: str, serial: str) -> None:
    codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
    cloud.client("iam").enable_mfa_device(UserName=user, SerialNumber=serial, **codes)


def appear_user(cloud: SimulatedCloud) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName="nina.vogel")
    iam.create_login_profile(UserName="nina.vogel", Password="Correct-Horse-7-Battery")
    iam.add_user_to_group(GroupName="developers", UserName="nina.vogel")


def enrol_user(cloud: SimulatedCloud) -> None:
    enrol(cloud, "nina.vogel", f"arn:aws:iam::{cloud.account}:u2f/user/nina.vogel/key-1")


def vanish_user(cloud: SimulatedCloud) -> None:
    iam = cloud.client("iam")
    iam.delete_login_profile(UserName=LEAVER)
    iam.delete_user(UserName=LEAVER)


def drop_policy(cloud: SimulatedCloud) -> None:
    cloud.client("s3").delete_bucket_policy(Bucket=STORY_BUCKET)


def mend_policy(cloud: SimulatedCloud) -> None:
    cloud.client("s3").put_bucket_policy(Bucket=STORY_BUCKET, Policy=json.dumps(tls_policy(STORY_BUCKET)))


def appear_bucket(cloud: SimulatedCloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="acme-scratch")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(Bucket="acme-scratch", ServerSideEncryptionConfiguration={"Rules": [rule]})


def appear_database(cloud: SimulatedCloud) -> None:
    cloud.client("rds").create_db_instance(
        DBInstanceIdentifier=STORY_DATABASE,
        Engine="postgres",
        EngineVersion="16.6",
        DBInstanceClass="db.t4g.medium",
        AllocatedStorage=20,
        MasterUsername="root1",
        MasterUserPassword="Correct-Horse-7",
        StorageEncrypted=False,
        AutoMinorVersionUpgrade=True,
    )


def miss_patch(cloud: SimulatedCloud) -> None:
    patch(cloud, missing=2, critical=1, security=1)


def mend_patch(cloud: SimulatedCloud) -> None:
    patch(cloud, missing=0, critical=0, security=0)


def patch(cloud: SimulatedCloud, **counts: int) -> None:
    filters = [{"Name": "tag:Name", "Values": [STORY_INSTANCE]}]
    found = cloud.client("ec2").describe_instances(Filters=filters)["Reservations"][0]["Instances"][0]["InstanceId"]
    key = f"ssm.patches/{HOME}"
    cloud.set(key, [each | counts if each["id"] == found else each for each in cloud.get(key)])


def vanish_volume(cloud: SimulatedCloud) -> None:
    ec2 = cloud.client("ec2")
    pages = ec2.get_paginator("describe_volumes").paginate(Filters=[{"Name": "status", "Values": ["available"]}])
    free = [volume for page in pages for volume in page["Volumes"]]
    plain = sorted(volume["VolumeId"] for volume in free if not volume["Encrypted"])
    ec2.delete_volume(VolumeId=plain[0])


def stop_trail(cloud: SimulatedCloud) -> None:
    cloud.client("cloudtrail").stop_logging(Name=STORY_TRAIL)


def start_trail(cloud: SimulatedCloud) -> None:
    cloud.client("cloudtrail").start_logging(Name=STORY_TRAIL)


def certify(cloud: SimulatedCloud, until: datetime) -> None:
    key = f"acm/{HOME}"
    ends = {"not_after": until.isoformat()}
    cloud.set(key, [each | ends if each["domain"] == STORY_CERTIFICATE else each for each in cloud.get(key)])


def ease_mfa(cloud: SimulatedCloud) -> None:
    cloud.azure.edit(id=MFA_POLICY_ID, path="state", value="enabledForReportingButNotEnforced")


def demand_mfa(cloud: SimulatedCloud) -> None:
    cloud.azure.edit(id=MFA_POLICY_ID, path="state", value="enabled")


def lower_tls(cloud: SimulatedCloud) -> None:
    cloud.azure.edit(id=ACCOUNT_ID.lower(), path="properties.minimumTlsVersion", value="TLS1_0")


def raise_tls(cloud: SimulatedCloud) -> None:
    cloud.azure.edit(id=ACCOUNT_ID.lower(), path="properties.minimumTlsVersion", value="TLS1_2")


def appear_subscription(cloud: SimulatedCloud) -> None:
    cloud.azure.add_subscription(id=ANALYTICS, name="acme-analytics")


def lose_2sv(cloud: SimulatedCloud) -> None:
    cloud.gcp.edit(id=f"users/{STORY_PERSON}", path="isEnrolledIn2Sv", value=False)


def regain_2sv(cloud: SimulatedCloud) -> None:
    cloud.gcp.edit(id=f"users/{STORY_PERSON}", path="isEnrolledIn2Sv", value=True)


def exempt_user(cloud: SimulatedCloud) -> None:
    audited(cloud, {"exemptedMembers": [f"user:{STORY_PERSON}"]})


def exempt_nobody(cloud: SimulatedCloud) -> None:
    audited(cloud, {})


def audited(cloud: SimulatedCloud, more: dict[str, list[str]]) -> None:
    config = {"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ", **more}]}
    cloud.gcp.edit(id=STORY_PROJECT, path="iamPolicy.auditConfigs", value=[config])


def open_database(cloud: SimulatedCloud) -> None:
    cloud.gcp.edit(id=STORY_SQL, path=SSL_MODE, value="ALLOW_UNENCRYPTED_AND_ENCRYPTED")


def close_database(cloud: SimulatedCloud) -> None:
    cloud.gcp.edit(id=STORY_SQL, path=SSL_MODE, value="ENCRYPTED_ONLY")


def disable_api(cloud: SimulatedCloud) -> None:
    cloud.gcp.revoke(permission="api:osconfig.googleapis.com", project="acme-prod")


def enable_api(cloud: SimulatedCloud) -> None:
    cloud.gcp.grant(permission="api:osconfig.googleapis.com", project="acme-prod")


def deny(cloud: SimulatedCloud) -> None:
    cloud.fault("denied", service="kms", operation="GetKeyRotationStatus", label=DENIED_LABEL)


def grant(cloud: SimulatedCloud) -> None:
    cloud.clear_faults(DENIED_LABEL)


def throttle(cloud: SimulatedCloud) -> None:
    for service in ("ec2", "rds", "kms"):
        cloud.fault("throttle", service=service, region=HERE, times=THROTTLED_CALLS, label=THROTTLED_LABEL)


def release(cloud: SimulatedCloud) -> None:
    cloud.clear_faults(THROTTLED_LABEL)
