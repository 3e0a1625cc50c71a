"""``accept``, ``ack`` and ``decisions``: what people decide about deviations and say about alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from collector import canonical, daemon, decisions
from collector.cli.app import app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    out,
    print_json,
    reading,
    settings_of,
    table_of,
)
from collector.errors import ConfigError
from collector.ledger.entry import Kind


@app.command()
def accept(
    check: Annotated[str, typer.Option(help="Id of the check whose deviation is accepted.")] = "",
    scope: Annotated[str, typer.Option(help="Where: aws/123456789012, or with a region behind it.")] = "",
    subject: Annotated[str, typer.Option(help="Full name of the subject. Left out: every one in the scope.")] = "",
    approver: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    expires: Annotated[str, typer.Option(help="Until when: 2026-12-31, or a time with its zone.")] = "",
    ticket: Annotated[str, typer.Option(help="Where it is tracked.")] = "",
    revoke: Annotated[int | None, typer.Option(metavar="ENTRY", help="End this acceptance before its time.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write down that somebody lives with a deviation until a day. Changes no verdict; exports show it beside it."""
    settings = settings_of(config)
    now = daemon.utc_now()
    with reading(settings) as ledger:
        if revoke is not None:
            entry = decisions.revoke(ledger, now, seq=revoke, approver=approver, reason=reason)
        else:
            registry = daemon.load_registry(settings)
            entry = decisions.accept(
                ledger,
                daemon.load_controls(settings, registry),
                now,
                check=check,
                scope=scope,
                subject=subject,
                approver=approver,
                reason=reason,
                expires=moment_of(expires, "--expires"),
                ticket=ticket,
            )
    if as_json:
        print_json(entry.data)
    else:
        out.print(f"Entry {entry.seq} of the ledger says so.")


@app.command()
def ack(
    alert: Annotated[int, typer.Argument(metavar="ENTRY", help="The alert's entry, as the message names it.")],
    person: Annotated[str, typer.Option(help="Who takes note.")],
    note: Annotated[str, typer.Option(help="What they say.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write down that somebody has taken note of an alert."""
    settings = settings_of(config)
    with reading(settings) as ledger:
        now = daemon.utc_now()
        entry = decisions.acknowledge(ledger, now, alert=alert, person=person, note=note, settings=settings)
    if as_json:
        print_json(entry.data)
    else:
        out.print(f"Entry {entry.seq} of the ledger says so.")


@app.command("decisions")
def list_decisions(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every acceptance with what became of it, and the alerts that stand open with who took note."""
    now = daemon.utc_now()
    with reading(settings_of(config)) as ledger:
        known = decisions.standing(ledger)
        opened = sorted(ledger.projection.open_alerts().values(), key=lambda entry: entry.seq)
        acks: dict[int, list[str]] = {}
        for entry in ledger.entries(kinds=[Kind.ACK]):
            acks.setdefault(entry.data["alert"], []).append(entry.data["person"])
    rows = [
        {
            "entry": item.seq,
            "state": _state(item, now),
            "control": item.control,
            "check": item.check,
            "scope": item.scope,
            "subject": item.subject,
            "approver": item.approver,
            "reason": item.reason,
            "ticket": item.ticket,
            "expires": canonical.stamp(item.expires),
        }
        for item in known
    ]
    alerts = [{"alert": entry.seq, **entry.data, "acknowledged_by": acks.get(entry.seq, [])} for entry in opened]
    if as_json:
        print_json({"acceptances": rows, "open_alerts": alerts})
        return
    table = table_of("Acceptances", "entry", "state", "control", "subject", "approver", "until", "reason")
    for row in rows:
        subject = row["subject"] or f"every subject of {row['check']} over {row['scope']}"
        cells = (row["state"], row["control"], subject, row["approver"], row["expires"], row["reason"])
        table.add_row(str(row["entry"]), *map(str, cells))
    out.print(table)
    table = table_of("\nOpen alerts", "entry", "cause", "subject", "since", "taken note of by")
    for alert in alerts:
        who = ", ".join(alert["acknowledged_by"]) or "nobody"
        table.add_row(str(alert["alert"]), alert["cause"], alert["subject"] or alert["scope"], alert["since"], who)
    out.print(table)


def _state(item: decisions.Acceptance, now: datetime) -> str:
    if item.revoked_by is not None:
        return f"revoked by entry {item.revoked_by}"
    return "in force" if now < item.expires else "expired"


def moment_of(text: str, option: str) -> datetime:
    """A day (its first moment in UTC) or a time with its zone. Raises ConfigError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no day or time; write 2026-12-31 or 2026-12-31T18:00:00Z") from error
    if found.tzinfo is None:
        if len(text) > 10:
            raise ConfigError(f"{option} {text!r} has no zone; add Z for UTC")
        found = found.replace(tzinfo=UTC)
    return found
