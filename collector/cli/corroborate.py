"""``corroborate``: whether AWS itself knows of the calls that the evidence says were made, and of others.

Reads a ledger or a package, and CloudTrail with credentials of whoever runs it. Writes nothing into the ledger.
"""

from __future__ import annotations

import base64
import csv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from collector import canonical, daemon, errors
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
from collector.ledger.entry import Kind
from collector.tomlfile import nearest

if TYPE_CHECKING:
    from collector.clouds.trail import Source
    from collector.corroborate import Row, Summary

SHOWN_MAX = 20  # alarms on the terminal; the report has all
COLUMNS = (
    *("status", "run", "operation", "page", "endpoint", "request_id", "started", "principal", "error"),
    *("event_id", "event_time", "seconds_apart", "event", "event_principal", "source_ip", "event_error", "what"),
)


@dataclass(frozen=True)
class Evidence:
    """What is compared: entries of the kinds ``run`` and ``plan``, and the call logs that runs rest on."""

    since: datetime
    until: datetime
    entries: Callable[[], Iterator[Mapping[str, Any]]]
    calls: Callable[[str], bytes | None]


@app.command("corroborate")
def corroborate_command(
    window: Annotated[str, typer.Option("--window", help="The window's name in the configuration.")] = "",
    package: Annotated[
        Path | None, typer.Option("--package", help="Instead of a window: a package that you have verified.")
    ] = None,
    account: Annotated[str, typer.Option(help="The AWS account, where there are several.")] = "",
    profile: Annotated[
        str, typer.Option(help="Profile of the AWS configuration to look up with. Without: the credentials found.")
    ] = "",
    trail_bucket: Annotated[
        str, typer.Option(help="Read a trail's log files in this bucket instead of the event history of 90 days.")
    ] = "",
    trail_prefix: Annotated[
        str, typer.Option(help="What stands before ACCOUNT/CloudTrail in the bucket; AWSLogs/o-ID for an organization.")
    ] = "AWSLogs",
    report: Annotated[
        Path | None, typer.Option("--out", help="A new file for every exchange and event: .csv or .json.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Match the request ids in evidence with CloudTrail. Needs cloudtrail:LookupEvents, which the collector has not."""
    if bool(window) == (package is not None):
        raise errors.ConfigError("say what to compare: --window NAME, or --package PATH")
    if report is not None and report.suffix not in (".csv", ".json"):
        raise errors.ConfigError(f"{report}: a report ends in .csv or .json")
    if report is not None and report.exists():
        raise errors.ExportError(f"{report} is already there; it was not touched")
    with _of_package(package) if package is not None else _of_ledger(config, window) as evidence:
        summary, alarms = _compare(evidence, account, profile, trail_bucket, trail_prefix, report)
    if as_json:
        print_json(summary.record())
    else:
        _print(summary, alarms, report)
    raise typer.Exit(exit_of(summary))


def exit_of(summary: Summary) -> Exit:
    """Broken when AWS denies an exchange; blind when some could not be asked about; deviations for calls not kept."""
    from collector.corroborate import Status

    if summary.alarms:
        return Exit.BROKEN
    if summary.undecided:
        return Exit.BLIND
    return Exit.DEVIATIONS if summary.counts[Status.NOT_IN_EVIDENCE] else Exit.FINE


def _compare(
    evidence: Evidence, account: str, profile: str, bucket: str, prefix: str, report: Path | None
) -> tuple[Summary, list[Row]]:
    try:
        from collector import corroborate
        from collector.clouds import aws, aws_models, trail
    except ImportError as error:
        words = f"asking CloudTrail needs the SDK ({error.name}): pip install 'evidence-collector[aws]'"
        raise errors.ConfigError(words) from error
    now = daemon.utc_now()
    account = account or _only_account(evidence)
    runs = (data for data in evidence.entries() if data["kind"] == Kind.RUN.value)
    logs = corroborate.logs_of(runs, account, evidence.since, evidence.until)
    if not logs:
        raise errors.ExportError(f"no run over aws/{account} began in the window: there is nothing to compare")
    parts = {part for data in evidence.entries() for part in _parts(data, account)}
    home = aws.HOME_REGIONS[aws_models.partition_of(min(parts, default=aws.HOME_REGION))]
    source: Source
    if bucket:
        source = trail.Files(bucket, account, daemon.utc_now, prefix=prefix, profile=profile, home=home)
    else:
        history = trail.History(account, daemon.utc_now, profile=profile, home=home)
        history.check()
        source = history
    summary = corroborate.Summary(account, source.name, evidence.since, evidence.until, now)
    alarms: list[Row] = []
    with _report(report) as write, progress("looking up") as step:
        for row in corroborate.corroborate(summary, logs, evidence.calls, source, parts, step):
            write(row)
            if row.status in corroborate.ALARMS and len(alarms) < SHOWN_MAX:
                alarms.append(row)
        write(summary)
    return summary, alarms


def _only_account(evidence: Evidence) -> str:
    found = {
        str(data["account"]).removeprefix("aws/")
        for data in evidence.entries()
        if data["kind"] == Kind.RUN.value and str(data["account"]).startswith("aws/")
    }
    if len(found) == 1:
        return found.pop()
    words = f"choose one with --account: {', '.join(sorted(found))}" if found else "CloudTrail knows of no other cloud"
    raise errors.ConfigError(f"the evidence is about {len(found)} AWS accounts; {words}")


def _parts(data: Mapping[str, Any], account: str) -> list[str]:
    if data["kind"] != Kind.PLAN.value or data["account"] != f"aws/{account}":
        return []
    return [str(part) for part in data["parts"]]


# --- where evidence lies ---


@contextmanager
def _of_ledger(config: Path, window: str) -> Iterator[Evidence]:
    settings = settings_of(config)
    found = settings.windows.get(window)
    if found is None:
        raise errors.ConfigError(f"the configuration has no window {window!r}; {nearest(window, settings.windows)}")
    with reading(settings) as ledger:
        yield Evidence(
            found.since,
            found.until,
            lambda: (entry.data for entry in ledger.entries(kinds=[Kind.RUN, Kind.PLAN])),
            lambda digest: ledger.blob(digest) if ledger.has_blob(digest) else None,
        )


@contextmanager
def _of_package(path: Path) -> Iterator[Evidence]:
    """A folder or a zip. It is taken at its word: ``collector verify`` is what proves it."""
    with _opened(path) as open_file:

        def read(name: str) -> bytes | None:
            file = open_file(name)
            if file is None:
                return None
            with file:
                return file.read()

        def entries() -> Iterator[Mapping[str, Any]]:
            file = open_file("ledger/entries.jsonl")
            if file is None:
                raise errors.ExportError(f"{path} is no evidence package: it has no ledger/entries.jsonl")
            with file:
                for line in file:
                    if b'"kind":"run"' in line or b'"kind":"plan"' in line:
                        yield canonical.parse(line)

        try:
            envelope = canonical.parse(read("manifest.dsse.json") or b"null")
            span = canonical.parse(base64.b64decode(envelope["payload"]))["predicate"]["window"]
            since, until = canonical.moment(span["since"]), canonical.moment(span["until"])
        except (KeyError, TypeError, ValueError) as error:
            raise errors.ExportError(f"{path} is no evidence package: {error!r}") from error
        yield Evidence(since, until, entries, lambda digest: read(f"objects/{digest[:2]}/{digest[2:]}"))


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], IO[bytes] | None]]:
    """How to open a file of a package; None for one that it has not."""
    if path.is_dir():
        yield lambda name: (path / name).open("rb") if (path / name).is_file() else None
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise errors.ExportError(f"{path} cannot be read: {error}") from error
    with archive:
        names = set(archive.namelist())
        yield lambda name: archive.open(name) if name in names else None


