"""Every IAM user with administrator rights and a console password has a FIDO or hardware factor.

Why: codes of an authenticator app can be phished together with the password, and these users can do everything.
Remedy: enrol a passkey or hardware token for the user, or detach AdministratorAccess and what else allows "*" on "*".

Cost: one call for 100 users, groups and customer managed policies, and two for each administrator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector import check
from collector.check import Check, Family, bad, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

FACTORS = {"mfa": "a virtual device", "sms-mfa": "SMS", "token": "a hardware token", "u2f": "a FIDO key"}
NO_INLINE = "boto/boto3#1303: AWS leaves UserPolicyList out for users, not for groups, without inline policies"


@dataclass(frozen=True)
class User:
    administrator: bool
    password: bool = False
    factors: tuple[str, ...] = ()


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Every user, with all groups and policies to look its rights up in; the three lists share their answers."""
    users, groups, policies = (
        aws.each("iam", "get_account_authorization_details", path, Filter=["Group", "LocalManagedPolicy", "User"])
        for path in ("UserDetailList", "GroupDetailList", "Policies")
    )
    versions = {(p["Arn"], v["VersionId"]): v["Document"] for p in policies for v in p["PolicyVersionList"]}
    documents = {policy["Arn"]: versions[policy["Arn"], policy["DefaultVersionId"]] for policy in policies}
    named = {group["GroupName"]: group for group in groups}
    return [{**user, "groups": [named[name] for name in user["GroupList"]], "all": documents} for user in users]


def observe(aws: Account, user: Mapping[str, Any]) -> User:
    own = check.absent_means(user, "UserPolicyList", [], because=NO_INLINE)
    inline = [own, *(group["GroupPolicyList"] for group in user["groups"])]
    arns = [policy["PolicyArn"] for each in (user, *user["groups"]) for policy in each["AttachedManagedPolicies"]]
    documents = [policy["PolicyDocument"] for each in inline for policy in each]
    documents += [user["all"][arn] for arn in arns if ":iam::aws:policy/" not in arn]
    if not any(arn.endswith(":iam::aws:policy/AdministratorAccess") for arn in arns) | any(map(allows_all, documents)):
        return User(False)
    devices = aws.each("iam", "list_mfa_devices", "MFADevices", UserName=user["UserName"])
    profile = aws.call("iam", "get_login_profile", UserName=user["UserName"], absent=("NoSuchEntity",))
    # API_MFADevice: virtual devices and FIDO keys are named by an ARN that tells them apart, hardware tokens are not
    arns = [each["SerialNumber"] if "arn:" in each["SerialNumber"] else ":::::token/" for each in devices]
    factors = tuple(sorted({check.one_of(arn.split(":", 5)[5].split("/")[0], FACTORS) for arn in arns}))
    return User(True, profile is not None and bool(check.field(profile, "LoginProfile.UserName")), factors)


def allows_all(document: Mapping[str, Any]) -> bool:  # whatever conditions, boundaries and Deny take away again
    return any(
        check.one_of(statement["Effect"], ("Allow", "Deny")) == "Allow"
        and not {"NotAction", "NotResource"} & statement.keys()  # all but a few are not all
        and {"*", "*:*"} & {*listed(statement["Action"])}
        and "*" in listed(statement["Resource"])
        for statement in listed(check.field(document, "Statement"))
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def evaluate(user: User) -> Verdict:
    if not user.password:
        return not_applicable(f"has no {'console password' if user.administrator else 'administrator rights'}")
    has = f"has administrator rights and {' and '.join(FACTORS[factor] for factor in user.factors) or 'no MFA'}"
    return satisfied(has) if {"token", "u2f"} & {*user.factors} else not_satisfied(has)


CHECK = Check(
    id="aws-iam-admin-hardware-mfa",
    family=Family.MFA,
    criteria=("CC6.1", "CC6.3"),
    permissions=("iam:GetAccountAuthorizationDetails", "iam:GetLoginProfile", "iam:ListMFADevices"),
    per="account",
    see=("prowler:iam_administrator_access_with_mfa", "prowler:iam_user_hardware_mfa_enabled"),
    population=population,
    name=lambda user: str(user["Arn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(User(True, True, ("mfa", "u2f"))), bad(User(True, True, ("mfa",))), outside(User(False))),
)
