"""Who is told of an alert, and when: the ``[[route]]`` and ``[digest]`` tables, typed. Knows no kind of channel."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from collector.config_values import ScopeText, zone_name
from collector.tomlfile import Duration, Name, Table, Text, distinct, matching

CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"

SeverityName = Literal["critical", "high", "medium", "low"]


def hours_text(value: str) -> str:
    found = re.fullmatch(f"({CLOCK})-({CLOCK})", value)
    if value and (found is None or found[1] == found[3]):
        raise ValueError('must be two times of day, such as "22:00-07:00", or "" for none')
    return value


class Match(Table):
    """What an alert must be for a route to take it. A key that is left out matches everything."""

    family: Text | None = Field(default=None, description="Family of the check: `mfa`.")
    owner: Text | None = Field(default=None, description="Owner of the control.")
    control: Text | None = Field(default=None, description="Id of the control.")
    scope: ScopeText | None = Field(default=None, description="A scope and everything below it: `aws/123456789012`.")
    cause: Literal["failed", "blind", "missed", "late", "anchor", "lapsed"] | None = Field(
        default=None,
        description="A subject failed or could not be seen, a slot was missed or late, a place outside took no "
        "checkpoint, or an acceptance ran out.",
    )
    severity: SeverityName | None = Field(
        default=None, description="Severity of the control. What concerns no control is `high`."
    )


class Route(Table):
    """Who is told. The first route that matches wins; an alert that none matches goes over every channel."""

    match: Match = Field(default=Match(), description="What the route takes. Empty: everything.")
    channels: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        description="Names of channels. Empty: the alert is written down and nobody is told."
    )
    quiet: Annotated[str, AfterValidator(hours_text)] = Field(
        default="",
        description="Hours of each day in which nobody is disturbed: `22:00-07:00`. What comes then is told when they "
        "are over. Empty: none.",
    )
    zone: Annotated[str, AfterValidator(zone_name)] = Field(
        default="UTC", description="IANA time zone of the quiet hours: `Europe/Berlin`."
    )
    quiet_severities: Annotated[tuple[SeverityName, ...], AfterValidator(distinct)] = Field(
        default=("high", "medium", "low"), description="Alerts of which severities wait until the quiet hours are over."
    )
    escalate_after: Duration | None = Field(
        default=None,
        description="When nobody has acknowledged an alert for so long and it is not over, `escalate_to` are told too, "
        "once. Time in which quiet hours held it back does not count.",
    )
    escalate_to: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=(), description="Names of channels that are told then."
    )

    @model_validator(mode="after")
    def _whole(self) -> Route:
        if (self.escalate_after is None) != (not self.escalate_to):
            raise ValueError("escalate_after goes with escalate_to; name both or none")
        return self


class Digest(Table):
    """Once a day: what stands open, what is over, and how much was observed."""

    at: Annotated[str, matching(CLOCK, 'must be a time of day such as "08:00"')] = Field(
        description="Time of day at which it is told: `08:00`."
    )
    zone: Annotated[str, AfterValidator(zone_name)] = Field(
        default="UTC", description="IANA time zone of that time: `Europe/Berlin`."
    )
    channels: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)] = Field(
        description="Names of channels that are told."
    )
