"""Every project has a sink that takes all of its log entries, or stands below one that does.

Why: a sink with a filter or an exclusion leaves out what nobody thought of, and in an inquiry that is missing.
Remedy: create a sink without filter at the organization, with "include children", to a bucket that keeps it.

Cost: one call for 1000 projects and one for 1000 sinks of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, satisfied, text
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

ALL = "Logging API, LogSink.filter: optional; without one the sink takes every entry of its resource"
FALSE = "Logging API, LogSink and LogExclusion: disabled and includeChildren are bools, proto3 JSON leaves false out"
NO_EXCLUSIONS = "Logging API, LogSink.exclusions: optional; proto3 JSON leaves an empty list out"


@dataclass(frozen=True)
class Sinks:
    whole: tuple[str, ...] = ()  # that take every entry of the project, under their full names
    partial: tuple[str, ...] = ()  # the others that concern it, each with why it does not


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("cloudresourcemanager.googleapis.com/Project")


def observe(gcp: Organization, project: Mapping[str, Any]) -> Sinks:
    """A sink that intercepts keeps entries from sinks below it and takes them itself: none is lost by that."""
    places = [text(place) for place in field(project, "ancestors")]
    whole, partial = [], []
    for sink in gcp.assets_of(places, "logging.googleapis.com/LogSink"):
        why = leaves_out(field(sink, "resource.data"), above=field(sink, "ancestors")[0] != places[0])
        name = text(field(sink, "name"))
        partial.append(f"{name} {why}") if why else whole.append(name)
    if not whole and len(places) > 1 and gcp.parent != places[-1]:
        raise Unreadable(
            f"a sink of {places[-1]} may take all entries, and is above {gcp.parent}: observe {places[-1]}"
        )
    return Sinks(tuple(sorted(whole)), tuple(sorted(partial)))


def leaves_out(sink: Mapping[str, Any], *, above: bool) -> str:
    """Why the sink does not take every entry of the project; "" when it does."""
    if boolean(absent_means(sink, "disabled", False, because=FALSE)):
        return "is disabled"
    if above and not boolean(absent_means(sink, "includeChildren", False, because=FALSE)):
        return "does not include children"
    if absent_means(sink, "filter", "", because=ALL).strip():
        return "has a filter"
    exclusions = absent_means(sink, "exclusions", [], because=NO_EXCLUSIONS)
    if not all(boolean(absent_means(each, "disabled", False, because=FALSE)) for each in exclusions):
        return "has an exclusion"
    text(field(sink, "destination"))
    return ""


def evaluate(sinks: Sinks) -> Verdict:
    if sinks.whole:
        return satisfied(f"has all of its entries taken by {sinks.whole[0]}")
    return not_satisfied(f"has no sink of all entries: {'; '.join(sinks.partial) or 'it has none at all'}")


CHECK = Check(
    id="gcp-log-sink",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:2.2", "prowler:logging_sink_created"),
    population=population,
    name=lambda project: str(project["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Sinks(("//logging.googleapis.com/folders/845720196331/sinks/everything",))),
        bad(Sinks(partial=("//logging.googleapis.com/projects/100000000003/sinks/_Default has a filter",))),
        bad(Sinks()),
    ),
)
