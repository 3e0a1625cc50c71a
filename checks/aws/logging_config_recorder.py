"""AWS Config records every supported resource of the region, without error.

Why: it is the provider's own memory of what was changed when, and the second source to hold ours against.
Remedy: turn the recorder on with all resource types, a role and a delivery channel.

Cost: two calls for the region.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

STRATEGIES = ("ALL_SUPPORTED_RESOURCE_TYPES", "EXCLUSION_BY_RESOURCE_TYPES", "INCLUSION_BY_RESOURCE_TYPES")
STATUSES = ("FAILURE", "NOTAPPLICABLE", "PENDING", "SUCCESS")


@dataclass(frozen=True)
class Recorder:
    there: bool
    recording: bool = False
    strategy: str = ""
    status: str = ""  # of the last recording, in capitals; "" while it does not record


def population(aws: Account) -> Iterable[str]:
    """The one recorder that the account can have in this region. Where there is none it has no name; this is ours."""
    return [aws.arn("config", "configuration-recorder")]


def observe(aws: Account, recorder: str) -> Recorder:
    found = aws.call("config", "describe_configuration_recorders")["ConfigurationRecorders"]
    if not found:
        return Recorder(there=False)
    one_of(str(len(found)), ("1",))  # a region has one recorder of its own; more of them nobody has judged yet
    strategy = one_of(field(found[0], "recordingGroup.recordingStrategy.useOnly"), STRATEGIES)
    statuses = aws.call("config", "describe_configuration_recorder_status")["ConfigurationRecordersStatus"]
    status = {each["name"]: each for each in statuses}[found[0]["name"]]
    if not boolean(status["recording"]):
        return Recorder(True, False, strategy)
    return Recorder(True, True, strategy, one_of(field(status, "lastStatus").upper(), STATUSES))


def evaluate(recorder: Recorder) -> Verdict:
    if not recorder.there:
        return not_satisfied("does not exist")
    if not recorder.recording:
        return not_satisfied("is stopped")
    if recorder.strategy == "INCLUSION_BY_RESOURCE_TYPES":
        return not_satisfied("records chosen resource types only")
    if recorder.status == "FAILURE":
        return not_satisfied("records, and its last recording failed")
    return satisfied(
        "records " + ("all but excluded types" if recorder.strategy.startswith("EXCLUSION") else "all types")
    )


CHECK = Check(
    id="aws-config-recorder",
    family=Family.LOGGING,
    criteria=("CC7.1", "CC7.2"),
    permissions=("config:DescribeConfigurationRecorderStatus", "config:DescribeConfigurationRecorders"),
    per="region",
    see=("cis-aws-3.0:3.3", "prowler:config_recorder_all_regions_enabled"),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Recorder(True, True, "ALL_SUPPORTED_RESOURCE_TYPES", "SUCCESS")),
        good(Recorder(True, True, "EXCLUSION_BY_RESOURCE_TYPES", "PENDING")),
        bad(Recorder(True, True, "ALL_SUPPORTED_RESOURCE_TYPES", "FAILURE")),
        bad(Recorder(True, True, "INCLUSION_BY_RESOURCE_TYPES", "SUCCESS")),
        bad(Recorder(True, False, "ALL_SUPPORTED_RESOURCE_TYPES")),
        bad(Recorder(False)),
    ),
)
