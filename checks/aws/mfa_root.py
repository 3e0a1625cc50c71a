"""The root user has MFA, or has no password and no access keys.

Why: nothing in the account can be refused to the root user, so its password alone must never be enough.
Remedy: sign in as root and assign a device under Security credentials, or remove the root credentials centrally.

Cost: the credential report, the account summary, and where there is MFA one call for 100 virtual devices.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector import check
from collector.check import Check, Family, bad, field, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

# Root users of old say "not_supported". Where root credentials are managed centrally AWS tells a password from none.
PASSWORDS = ("false", "not_supported", "true")


@dataclass(frozen=True)
class Root:
    mfa: bool
    virtual: bool = False  # at least one of its devices is virtual
    password: str = "not_supported"
    access_keys: int = 0


def population(aws: Account) -> Iterable[str]:
    """The one root user that every account has."""
    return [aws.arn("iam", "root", region="")]


def observe(aws: Account, arn: str) -> Root:
    """Devices as they are now; the credential report may be four hours old."""
    row = {row["user"]: row for row in aws.credential_report()}["<root_account>"]
    summary = aws.call("iam", "get_account_summary")
    mfa = check.one_of(str(field(summary, "SummaryMap.AccountMFAEnabled")), ("0", "1")) == "1"
    virtual = []
    if mfa:
        virtual = aws.each("iam", "list_virtual_mfa_devices", "VirtualMFADevices", AssignmentStatus="Assigned")
    return Root(
        mfa=mfa,
        virtual=arn in [field(device, "User.Arn") for device in virtual],
        password=check.one_of(row["password_enabled"].lower(), PASSWORDS),
        access_keys=sum(check.boolean(row[column]) for column in ("access_key_1_active", "access_key_2_active")),
    )


def evaluate(root: Root) -> Verdict:
    if root.mfa:
        return satisfied(f"has MFA, {'also with a virtual device' if root.virtual else 'with hardware only'}")
    if root.password == "false" and not root.access_keys:
        return not_applicable("has no password and no access keys, so that nobody can sign in")
    return not_satisfied(f"has no MFA{' and has access keys' if root.access_keys else ''}")


CHECK = Check(
    id="aws-root-mfa",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=(
        "iam:GenerateCredentialReport",
        "iam:GetAccountSummary",
        "iam:GetCredentialReport",
        "iam:ListVirtualMFADevices",
    ),
    per="account",
    see=("aws-config:root-account-mfa-enabled", "cis-aws-3.0:1.5", "prowler:iam_root_mfa_enabled"),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Root(mfa=True)),
        good(Root(mfa=True, virtual=True)),
        bad(Root(mfa=False)),
        bad(Root(mfa=False, password="false", access_keys=1)),
        outside(Root(mfa=False, password="false")),
    ),
)
