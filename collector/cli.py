"""The command line: the only place that prints or exits. Every command is a thin layer over a room below."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from collector import __version__, canonical, daemon, errors, logs
from collector import config as config_file
from collector import controls as controls_file
from collector.check import Family, Stage, doc_of, limits_record, section_of, title_of
from collector.clouds import directory as clouds
from collector.clouds.transcript import Transcript
from collector.collect import Task, collect
from collector.config import Settings
from collector.controls import Controls
from collector.ledger.entry import Draft, Kind
from collector.ledger.store import Ledger
from collector.model import PART_WORDS, CheckRun, Scope, State
from collector.operation import Sealed
from collector.policy import aws, azure, gcp
from collector.registry import Registry
from collector.window.findings import Finding
from collector.window.slots import Slot, SlotState

if TYPE_CHECKING:
    from collector.export.dossier import Dossier


class Exit(IntEnum):
    """What the process says when it ends. Documented in docs/reference/cli.md."""

    FINE = 0
    DEVIATIONS = 1  # observed, and something is not satisfied
    USAGE = 2  # the command, the configuration or the database cannot be used as it stands
    BLIND = 3  # something could not be observed
    BROKEN = 4  # evidence does not verify


class Form(StrEnum):
    """How a policy is written."""

    NATIVE = "native"
    TERRAFORM = "terraform"


app = typer.Typer(
    name="collector",
    help="Asks AWS, Azure and GCP how your controls really are, keeps the answers as dated, tamper-evident evidence, "
    "and proves for any observation window where the controls operated, where they did not, and where nobody looked.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
checks_app = typer.Typer(help="The checks that there are.", no_args_is_help=True)
window_app = typer.Typer(help="The observation windows of the configuration.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's database.", no_args_is_help=True)
app.add_typer(checks_app, name="checks")
app.add_typer(window_app, name="window")
app.add_typer(db_app, name="db")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="COLLECTOR_CONFIG", help="The configuration file.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_CONFIG = Path("collector.toml")

MALLOC = {-8: 2, -3: 65_536, -1: 65_536}  # M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
GARBAGE = (50_000, 20, 20)  # answers are large trees without circles: looking for those every 700 objects takes a tenth
PIPE_COLUMNS = 160  # a file or a pipe has no width of its own; ARNs are long

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)


# --- how errors leave ---


def exit_for(error: errors.CollectorError) -> Exit:
    """The exit code of an error of ours."""
    if isinstance(error, errors.LedgerBroken):
        return Exit.BROKEN
    if isinstance(error, errors.CannotObserve):
        return Exit.BLIND
    return Exit.USAGE


def main() -> None:
    """The entry point: errors of ours become one sentence and an exit code; anything else is a fault of ours."""
    _small_heap()
    gc.set_threshold(*GARBAGE)
    try:
        app()
    except errors.CollectorError as error:
        _die(str(error), exit_for(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Exit.FINE) from None
    except KeyboardInterrupt:
        _die("interrupted", Exit.USAGE)


def _small_heap() -> None:
    """Tells glibc to keep two heaps for all threads and to give large answers back to the system when they are done.

    By default each thread grows a heap of its own and none shrinks (mallopt(3)); measured in bench/collect.py.
    """
    with suppress(OSError, AttributeError):  # another C library: nothing to set
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


def _die(words: str, code: Exit) -> NoReturn:
    err.print(f"collector: {words}", markup=False)
    raise SystemExit(code)


def _settings(path: Path) -> Settings:
    settings = config_file.load(path, os.environ)
    logs.setup(settings.log.format, settings.log.level)
    return settings


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@contextmanager
def progress(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere. Call what it yields with (done, of how many)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _version(value: bool) -> None:
    if value:
        out.print(f"collector {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # Library code logs through structlog; until a configuration says otherwise, only warnings are of interest.
    logs.setup("console", "warning")


# --- setting up ---


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    account: Annotated[
        str, typer.Option(help="AWS account id. Without any account, that of the AWS credentials found.")
    ] = "",
    profile: Annotated[str, typer.Option(help="Profile of the AWS configuration to use.")] = "",
    azure_tenant: Annotated[str, typer.Option(help="Entra tenant id.")] = "",
    gcp_parent: Annotated[str, typer.Option(help="Google organization, folder or project: organizations/123.")] = "",
    workspace_admin: Annotated[str, typer.Option(help="Workspace administrator in whose name users are read.")] = "",
    origin: Annotated[str, typer.Option(help="Name of the ledger, host/tenant, fixed for ever.")] = "",
) -> None:
    """Write collector.toml and controls.toml from the credentials found. Overwrites nothing."""
    targets = {name: folder / name for name in ("collector.toml", "controls.toml")}
    for path in targets.values():
        if path.exists():
            raise errors.ConfigError(f"{path} is already there; it was not touched")
    if not account and not azure_tenant and not gcp_parent:
        account = clouds.account_of(profile)
    tables, names = [], []
    if account:
        names.append(f"aws-{account}")
        tables.append(f'[[aws]]\naccount = "{account}"' + (f'\nprofile = "{profile}"' if profile else ""))
    if azure_tenant:
        names.append(f"azure-{azure_tenant}")
        tables.append(f'[[azure]]\ntenant = "{azure_tenant}"')
    if gcp_parent:
        names.append(f"gcp-{gcp_parent.replace('/', '-')}")
        admin = f'\nworkspace_admin = "{workspace_admin}"' if workspace_admin else ""
        tables.append(f'[[gcp]]\nparent = "{gcp_parent}"{admin}')
    folder.mkdir(parents=True, exist_ok=True)
    text = starter("collector.toml").replace("evidence.example.com/production", origin or f"collector.local/{names[0]}")
    text = text.replace('[[aws]]\naccount = "123456789012"', "\n\n".join(tables))
    targets["collector.toml"].write_text(text)
    try:
        config_file.load(targets["collector.toml"], {})
    except errors.ConfigError:
        targets["collector.toml"].unlink()
        raise
    targets["controls.toml"].write_text(controls_file.starter({name.partition("-")[0] for name in names}))
    out.print(f"Wrote {targets['collector.toml']} for {', '.join(names)} and {targets['controls.toml']}.")
    out.print(f"Next: collector preflight --config {targets['collector.toml']}")


def starter(name: str) -> str:
    """A file that ships as a beginning."""
    return resources.files("collector.starter").joinpath(name).read_text("utf-8")


@app.command()
def preflight(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Ask everything once, keep nothing: which checks would be blind, and why."""
    settings = _settings(config)
    registry = daemon.load_registry(settings)
    bound = daemon.load_controls(settings, registry)
    opener = daemon.directory(settings)
    rows: list[dict[str, Any]] = []
    for account in settings.accounts:
        transcript, reference = Transcript(), daemon.utc_now()
        handle = opener.open(account, transcript, reference)
        principal = handle.identity()
        parts = sorted(account.chosen or handle.parts())
        scope = account.scope
        out_line = f"{scope}: {principal}, {len(parts)} {PART_WORDS[scope.cloud]}(s): {', '.join(parts)}"
        if not as_json:
            out.print(out_line, markup=False)
        tasks = [
            Task(
                check,
                Scope(scope.cloud, scope.account, name),
                handle.within(name) if name else handle,
                bound.limits_of(id),
            )
            for id in bound.enabled
            if (check := registry[id].check).cloud == scope.cloud
            for name in (parts if check.parted else [""])
        ]
        rows += [_preflight_row(registry, run) for run in collect(tasks, daemon.utc_now)]
    blind = [row for row in rows if row["blind"]]
    if as_json:
        _print_json(rows)
    elif blind:
        table = _table("These would be blind", "check", "scope", "why", "needs")
        for row in blind:
            table.add_row(row["check"], row["scope"], row["blind"], ", ".join(row["permissions"]))
        out.print(table)
        out.print("Grant what is missing: collector policy aws|azure|gcp prints the least rights.")
    else:
        out.print(f"All {len(rows)} check runs can see their whole population.")
    raise typer.Exit(Exit.BLIND if blind else Exit.FINE)


