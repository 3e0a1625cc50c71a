"""Every image that is pushed to an ECR repository is scanned for vulnerabilities.

Why: images carry their packages with them; a hole in one is found by scanning or by whoever uses it.
Remedy: under ECR > Private registry > Scanning, add a filter that covers the repository, best with enhanced scanning.

Cost: one call for 1000 repositories of the region, one for the registry, then one for 25 repositories.
AWS evaluates the registry's wildcard filters itself and says what holds for each repository; we do not guess.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

TOGETHER = 25  # BatchGetRepositoryScanningConfiguration takes at most 25 names
TYPES = ("BASIC", "ENHANCED")
FREQUENCIES = {"CONTINUOUS_SCAN": "continuously", "MANUAL": "by hand", "SCAN_ON_PUSH": "on push"}


@dataclass(frozen=True)
class Scanning:
    type: str  # of the registry
    frequency: str  # of the repository, by the registry's filters
    on_push: bool  # the repository's own, older setting


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    found = aws.each("ecr", "describe_repositories", "repositories", maxResults=1000)
    names = sorted(text(each["repositoryName"]) for each in found)
    groups = {name: names[n - n % TOGETHER : n - n % TOGETHER + TOGETHER] for n, name in enumerate(names)}
    return [{**each, "group": groups[each["repositoryName"]]} for each in found]


def observe(aws: Account, repository: Mapping[str, Any]) -> Scanning:
    registry = aws.call("ecr", "get_registry_scanning_configuration")
    answer = aws.call("ecr", "batch_get_repository_scanning_configuration", repositoryNames=repository["group"])
    settings = {each["repositoryName"]: each for each in field(answer, "scanningConfigurations")}
    own = settings[repository["repositoryName"]]  # not there when it was deleted meanwhile: no answer
    return Scanning(
        type=one_of(field(registry, "scanningConfiguration.scanType"), TYPES),
        frequency=one_of(field(own, "scanFrequency"), FREQUENCIES),
        on_push=boolean(field(own, "scanOnPush")),
    )


def evaluate(scanning: Scanning) -> Verdict:
    if scanning.frequency != "MANUAL":
        return satisfied(f"is scanned {FREQUENCIES[scanning.frequency]} ({scanning.type.lower()} scanning)")
    if scanning.type == "BASIC" and scanning.on_push:
        return satisfied("is scanned on push by its own setting (basic scanning)")
    return not_satisfied(f"matches no scanning filter of the registry ({scanning.type.lower()} scanning)")


CHECK = Check(
    id="aws-ecr-image-scanning",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "ecr:BatchGetRepositoryScanningConfiguration",
        "ecr:DescribeRepositories",
        "ecr:GetRegistryScanningConfiguration",
    ),
    per="region",
    see=("aws-config:ecr-private-image-scanning-enabled", "prowler:ecr_repositories_scan_images_on_push_enabled"),
    population=population,
    name=lambda repository: repository["repositoryArn"],
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Scanning("ENHANCED", "CONTINUOUS_SCAN", on_push=False)),
        good(Scanning("BASIC", "SCAN_ON_PUSH", on_push=False)),
        good(Scanning("BASIC", "MANUAL", on_push=True)),
        bad(Scanning("BASIC", "MANUAL", on_push=False)),
        # Enhanced scanning is off for repositories that match no filter, whatever their own setting says:
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
        bad(Scanning("ENHANCED", "MANUAL", on_push=True)),
    ),
)
