"""Every IAM user with a console password has MFA.

Why: one phished password is otherwise the whole account.
Remedy: enrol a device under IAM > Users > Security credentials, or remove the password.

Cost: the credential report, whatever the number of users.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.check import Check, Family, bad, boolean, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class User:
    password: bool
    mfa: bool


def population(aws: Account) -> Iterable[Mapping[str, str]]:
    return [row for row in aws.credential_report() if row["user"] != "<root_account>"]


def observe(aws: Account, row: Mapping[str, str]) -> User:
    return User(password=boolean(row["password_enabled"]), mfa=boolean(row["mfa_active"]))


def evaluate(user: User) -> Verdict:
    if not user.password:
        return not_applicable("has no console password")
    if user.mfa:
        return satisfied("has a console password and MFA")
    return not_satisfied("has a console password and no MFA")


CHECK = Check(
    id="aws-iam-user-mfa",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("iam:GenerateCredentialReport", "iam:GetCredentialReport"),
    per="account",
    see=(
        "aws-config:mfa-enabled-for-iam-console-access",
        "cis-aws-3.0:1.10",
        "prowler:iam_user_mfa_enabled_console_access",
    ),
    population=population,
    name=lambda row: row["arn"],
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(User(password=True, mfa=True)),
        bad(User(password=True, mfa=False)),
        outside(User(password=False, mfa=False)),
    ),
)
