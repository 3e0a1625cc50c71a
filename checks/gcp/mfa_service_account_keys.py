"""Every service account has no key of a user's that is old.

Why: such a key is a password in a file, needs no second factor, and works for whoever copied it until it is deleted.
Remedy: use workload identity or an attached account instead, or make a new key and delete the old one.

Cost: one call for 1000 accounts and one for 1000 keys of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

TYPES = ("SYSTEM_MANAGED", "USER_MANAGED")
ENABLED = "IAM API, ServiceAccount.disabled and ServiceAccountKey.disabled: proto3 JSON leaves false out"


@dataclass(frozen=True)
class Account:
    disabled: bool
    keys: int = 0  # of users, that are neither disabled nor expired
    oldest_days: int = 0


@dataclass(frozen=True)
class Limits:
    key_age_days_max: int = 90


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Every account with its keys. A key names its account by e-mail address or by unique id."""
    keys: dict[str, list[Mapping[str, Any]]] = {}
    for key in gcp.assets("iam.googleapis.com/ServiceAccountKey"):
        owner, _, _ = text(field(key, "name")).partition("/keys/")
        keys.setdefault(owner, []).append(field(key, "resource.data"))
    for account in gcp.assets("iam.googleapis.com/ServiceAccount"):
        own = field(account, "resource.data")
        stem = text(field(account, "name")).rpartition("/")[0]
        names = {f"{stem}/{text(field(own, member))}" for member in ("email", "uniqueId")} | {account["name"]}
        held = [key for name in sorted(names) for key in keys.pop(name, [])]
        yield {"name": account["name"], "data": own, "keys": held}
    for owner, held in sorted(keys.items()):
        yield {"name": owner, "data": None, "keys": held}


def observe(gcp: Organization, account: Mapping[str, Any]) -> Account:
    if account["data"] is None:
        raise Unreadable("there are keys of the account, and the listing does not have it; the next run may")
    if boolean(absent_means(account["data"], "disabled", False, because=ENABLED)):
        return Account(disabled=True)
    ages = []
    for key in account["keys"]:
        if one_of(field(key, "keyType"), TYPES) == "SYSTEM_MANAGED":
            continue  # Google holds and rotates it
        disabled = boolean(absent_means(key, "disabled", False, because=ENABLED))
        if not disabled and gcp.age_hours(field(key, "validBeforeTime")) < 0:
            ages.append(gcp.age_days(field(key, "validAfterTime")))
    return Account(disabled=False, keys=len(ages), oldest_days=max(ages, default=0))


def evaluate(account: Account, limits: Limits) -> Verdict:
    if account.disabled:
        return not_applicable("is disabled, and with it its keys")
    if not account.keys:
        return satisfied("has no key of a user's")
    if account.oldest_days <= limits.key_age_days_max:
        return satisfied(f"has no key of a user's older than {limits.key_age_days_max} days")
    return not_satisfied(f"has a key of a user's older than {limits.key_age_days_max} days")


CHECK = LimitedCheck(
    id="gcp-service-account-keys",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:1.7",),
    population=population,
    name=lambda account: str(account["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Account(disabled=False)),
        good(Account(disabled=False, keys=1, oldest_days=90)),
        bad(Account(disabled=False, keys=2, oldest_days=91)),
        outside(Account(disabled=True)),
    ),
)
