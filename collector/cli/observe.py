"""``once``, ``run`` and ``status``: collecting, and how things were when they were last looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from collector import canonical, daemon
from collector.check import Stage
from collector.cli.app import app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    Exit,
    JsonOption,
    out,
    print_json,
    progress,
    reading,
    settings_of,
    table_of,
)
from collector.config import Settings
from collector.controls import Controls
from collector.ledger.store import Ledger
from collector.model import CheckRun, State
from collector.operation import Sealed
from collector.registry import Registry
from collector.window import history

if TYPE_CHECKING:
    from collector.export.glance import Glance


@app.command()
def once(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Collect now, seal what was seen, and say how every control is."""
    with daemon.opened(settings_of(config)) as operation:
        anchoring = daemon.anchoring(operation)
        anchoring.begin()
        operation.announce()
        sealed: list[Sealed] = []
        for account in operation.accounts:
            with progress(f"asking {account.scope}"):
                found = operation.observe(account, None)
            if found is not None:
                sealed.append(found)
        operation.checkpoint()
        if anchoring.places:
            with progress("anchoring"):
                anchoring.put_newest()
            operation.checkpoint()
        runs = [run for item in sealed for run in item.runs]
        code = _exit_of_runs(runs) if len(sealed) == len(operation.accounts) else Exit.BLIND
        if as_json:
            print_json([_run_record(run) for run in runs])
        else:
            _print_runs(runs)
            exchanges = sum(item.exchanges for item in sealed)
            out.print(f"{exchanges} exchanges sealed; the ledger has {operation.ledger.size()} entries.")
    raise typer.Exit(code)


def _exit_of_runs(runs: Sequence[CheckRun]) -> Exit:
    counts = [run.counts() for run in runs]
    if any(run.population is None for run in runs) or any(count["undetermined"] for count in counts):
        return Exit.BLIND
    return Exit.DEVIATIONS if any(count["not-satisfied"] for count in counts) else Exit.FINE


def _run_record(run: CheckRun) -> dict[str, Any]:
    return {
        "check": run.check,
        "scope": str(run.scope),
        "population": run.population,
        "states": run.counts() if run.population is not None else {},
        "reason": run.reason,
        "failure": run.failure,
        "not_satisfied": [
            {"subject": o.subject, "reason": o.verdict.reason}
            for o in run.observations
            if o.verdict.state is State.NOT_SATISFIED
        ],
        "undetermined": [
            {"subject": o.subject, "reason": o.verdict.reason}
            for o in run.observations
            if o.verdict.state is State.UNDETERMINED
        ],
    }


def _print_runs(runs: Sequence[CheckRun]) -> None:
    table = table_of("", "check", "scope", "population", "satisfied", "not satisfied", "n/a", "undetermined")
    for run in sorted(runs, key=lambda r: (r.check, r.scope)):
        if run.population is None:
            table.add_row(run.check, str(run.scope), "unknown", "", "", "", run.reason)
            continue
        count = run.counts()
        table.add_row(
            run.check,
            str(run.scope),
            str(run.population),
            str(count["satisfied"]),
            str(count["not-satisfied"]),
            str(count["not-applicable"]),
            str(count["undetermined"]),
        )
    out.print(table)
    for run in runs:
        for o in run.observations:
            if o.verdict.state in (State.NOT_SATISFIED, State.UNDETERMINED):
                out.print(f"{o.verdict.state.value}: {run.check}: {o.subject} {o.verdict.reason}", markup=False)


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """The daemon: plan, observe, seal, alert, until SIGTERM."""
    raise typer.Exit(daemon.run(settings_of(config)))


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """How every control was when it was last looked at, and the windows that are running as a picture."""
    settings = settings_of(config)
    registry = daemon.load_registry(settings)
    bound = daemon.load_controls(settings, registry)
    with reading(settings) as ledger:
        rows = _status_rows(bound, ledger)
        running = [] if as_json else _running(settings, bound, registry, ledger)
        itself = "" if as_json else _itself(settings, ledger)
    if as_json:
        print_json(rows)
    else:
        table = table_of(
            "", "control", "title", "owner", "state", "subjects", "not satisfied", "undetermined", "last looked at"
        )
        for row in rows:
            table.add_row(
                row["control"],
                row["title"],
                row["owner"],
                row["state"],
                str(row["subjects"]),
                str(row["not_satisfied"]),
                str(row["undetermined"]),
                row["last"] or "never",
            )
        out.print(table)
        out.print(f"The collector itself: {itself}", markup=False)
        _print_running(running)
    states = {row["state"] for row in rows}
    if states & {"undetermined", "never looked at"}:
        raise typer.Exit(Exit.BLIND)
    raise typer.Exit(Exit.DEVIATIONS if "not-satisfied" in states else Exit.FINE)