# --- the report ---


@contextmanager
def _report(path: Path | None) -> Iterator[Callable[[Row | Summary], None]]:
    """Takes the rows and at last the summary. The file is there whole or not at all."""
    from collector.corroborate import Row

    if path is None:
        yield lambda item: None
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("x", newline="", encoding="utf-8") as file:
            made = _Csv(file) if path.suffix == ".csv" else _Json(file)
            yield lambda item: made.row(item) if isinstance(item, Row) else made.end(item)
        partial.replace(path)
    except OSError as error:
        raise errors.ExportError(f"{path} cannot be written: {error.strerror}; nothing is left of it") from error
    finally:
        partial.unlink(missing_ok=True)


class _Csv:
    """One line a row; the summary is printed only."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._writer.writerow(COLUMNS)

    def row(self, row: Row) -> None:
        from collector.export.workbook import neutral

        values = record_of(row)
        self._writer.writerow([neutral(str(values.get(name, ""))) for name in COLUMNS])

    def end(self, summary: Summary) -> None:
        pass


class _Json:
    """One object with ``rows`` and ``summary``, a line each."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._file.write('{"rows": [')
        self._between = "\n"

    def row(self, row: Row) -> None:
        self._file.write(self._between + canonical.record(record_of(row)).decode())
        self._between = ",\n"

    def end(self, summary: Summary) -> None:
        self._file.write('\n], "summary": ' + canonical.record(summary.record()).decode() + "}\n")


def record_of(row: Row) -> dict[str, Any]:
    """A row by the names of ``COLUMNS``; what it has not is left out."""
    found: dict[str, Any] = {"status": row.status.value, "what": row.what}
    if row.asked is not None:
        exchange = row.asked.exchange
        found |= {
            "run": row.asked.run,
            "operation": exchange.operation,
            "page": exchange.page,
            "endpoint": exchange.endpoint,
            "request_id": exchange.request_id,
            "started": canonical.stamp(exchange.started),
            "principal": row.asked.principal,
            "error": exchange.error,
        }
    if row.event is not None:
        event = row.event
        found |= {
            "request_id": event.request_id,
            "event_id": event.id,
            "event_time": canonical.stamp(event.at),
            "event": f"{event.source}:{event.name}",
            "event_principal": event.principal,
            "source_ip": event.address,
            "event_error": event.error,
        }
    if row.seconds is not None:
        found["seconds_apart"] = row.seconds
    return found


def _print(summary: Summary, alarms: list[Row], report: Path | None) -> None:
    table = table_of("", "status", "count")
    for status, count in summary.record()["counts"].items():
        if count:
            table.add_row(status, str(count))
    out.print(f"aws/{summary.account}: {summary.exchanges} exchanges against the {summary.source}.", markup=False)
    out.print(table)
    for row in alarms:
        shown = record_of(row)
        words = f"{shown['status']}: run {shown.get('run')}: {shown.get('operation')} {shown.get('request_id')}"
        out.print(f"{words}: {shown['what']}", markup=False)
    if summary.alarms > len(alarms):
        out.print(f"and {summary.alarms - len(alarms)} more")
    for name, count in summary.uncalled.most_common(SHOWN_MAX):
        out.print(f"not in evidence: {count} x {name}", markup=False)
    for where, why in list(summary.blind.items())[:SHOWN_MAX]:
        out.print(f"not looked at: {where}: {why}", markup=False)
    if report is not None:
        out.print(f"Every exchange and event: {report}", markup=False)
