"""Every project writes who read and who wrote its data into the audit logs, for all services.

Why: changes are always logged, reads and writes of data only on demand; without them a theft leaves no trace.
Remedy: choose IAM > Audit Logs > Set default configuration, tick all three types, and remove exempted principals.

Cost: one call for 1000 projects, and one for 1000 policies of projects, of folders and of organizations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

KINDS = ("ADMIN_READ", "DATA_READ", "DATA_WRITE")
MANAGER = "cloudresourcemanager.googleapis.com"
EMPTY = "google.iam.v1.Policy, auditConfigs and exemptedMembers: proto3 JSON leaves empty lists out"


@dataclass(frozen=True)
class Audit:
    kinds: tuple[str, ...]  # that are written for all services, by the project's policy or one above it
    exempt: tuple[str, ...] = ()  # "user:a@acme.example from DATA_READ of allServices"


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets(f"{MANAGER}/Project")


def observe(gcp: Organization, project: Mapping[str, Any]) -> Audit:
    """The union of what is set on the project and above it: nobody below can take it, or an exemption, away."""
    held = {policy["name"]: policy for policy in gcp.policies(f"{MANAGER}/Project")}
    for kind in ("Folder", "Organization"):
        held |= {policy["name"]: policy for policy in gcp.within("").policies(f"{MANAGER}/{kind}")}
    kinds, exempt = set(), set()
    for place in visible(gcp, project):
        if (name := f"//{MANAGER}/{place}") not in held:
            continue  # the listing of policies has no entry for what has none
        for config in absent_means(field(held[name], "iamPolicy"), "auditConfigs", [], because=EMPTY):
            service = text(field(config, "service"))
            for each in field(config, "auditLogConfigs"):
                kind = one_of(field(each, "logType"), KINDS)
                if service == "allServices":
                    kinds.add(kind)
                for member in absent_means(each, "exemptedMembers", [], because=EMPTY):
                    exempt.add(f"{member} from {kind} of {service}")
    return Audit(tuple(sorted(kinds)), tuple(sorted(exempt)))


def visible(gcp: Organization, project: Mapping[str, Any]) -> list[str]:
    """The project and all above it. Raises Unreadable when some of it lies above what is observed."""
    places = [text(place) for place in field(project, "ancestors")]
    if len(places) > 1 and gcp.parent != places[-1]:
        raise Unreadable(f"what {places[-1]} sets for the project is above {gcp.parent}: observe {places[-1]}")
    return places


def evaluate(audit: Audit) -> Verdict:
    if missing := [kind for kind in KINDS if kind not in audit.kinds]:
        return not_satisfied(f"does not log {', '.join(missing)} of all services")
    if audit.exempt:
        return not_satisfied(f"exempts {audit.exempt[0]}{' and others' if len(audit.exempt) > 1 else ''}")
    return satisfied("logs reads and writes of all services by everybody")


CHECK = Check(
    id="gcp-audit-config",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("cloudasset.assets.listIamPolicy", "cloudasset.assets.listResource"),
    per="project",
    see=(
        "cis-gcp-3.0:2.1",
        "powerpipe:audit_logging_configured_for_all_service",
        "prowler:iam_audit_logs_enabled",
    ),
    population=population,
    name=lambda project: str(project["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Audit(KINDS)),
        bad(Audit(("DATA_WRITE",))),
        bad(Audit(KINDS, ("user:ada@acme.example from DATA_READ of allServices",))),
    ),
)