def _itself(settings: Settings, ledger: Ledger) -> str:
    """Whether the collector is alive, in a line."""
    from collector.export.itself import lately

    return lately(ledger, settings, daemon.utc_now())


def _running(settings: Settings, bound: Controls, registry: Registry, ledger: Ledger) -> list[Glance]:
    """The windows that are running, each up to now; not those that a person closed before their end."""
    from collector.export import recorded
    from collector.export.glance import glance

    told = recorded.histories(ledger)

    now, grace = daemon.utc_now(), timedelta(seconds=settings.schedule.grace)
    preview = {check for check in bound.enabled if registry[check].check.stage is Stage.PREVIEW}
    controls = [
        (control.id, control.criteria, [check for check in control.checks if check not in preview]) for control in bound
    ]
    found = [
        glance(ledger.projection, name, window, controls, now, grace)
        for name, window in settings.windows.items()
        if window.since <= now < window.until and history.closed(told.get(name, ())) is None
    ]
    return [item for item in found if item is not None]


def _print_running(running: Sequence[Glance]) -> None:
    """A picture of each."""
    from collector.cli import picture

    for item in running:
        begin, end = (at.astimezone(item.zone) for at in (item.since, item.ends))
        over = picture.share_of(item.since, item.until, item.ends)
        if item.whole:
            words = f"{begin:%Y-%m-%d} to {end:%Y-%m-%d} {item.zone.key}, {over}"
        else:
            words = f"the newest part, since {begin:%Y-%m-%d %H:%M}; all of it: collector window show {item.name}"
        out.print(f"\nWindow {item.name}: {words}", markup=False)
        stretch = (item.since, item.until, item.ends)
        picture.show(out, item.controls, item.slots, item.coverage, stretch, item.zone)


def _status_rows(bound: Controls, ledger: Ledger) -> list[dict[str, Any]]:
    latest = list(ledger.projection.status())
    rows: list[dict[str, Any]] = []
    for control in bound:
        mine = [row for row in latest if row.check in control.checks]
        total = {state.value: sum(row.states.get(state.value, 0) for row in mine) for state in State}
        blind = [row for row in mine if row.population is None]
        if control.by_collector:
            state = "evidenced by the collector itself"
        elif not control.checks:
            state = "evidenced elsewhere"
        elif not mine:
            state = "never looked at"
        elif total["not-satisfied"]:
            state = State.NOT_SATISFIED.value
        elif blind or total["undetermined"]:
            state = State.UNDETERMINED.value
        else:
            state = State.SATISFIED.value
        rows.append(
            {
                "control": control.id,
                "title": control.title,
                "owner": control.owner,
                "criteria": list(control.criteria),
                "checks": list(control.checks),
                "state": state,
                "subjects": sum(total.values()),
                "not_satisfied": total["not-satisfied"],
                "undetermined": total["undetermined"],
                "without_population": [f"{row.check} over {row.scope}" for row in blind],
                "last": canonical.stamp(max(row.finished for row in mine)) if mine else None,
            }
        )
    return rows
