"""The operator's control file: what the entity says it does, who owns it, which checks test it. Makes no verdicts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field

from collector import tomlfile
from collector.check import AnyCheck, Stage, limits_record, limits_with
from collector.config_values import Criteria
from collector.errors import ConfigError
from collector.model import PART_WORDS
from collector.tomlfile import Duration, Name, Seconds, Table, Text, Whole, distinct, matching, nearest

LISTED_MAX = 80  # characters of a list of checks on one line
CADENCE_SECONDS_MIN = 300  # the providers' own reports are older than that
CADENCE_SECONDS_MAX = 31 * 86_400


ROWS_MAX = 24  # runs in a row that may be asked for before an alert begins or ends


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class HoldsCheck(Protocol):
    """What of ``collector.registry.Registered`` is used here."""

    @property
    def check(self) -> AnyCheck: ...


class KnowsChecks(Protocol):
    """What of ``collector.registry.Registry`` is used here."""

    def get(self, id: str) -> HoldsCheck | None: ...

    def __iter__(self) -> Iterator[HoldsCheck]: ...


@dataclass(frozen=True)
class Control:
    """What the entity says it does. Without checks it is evidenced elsewhere, and exports say so."""

    id: str
    title: str
    owner: str
    criteria: tuple[str, ...]
    checks: tuple[str, ...]
    cadence_s: int
    limits: Mapping[str, Mapping[str, int]]  # by check, only what the operator set
    channels: tuple[str, ...] | None  # None: the routes of the configuration decide
    severity: Severity = Severity.HIGH
    confirm: int = 1
    steady: int = 1
    by_hand: str = ""  # what no check can show, and what to collect for it
    by_collector: bool = False  # the collector itself is the evidence of it: its heartbeats, slots and alerts


class Controls:
    """All controls, in the order of the file, and what they ask of each check."""

    def __init__(self, controls: Iterable[Control], limits: Mapping[str, Any]) -> None:
        self._by_id = {control.id: control for control in controls}
        self._limits = dict(limits)
        self._by_check: dict[str, tuple[Control, ...]] = {}
        for control in self._by_id.values():
            for check in control.checks:
                self._by_check[check] = (*self._by_check.get(check, ()), control)

    def __iter__(self) -> Iterator[Control]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    def __getitem__(self, id: str) -> Control:
        return self._by_id[id]

    @property
    def enabled(self) -> tuple[str, ...]:
        """The ids of the checks that any control names, sorted."""
        return tuple(sorted(self._by_check))

    def controls_of(self, check: str) -> tuple[Control, ...]:
        """The controls that a check tests, in the order of the file; none when it is not enabled."""
        return self._by_check.get(check, ())

    def cadence_of(self, check: str) -> int:
        """Every how many seconds an enabled check runs: the shortest cadence of its controls. Raises KeyError."""
        return min(control.cadence_s for control in self._by_check[check])

    def limits_of(self, check: str) -> Any:
        """The limits of an enabled check with the operator's numbers; None when it has none. Raises KeyError."""
        return self._limits[check]

    def rows_of(self, check: str) -> tuple[int, int]:
        """How many runs in a row must be bad before an alert of a check begins, and good before it ends: as soon as the
        most demanding of its controls asks, and no sooner than all of them do. 1 and 1 when it is not enabled."""
        bound = self._by_check.get(check, ())
        confirm = min((control.confirm for control in bound), default=1)
        return confirm, max((control.steady for control in bound), default=1)

    def record(self) -> dict[str, Any]:
        """The controls as they are written into the ledger, with the limits in force."""
        return {
            control.id: {
                "title": control.title,
                "owner": control.owner,
                "criteria": list(control.criteria),
                "checks": list(control.checks),
                "cadence_s": control.cadence_s,
                "limits": {check: found for check in control.checks if (found := limits_record(self._limits[check]))},
                "channels": None if control.channels is None else list(control.channels),
                "severity": control.severity.value,
                "confirm": control.confirm,
                "steady": control.steady,
                "by_hand": control.by_hand,
                # only where it is said: of all others the configuration is what it was before this key existed
                **({"by_collector": True} if control.by_collector else {}),
            }
            for control in self
        }


# --- the file ---


def _cadence(seconds: Seconds) -> Seconds:
    if not CADENCE_SECONDS_MIN <= seconds <= CADENCE_SECONDS_MAX:
        least, most = (tomlfile.duration_text(bound) for bound in (CADENCE_SECONDS_MIN, CADENCE_SECONDS_MAX))
        raise ValueError(f"must be from {least} to {most}")
    return seconds