def _preflight_row(registry: Registry, run: CheckRun) -> dict[str, Any]:
    unseen = [o.verdict.reason for o in run.observations if o.verdict.state is State.UNDETERMINED]
    return {
        "check": run.check,
        "scope": str(run.scope),
        "population": run.population,
        "blind": run.reason or (f"{len(unseen)} subjects: {unseen[0]}" if unseen else ""),
        "permissions": list(registry[run.check].check.permissions),
    }


@app.command("policy")
def policy_command(
    cloud: Annotated[str, typer.Argument(help="aws, azure or gcp.")],
    config: ConfigOption = DEFAULT_CONFIG,
    form: Annotated[
        Form,
        typer.Option("--format", help="native: IAM policy (aws), ARM template (azure), role file of gcloud (gcp)."),
    ] = Form.NATIVE,
) -> None:
    """Print the least rights for exactly the checks that are enabled (all, without a configuration)."""
    if cloud not in PART_WORDS:
        raise errors.ConfigError(f"no policy for {cloud!r}; known: {', '.join(PART_WORDS)}")
    if config.exists():
        settings = _settings(config)
        registry = daemon.load_registry(settings)
        enabled = daemon.load_controls(settings, registry).enabled
    else:
        registry = daemon.shipped()
        enabled = tuple(item.check.id for item in registry)
    checks = [registry[id].check for id in enabled if registry[id].check.cloud == cloud]
    if cloud == "aws":
        if form is Form.TERRAFORM:
            raise errors.ConfigError("the IAM policy is JSON, which Terraform's aws_iam_policy takes as it is")
        _print_json(aws.policy(checks))
    elif form is Form.TERRAFORM:
        sys.stdout.write(azure.terraform(checks) if cloud == "azure" else gcp.terraform(checks))
    elif cloud == "azure":
        _print_json(azure.template(checks))
        err.print("An administrator also consents to these application permissions of Microsoft Graph:", markup=False)
        err.print(", ".join(azure.graph_permissions(checks)) or "none", markup=False)
    else:
        sys.stdout.write(gcp.role(checks))


