"""The custom role of Google Cloud, the Workspace scopes and the APIs to enable, from what the checks declare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from collector.check import AnyCheck
from collector.errors import ConfigError

TITLE = "Evidence collector"
DESCRIPTION = "Reads exactly what the enabled checks of the evidence collector ask. Changes nothing."
WORKSPACE, API = "workspace:", "api:"
# What the collector asks besides its checks: which projects there are, and to be billed for its questions.
OWN = (
    "cloudasset.assets.listResource",
    "resourcemanager.projects.get",
    "resourcemanager.projects.list",
    "serviceusage.services.use",
)
OWN_APIS = ("cloudasset.googleapis.com", "cloudresourcemanager.googleapis.com")
PERMISSION = re.compile(r"[a-z]+(\.[A-Za-z]+)+\.(get|list|search|use|list[A-Z]\w+|get[A-Z]\w+)")
SCOPE = re.compile(r"https://www\.googleapis\.com/auth/[a-z.-]+\.readonly")
SERVICE = re.compile(r"[a-z]+\.googleapis\.com")


def permissions(checks: Iterable[AnyCheck]) -> list[str]:
    """The IAM permissions that the GCP checks among ``checks`` and the collector need, sorted, each once.

    Raises ConfigError for a declared permission that does not read; a wildcard is never passed on.
    """
    return sorted({*OWN, *_declared(checks, "", PERMISSION)})


def scopes(checks: Iterable[AnyCheck]) -> list[str]:
    """The OAuth scopes that a Workspace administrator delegates to the collector's service account."""
    return sorted(_declared(checks, WORKSPACE, SCOPE))


def apis(checks: Iterable[AnyCheck]) -> list[str]:
    """The APIs that must be enabled, in the collector's project and, where a check asks there, in each project."""
    return sorted({*OWN_APIS, *_declared(checks, API, SERVICE)})


def role(checks: Iterable[AnyCheck]) -> str:
    """The role file that ``gcloud iam roles create`` takes, with the other steps as comments."""
    checks = list(checks)
    lines = [
        "# gcloud iam roles create evidenceCollector --organization NUMBER --file THIS_FILE",
        "# gcloud organizations add-iam-policy-binding NUMBER --member serviceAccount:COLLECTOR \\",
        "#   --role organizations/NUMBER/roles/evidenceCollector",
        *(f"# gcloud services enable {api}" for api in apis(checks)),
        "# Workspace admin console > Security > API controls > Domain-wide delegation: the account's client id with",
        *(f"#   {scope}" for scope in scopes(checks)),
        f"title: {TITLE}",
        f"description: {DESCRIPTION}",
        "stage: GA",
        "includedPermissions:",
        *(f"- {name}" for name in permissions(checks)),
    ]
    return "\n".join(lines) + "\n"


def terraform(checks: Iterable[AnyCheck]) -> str:
    """The role, its binding and the APIs, for the google provider; Workspace scopes have no resource there."""
    checks = list(checks)
    listed = "\n".join(f"    {json.dumps(name)}," for name in permissions(checks))
    enabled = "\n".join(f"    {json.dumps(api)}," for api in apis(checks))
    delegated = "\n".join(f"#   {scope}" for scope in scopes(checks))
    return f"""variable "organization" {{
  type        = string
  description = "Number of the organization that is observed."
}}

variable "project" {{
  type        = string
  description = "Project of the collector, whose quotas its questions use."
}}

variable "collector" {{
  type        = string
  description = "E-mail address of the collector's service account."
}}

resource "google_organization_iam_custom_role" "evidence_collector" {{
  org_id      = var.organization
  role_id     = "evidenceCollector"
  title       = {json.dumps(TITLE)}
  description = {json.dumps(DESCRIPTION)}
  permissions = [
{listed}
  ]
}}

resource "google_organization_iam_member" "evidence_collector" {{
  org_id = var.organization
  role   = google_organization_iam_custom_role.evidence_collector.id
  member = "serviceAccount:${{var.collector}}"
}}

resource "google_project_service" "evidence_collector" {{
  for_each = toset([
{enabled}
  ])
  project            = var.project
  service            = each.value
  disable_on_destroy = false
}}

# Delegate these scopes to the service account's client id in the Workspace admin console (Security > API controls >
# Domain-wide delegation); no provider of Terraform can:
{delegated}
"""


def _declared(checks: Iterable[AnyCheck], prefix: str, shape: re.Pattern[str]) -> set[str]:
    found = set()
    for check in checks:
        for permission in check.permissions if check.cloud == "gcp" else ():
            kind = next((known for known in (WORKSPACE, API) if permission.startswith(known)), "")
            if kind != prefix:
                continue
            name = permission.removeprefix(prefix)
            if not shape.fullmatch(name):
                raise ConfigError(f"{check.id} declares {permission!r}, which reads nothing; name it in full")
            found.add(name)
    return found