class ControlTable(Table):
    """What the entity says it does. `ID` is its name for ever: findings, alerts and exports carry it."""

    title: Text = Field(description="What is true when the control operates, in one sentence.")
    owner: Text = Field(description="Who answers for it: a team or a person. Alerts can be routed by it.")
    criteria: Criteria = Field(min_length=1, description="Trust Services Criteria that it serves: `CC6.1`.")
    checks: Annotated[tuple[Text, ...], AfterValidator(distinct)] = Field(
        default=(), description="Ids of the checks that test it. Empty: it is evidenced elsewhere, and exports say so."
    )
    cadence: Annotated[Duration, AfterValidator(_cadence)] = Field(
        default=Seconds(3600),
        description="How often its checks run. A check of two controls runs as often as the more demanding one says.",
    )
    limits: Mapping[str, Mapping[str, Whole]] = Field(
        default={}, description="Limits of its checks: `{ check-id = { name = number } }`. Left out: the check's own."
    )
    channels: Annotated[tuple[Name, ...], AfterValidator(distinct)] | None = Field(
        default=None, description="Channels that its alerts go over, whatever the routes say. Left out: the routes."
    )
    severity: Severity = Field(
        default=Severity.HIGH,
        description="How bad it is when it does not hold. A check of two controls is as bad as the worse one says.",
    )
    confirm: Annotated[Whole, Field(ge=1, le=ROWS_MAX)] = Field(
        default=1,
        description="How many runs in a row must find a subject bad before an alert begins. Runs that could not see it "
        "neither count nor break the row. Of two controls of a check the smaller number holds.",
    )
    steady: Annotated[Whole, Field(ge=1, le=ROWS_MAX)] = Field(
        default=1,
        description="How many runs in a row must find a subject good before its alert is over. Of two controls of a "
        "check the larger number holds.",
    )
    by_hand: Text = Field(
        default="",
        description="What no check can show of it, and what to collect by hand for each window. Exports print it.",
    )
    by_collector: bool = Field(
        default=False,
        description="The collector itself is the evidence of it: that it looked all the time (CC4.1), that it told "
        "somebody (CC4.2). Such a control binds no checks; its finding is the collector's own.",
    )


ControlId = Annotated[
    str,
    matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a control's id is made of letters, digits, full stops and hyphens"),
]


class ControlFile(Table):
    """The whole file."""

    controls: Mapping[ControlId, ControlTable] = Field(description="At least one [controls.ID].", min_length=1)


_OWN = tuple(field.name for field in fields(Control) if field.name != "id")
_FIELDS = {"cadence_s": "cadence"}  # where the file says it in another word


def load(path: Path, registry: KnowsChecks) -> Controls:
    """The controls of a file. Raises ConfigError with one sentence.

    Refused are unknown and retired checks, unknown criteria, limits that a check does not have, and two controls that
    set different limits for one check: a check gives one verdict.
    """
    raw = tomlfile.read(path, "write one with `collector init`")
    tables = tomlfile.parse(ControlFile, raw, str(path)).controls
    controls = [
        Control(id, **{name: getattr(table, _FIELDS.get(name, name)) for name in _OWN}) for id, table in tables.items()
    ]
    limits: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for control in controls:
        where = f"{path}: [controls.{control.id}]"
        if control.by_collector and control.checks:
            raise ConfigError(f"{where} is evidenced by the collector itself and binds checks; leave one of them out")
        for id in control.limits:
            if id not in control.checks:
                raise ConfigError(f"{where} limits {id!r}, which is none of its checks; {nearest(id, control.checks)}")
        for id in control.checks:
            check = _known(registry, id, where)
            if id not in control.limits:
                limits.setdefault(id, check.limits)
                continue
            try:
                found = limits_with(check, control.limits[id])
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
            if id in set_by and limits[id] != found:
                raise ConfigError(f"{where} sets other limits for {id} than [controls.{set_by[id]}]; make them agree")
            limits[id] = found
            set_by[id] = control.id
    return Controls(controls, limits)


def _known(registry: KnowsChecks, id: str, where: str) -> AnyCheck:
    found = registry.get(id)
    if found is None:
        known = [item.check.id for item in registry]
        raise ConfigError(f"{where} names the check {id!r}, which is not there; {nearest(id, known)}")
    if found.check.stage is Stage.RETIRED:
        raise ConfigError(f"{where} names the check {id!r}, which is retired; remove it")
    return found.check


def starter(clouds: Collection[str]) -> str:
    """The control file to begin with, for whoever uses these clouds ("aws", "azure", "gcp").

    Checks of other clouds are left out, and with them the controls that nothing else tests.
    """
    text = resources.files("collector.starter").joinpath("controls.toml").read_text("utf-8")
    others = tuple(f"{cloud}-" for cloud in PART_WORDS if cloud not in clouds)
    kept = []
    for table in text.split("\n[controls."):
        found = re.search(r"^checks = \[(.*?)\]$", table, re.DOTALL | re.MULTILINE)
        every = re.findall(r'"([^"]+)"', found[1]) if found else []
        ours = [id for id in every if not id.startswith(others)] if others else every
        if found is None or ours == every:
            kept.append(table)
        elif ours:
            listed = ", ".join(f'"{id}"' for id in ours)
            if len(listed) > LISTED_MAX:
                listed = "\n" + "".join(f'    "{id}",\n' for id in ours)
            kept.append(table.replace(found[0], f"checks = [{listed}]"))
        else:  # a heading that ends the table belongs to the next one
            kept[-1] += "".join(f"\n{line}\n" for line in table.splitlines() if line.startswith("# ---"))
    return "\n[controls.".join(kept)


def reference() -> str:
    """The control file as a Markdown page, made from the models above."""
    return (
        "# The control file\n\n"
        "One TOML file. Each control is a table of its own, and binds checks to criteria and to an owner. A check that "
        "no control names is not run."
        f"\n\n{tomlfile.reference(ControlFile, {'controls': '[controls.ID]'})}\n"
    )