# --- observing ---


@app.command()
def once(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Collect now, seal what was seen, and say how every control is."""
    with daemon.opened(_settings(config)) as operation:
        operation.announce()
        sealed: list[Sealed] = []
        for account in operation.accounts:
            with progress(f"asking {account.scope}"):
                found = operation.observe(account, None)
            if found is not None:
                sealed.append(found)
        operation.checkpoint()
        runs = [run for item in sealed for run in item.runs]
        code = _exit_of_runs(runs)
        if as_json:
            _print_json([_run_record(run) for run in runs])
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
    table = _table("", "check", "scope", "population", "satisfied", "not satisfied", "n/a", "undetermined")
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
    raise typer.Exit(daemon.run(_settings(config)))


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """How every control was when it was last looked at."""
    settings = _settings(config)
    registry = daemon.load_registry(settings)
    bound = daemon.load_controls(settings, registry)
    with _reading(settings) as ledger:
        rows = _status_rows(bound, ledger)
    if as_json:
        _print_json(rows)
    else:
        table = _table(
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
    states = {row["state"] for row in rows}
    if states & {"undetermined", "never looked at"}:
        raise typer.Exit(Exit.BLIND)
    raise typer.Exit(Exit.DEVIATIONS if "not-satisfied" in states else Exit.FINE)


def _status_rows(bound: Controls, ledger: Ledger) -> list[dict[str, Any]]:
    latest = list(ledger.projection.status())
    rows: list[dict[str, Any]] = []
    for control in bound:
        mine = [row for row in latest if row.check in control.checks]
        total = {state.value: sum(row.states.get(state.value, 0) for row in mine) for state in State}
        blind = [row for row in mine if row.population is None]
        if not control.checks:
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


@contextmanager
def _reading(settings: Settings) -> Iterator[Ledger]:
    ledger = daemon.open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.close()


# --- checks ---


@checks_app.command("list")
def checks_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every check, by family. Needs no configuration."""
    registry = daemon.load_registry(_settings(config)) if config.exists() else daemon.shipped()
    rows = [_check_record(registry, item.check.id) for item in registry]
    if as_json:
        _print_json(rows)
        return
    table = _table("", "id", "family", "criteria", "title")
    for row in sorted(rows, key=lambda r: (r["family"], r["id"])):
        table.add_row(row["id"], row["family"], " ".join(row["criteria"]), row["title"])
    out.print(table)
    out.print(cells_table(registry))
    out.print(f"{len(rows)} checks. Read one: collector checks show ID. What no API tells: docs/coverage.md")


def cells_table(registry: Registry) -> Table:
    """How many checks there are for each family and cloud; those in preview and retired ones are not counted."""
    table = _table("checks of each family and cloud", "family", *PART_WORDS)
    for family in Family:
        ours = [item.check for item in registry if item.check.family is family and item.check.stage is Stage.STABLE]
        counts = Counter(check.cloud for check in ours)
        table.add_row(family.value, *(str(counts[cloud]) for cloud in PART_WORDS))
    return table


def _check_record(registry: Registry, id: str) -> dict[str, Any]:
    item = registry[id]
    check = item.check
    return {
        "id": id,
        "title": title_of(check),
        "family": check.family.value,
        "criteria": list(check.criteria),
        "permissions": list(check.permissions),
        "see": list(check.see),
        "stage": check.stage.value,
        "version": check.version,
        "per": check.per,
        "limits": limits_record(check.limits),
        "code": item.code,
        "origin": item.origin,
    }


@checks_app.command("show")
def checks_show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a check.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """One check in full: why, remedy, what it reads, how it judges examples."""
    registry = daemon.load_registry(_settings(config)) if config.exists() else daemon.shipped()
    if id not in registry:
        from difflib import get_close_matches

        near = get_close_matches(id, [item.check.id for item in registry], 1)
        raise errors.ConfigError(f"there is no check {id!r}" + (f"; did you mean {near[0]}?" if near else ""))
    check = registry[id].check
    if as_json:
        _print_json(
            {**_check_record(registry, id), "why": section_of(check, "Why"), "remedy": section_of(check, "Remedy")}
        )
        return
    out.print(f"{id}  (version {check.version}, {check.family.value}, {', '.join(check.criteria)})\n", markup=False)
    out.print(doc_of(check), markup=False)
    out.print("\nReads: " + ", ".join(check.permissions), markup=False)
    if limits := limits_record(check.limits):
        out.print("Limits: " + ", ".join(f"{name} = {value}" for name, value in limits.items()), markup=False)
    out.print("\nExamples:")
    for example in check.examples:
        verdict = check.judge(example.facts)
        out.print(f"  {verdict.state.value}: {verdict.reason}\n    {example.facts}", markup=False)


# --- windows, export, verify ---


@window_app.command("list")
def window_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """The windows that the configuration names."""
    settings = _settings(config)
    rows = [
        {"name": name, "since": canonical.stamp(w.since), "until": canonical.stamp(w.until), "zone": w.zone}
        for name, w in settings.windows.items()
    ]
    if as_json:
        _print_json(rows)
        return
    table = _table("", "name", "since", "until", "zone")
    for row in rows:
        table.add_row(*row.values())
    out.print(table)


@window_app.command("show")
def window_show(
    name: Annotated[str, typer.Argument(help="The name of a window.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Coverage, deviations and findings of one window, up to now."""
    from collector.export import read

    settings = _settings(config)
    with _reading(settings) as ledger:
        dossier = read.read(ledger, settings, name, daemon.utc_now(), upto=ledger.size())
    if as_json:
        _print_json([finding_record(finding) for finding in dossier.findings])
    else:
        out.print(findings_table(dossier))
    worst = {finding.state for finding in dossier.findings}
    if State.UNDETERMINED in worst:
        raise typer.Exit(Exit.BLIND)
    raise typer.Exit(Exit.DEVIATIONS if State.NOT_SATISFIED in worst else Exit.FINE)


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as JSON: durations in whole seconds."""
    return {
        "control": finding.control,
        "state": finding.state.value,
        "due": finding.due,
        "covered": finding.covered,
        "deviations": len(finding.deviations),
        "longest_gap_s": int(finding.longest_gap.total_seconds()),
        "words": finding.words,
    }


def findings_table(dossier: Dossier) -> Table:
    """The controls of a window with what became of them."""
    table = _table("", "control", "owner", "finding", "slots covered", "exceptions", "longest gap")
    cards = {card.id: card for card in dossier.controls}
    for finding in dossier.findings:
        table.add_row(
            f"{finding.control} {cards[finding.control].title}",
            cards[finding.control].owner,
            f"{finding.state.value}: {finding.words}",
            f"{finding.covered} of {finding.due}",
            str(len(finding.deviations)),
            words_for(finding.longest_gap),
        )
    return table


def words_for(span: timedelta) -> str:
    """A duration in the two largest units that matter: "2 d 3 h", "45 min", "none"."""
    minutes = int(span.total_seconds() // 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (rest, "min")) if count]
    return " ".join(parts[:2]) or "none"


@app.command()
def export(
    window: Annotated[str, typer.Option("--window", help="The window's name in the configuration.")],
    target: Annotated[Path, typer.Option("--out", help="The package: a new folder, or a file ending in .zip.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write the evidence package of one window: tables, report, raw answers, ledger, verifier."""
    settings = _settings(config)
    with _reading(settings) as ledger:
        info = export_window(settings, ledger, window, target, daemon.utc_now())
    if as_json:
        _print_json({"package": str(target), **info})
    else:
        out.print(f"{target}: {info['entries']} entries, {info['files']} files. Verify it: collector verify {target}")


def export_window(settings: Settings, ledger: Ledger, window: str, target: Path, now: datetime) -> dict[str, Any]:
    """Signs what there is, writes the package, then writes into the ledger that it was written."""
    from collector.export import package, read

    ledger.checkpoint(now)
    dossier = read.read(ledger, settings, window, now)
    signer = daemon.signer_of(settings)
    with progress("writing the package") as step:
        info = package.write(dossier, ledger, signer, target, step)
    with ledger.write() as batch:
        batch.add(Draft(Kind.EXPORT, now, info.fields))
    ledger.checkpoint(now)
    return {"entries": dossier.last - dossier.first, "files": info.files, "manifest": info.fields["manifest"]}


@app.command("verify")
def verify_command(
    package_path: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A folder or a .zip.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="Your own folder with log.vkey and checkpoints: what the package is held against."),
    ] = None,
    run_packaged_checks: Annotated[
        bool,
        typer.Option(help="Run check sources from the package where the installed version differs: code you trust."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove a package: integrity, continuity, plan coverage, and every verdict again from the raw answers."""
    from collector.ledger import verify as verifier

    arguments = [str(package_path)]
    if trust is not None:
        arguments += ["--trust", str(trust)]
    if run_packaged_checks:
        arguments += ["--run-packaged-checks"]
    if as_json:
        arguments += ["--json"]
    raise typer.Exit(verifier.main(arguments))


# --- the database ---


@db_app.command("upgrade")
def db_upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Create the database or bring it to this version."""
    settings = _settings(config)
    ledger = daemon.open_ledger(settings, create=True)
    out.print(f"The ledger {ledger.origin} is at this version with {ledger.size()} entries.")
    ledger.close()


@db_app.command("verify")
def db_verify(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check every entry, tile, checkpoint and blob. Exits 4 and says where it breaks."""
    settings = _settings(config)
    with _reading(settings) as ledger, progress("verifying") as step:
        found = ledger.verify(step, blobs=True)
    out.print(f"The ledger verifies: {found}")


@db_app.command("rebuild")
def db_rebuild(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Drop everything that is derived and make it again from the ledger."""
    settings = _settings(config)
    with _reading(settings) as ledger, progress("rebuilding") as step:
        ledger.rebuild(step)
        size = ledger.size()
    out.print(f"Rebuilt from {size} entries.")


# --- the demo ---


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=2, max=366, help="Length of the window in days.")] = 30,
    seed: Annotated[int, typer.Option(help="The story's seed; the same seed tells the same story.")] = 7,
    target: Annotated[Path, typer.Option("--out", help="A new folder for configuration, ledger and package.")] = Path(
        "demo-out"
    ),
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Afterwards keep the cloud and a daemon running, and print how to reach them."),
    ] = False,
) -> None:
    """Three simulated clouds, a whole window in about two minutes, then export and verify. Needs no account."""
    from collector.export import read
    from collector.ledger import verify as verifier

    try:
        from collector.demo import play
    except ImportError as error:
        raise errors.ConfigError(
            f"the demo needs its extra: pip install 'evidence-collector[demo]' ({error})"
        ) from error
    logs.setup("console", "error")  # what happens is told in tables at the end
    with progress(f"living through {days} days") as step:
        played = play.play(days=days, seed=seed, folder=target, progress=step)
    try:
        info = export_window(played.settings, played.ledger, "demo", target / "package", played.now)
        dossier = read.read(played.ledger, played.settings, "demo", played.now)
        out.print(findings_table(dossier))
        out.print(deviations_table(dossier))
        out.print(gaps_table(dossier))
        out.print(
            f"{len(dossier.alerts)} alerts raised, {played.received} received by the webhook on loopback; "
            f"{info['entries']} ledger entries; {played.slots} account runs in {played.seconds:.0f} s.\n"
        )
        out.print(f"Package: {target / 'package'}   (open report.html in a browser, tables/tables.xlsx in Excel)\n")
        code = verifier.main([str(target / "package")])
        if serve:
            played.serve(out.print)
    finally:
        played.close()
    raise typer.Exit(code)


def deviations_table(dossier: Dossier) -> Table:
    """The exceptions that began inside a window, with how long they lasted; those of the first look are counted."""
    first = min((slot.run.seq for slot in dossier.slots if slot.run is not None), default=0)
    looks = {(s.due.check, s.due.scope): s.run.seq for s in reversed(dossier.slots) if s.run is not None}
    began = [d for d in dossier.deviations if d.first_bad > looks.get((d.check, d.scope), first)]
    others = len(dossier.deviations) - len(began)
    table = _table(f"\nExceptions that began in the window ({others} more stood from the first look on)", *HEADS)
    for d in began:
        lasted = words_for(d.duration) if d.until else f"{words_for(d.duration)}, still open"
        table.add_row(d.check, d.subject, f"{d.since:%m-%d %H:%M}", lasted, d.reason)
    return table


HEADS = ("check", "subject", "from", "lasted", "what")


def gaps_table(dossier: Dossier) -> Table:
    """Where nobody looked, one line a reason."""
    table = _table("\nNobody looked", "slots", "first", "last", "why")
    by_reason: dict[str, list[Slot]] = {}
    for slot in dossier.slots:
        if slot.state in (SlotState.GAP, SlotState.MISSED, SlotState.PARTIAL):
            by_reason.setdefault(slot.reason, []).append(slot)
    for reason, slots in sorted(by_reason.items(), key=lambda item: item[1][0].due.at):
        table.add_row(str(len(slots)), f"{slots[0].due.at:%m-%d %H:%M}", f"{slots[-1].due.at:%m-%d %H:%M}", reason)
    return table
