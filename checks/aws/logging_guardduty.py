"""GuardDuty watches the region.

Why: it reads the audit, DNS and flow logs that nobody reads by hand, and says what is odd in them.
Remedy: choose GuardDuty > Enable in the region, or enable it for the whole organisation.

Cost: one call for the region and one for its detector.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Check, Family, bad, good, not_satisfied, one_of, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Detector:
    status: str  # "" where there is none


def population(aws: Account) -> Iterable[str]:
    """The one detector that the account can have in this region. Where there is none it has no name; this is ours."""
    return [aws.arn("guardduty", "detector")]


def observe(aws: Account, detector: str) -> Detector:
    found = aws.each("guardduty", "list_detectors", "DetectorIds")
    if not found:
        return Detector("")
    one_of(str(len(found)), ("1",))  # a region has one; more of them nobody has judged yet
    answer = aws.call("guardduty", "get_detector", DetectorId=found[0])
    return Detector(one_of(answer["Status"], ("DISABLED", "ENABLED")))


def evaluate(detector: Detector) -> Verdict:
    if detector.status == "ENABLED":
        return satisfied("is enabled")
    return not_satisfied("is suspended" if detector.status else "does not exist")


CHECK = Check(
    id="aws-guardduty-enabled",
    family=Family.LOGGING,
    criteria=("CC6.8", "CC7.2"),
    permissions=("guardduty:GetDetector", "guardduty:ListDetectors"),
    per="region",
    see=("aws-config:guardduty-enabled-centralized", "prowler:guardduty_is_enabled"),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    examples=(good(Detector("ENABLED")), bad(Detector("DISABLED")), bad(Detector(""))),
)
