"""Every repository of container images has its images scanned for vulnerabilities.

Why: images carry the packages of an operating system, and nobody else looks whether those have known holes.
Remedy: enable the API containerscanning.googleapis.com in the project, and vulnerability scanning on the repository.

Cost: two calls for 1000 repositories and for 1000 enabled services of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
    bad,
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
from collector.model import Verdict

API = "containerscanning.googleapis.com"
IMAGES = "DOCKER"
FORMATS = f"{IMAGES} APT CONDA GENERIC GO GOOGET KFP MAVEN NPM PYTHON RUBY YUM".split()
VIRTUAL = "VIRTUAL_REPOSITORY"
MODES = ("AOSS_REPOSITORY", "ASSURED_OSS_REPOSITORY", "REMOTE_REPOSITORY", "STANDARD_REPOSITORY", VIRTUAL)
ACTIVE = "SCANNING_ACTIVE"
UNSET = "Artifact Registry API, VulnerabilityScanningConfig.enablementConfig: unset is treated as INHERITED for Docker"
COMBINED = (
    "Artifact Registry API, VulnerabilityScanningConfig.enablementState: output only, combines enablementConfig and "
    "the state of the API, which are both read here"
)


@dataclass(frozen=True)
class Repository:
    format: str
    mode: str
    api: bool = False  # the scanning API is enabled in the project
    config: str = "INHERITED"
    state: str = ACTIVE  # as Artifact Registry sums it up


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("artifactregistry.googleapis.com/Repository")


def observe(gcp: Organization, repository: Mapping[str, Any]) -> Repository:
    """The inventory has services that are or were enabled; one it does not have was never enabled."""
    services = {
        text(field(each, "name")).rpartition("/")[2]: each for each in gcp.assets("serviceusage.googleapis.com/Service")
    }
    data = field(repository, "resource.data")
    format, mode = one_of(field(data, "format"), FORMATS), one_of(field(data, "mode"), MODES)
    if format != IMAGES or mode == VIRTUAL:
        return Repository(format, mode)
    enabled = (
        API in services and one_of(field(services[API], "resource.data.state"), ("DISABLED", "ENABLED")) == "ENABLED"
    )
    member = "vulnerabilityScanningConfig."
    return Repository(
        format,
        mode,
        api=enabled,
        config=one_of(
            absent_means(data, f"{member}enablementConfig", "INHERITED", because=UNSET), ("DISABLED", "INHERITED")
        ),
        state=one_of(
            absent_means(data, f"{member}enablementState", ACTIVE, because=COMBINED),
            (ACTIVE, "SCANNING_DISABLED", "SCANNING_UNSUPPORTED"),
        ),
    )


def evaluate(repository: Repository) -> Verdict:
    if repository.format != IMAGES:
        return not_applicable(f"is of format {repository.format} and holds no container images")
    if repository.mode == VIRTUAL:
        return not_applicable("shows the images of other repositories and holds none")
    if not repository.api:
        return not_satisfied(f"is not scanned: {API} is not enabled in the project")
    if repository.config == "DISABLED":
        return not_satisfied("is not scanned: scanning is switched off for it")
    if repository.state != ACTIVE:
        return not_satisfied(f"is not scanned: {repository.state}")
    return satisfied("has its images scanned for vulnerabilities")


CHECK = Check(
    id="gcp-container-scanning",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("prowler:artifacts_container_analysis_enabled", "prowler:gcr_container_scanning_enabled"),
    population=population,
    name=lambda repository: str(repository["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Repository(IMAGES, "STANDARD_REPOSITORY", api=True)),
        bad(Repository(IMAGES, "STANDARD_REPOSITORY", api=False)),
        bad(Repository(IMAGES, "STANDARD_REPOSITORY", api=True, config="DISABLED")),
        bad(Repository(IMAGES, "REMOTE_REPOSITORY", api=True, state="SCANNING_UNSUPPORTED")),
        *map(outside, (Repository("MAVEN", "STANDARD_REPOSITORY"), Repository(IMAGES, VIRTUAL))),
    ),
)
