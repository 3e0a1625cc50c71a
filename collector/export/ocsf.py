"""A window as OCSF Compliance Findings (class 2003), one JSON object a line, for a SIEM or a data lake.

Written to OCSF 1.6.0, which AWS Security Hub reads; the tests hold it to the schemas of 1.5.0 to 1.8.0. Source:
schema.ocsf.io/1.6.0/classes/compliance_finding, profiles ``cloud`` and ``datetime``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from collector import canonical
from collector.criteria import EDITION
from collector.export.dossier import Dossier
from collector.export.interchange import Seen, View, one_line, stable_uuid
from collector.model import Scope, State

VERSION = "1.6.0"
FINDINGS_FILE = "ocsf/findings.jsonl"  # where it lies in a package
PROVIDERS = {"aws": "AWS", "azure": "Azure", "gcp": "GCP"}
# compliance.status_id: what could not be looked at is Unknown, never Pass.
COMPLIANCE = {
    State.SATISFIED: (1, "Pass"),
    State.NOT_SATISFIED: (3, "Fail"),
    State.NOT_APPLICABLE: (99, "Not applicable"),
    State.UNDETERMINED: (0, "Unknown"),
}
GONE, LOOKED_AGAIN = (99, "No longer in the population"), (99, "Looked at again")
CREATE, UPDATE, CLOSE = (1, "Create"), (2, "Update"), (3, "Close")
NEW, IN_PROGRESS, RESOLVED, OTHER = (1, "New"), (2, "In Progress"), (4, "Resolved"), (99, "No deviation")
UNKNOWN, INFORMATIONAL = (0, "Unknown"), (1, "Informational")
OPEN = (State.NOT_SATISFIED, State.UNDETERMINED)


def lines(dossier: Dossier) -> Iterator[bytes]:
    """One event for each state that a subject was in, each with its newline, ordered by check, scope, subject and time.

    All events of one subject under one check carry the same ``finding_info.uid``. A scope that nobody looked at, or
    that could not be listed, is an event without resources. What was open and ends without another state is closed by
    an event of its own. ``severity_id`` is 0, "Unknown", wherever something is open: severity is not graded here.
    """
    view = View(dossier)
    story: tuple[str, ...] = ()
    earlier: State | None = None
    first = dossier.since
    for seen in view.seen():
        if seen.key != story:
            story, earlier, first = seen.key, None, seen.begun
        life = _life(seen.state, earlier)
        yield _line(_event(view, seen, first, seen.since, life, COMPLIANCE[seen.state]))
        earlier = seen.state
        if seen.last and seen.until is not None and seen.state in OPEN:
            how = GONE if seen.subject else LOOKED_AGAIN
            yield _line(_event(view, seen, first, seen.until, (CLOSE, RESOLVED), how))
            earlier = None


def _line(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event) + b"\n"


def _event(
    view: View,
    seen: Seen,
    first: datetime,
    at: datetime,
    life: tuple[tuple[int, str], tuple[int, str]],
    outcome: tuple[int, str],
) -> dict[str, Any]:
    dossier = view.dossier
    card = view.card(seen.check, seen.entry)
    scope = Scope.parse(seen.scope)
    (activity_id, activity), (status_id, status) = life
    severity_id, severity = INFORMATIONAL if outcome[0] in (1, 99) else UNKNOWN
    reason = seen.reason if outcome in COMPLIANCE.values() else outcome[1].lower()
    check: dict[str, Any] = {"uid": seen.check, "name": one_line(card.title if card else seen.check)}
    check["status_id"] = outcome[0]
    if card is not None and seen.kind == "run":
        check["version"] = str(card.version)
    rests: dict[str, Any] = {"ledger": dossier.origin, "kind": seen.kind}
    if seen.entry is not None:
        rests["entry"] = seen.entry
    if card is not None and seen.kind == "run":
        rests["check_source_sha256"] = card.code
    event: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200300 + activity_id,
        "type_name": f"Compliance Finding: {activity}",
        "time": _millis(at),
        "time_dt": canonical.stamp(at),
        "start_time": _millis(seen.begun),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": one_line(f"{seen.subject or seen.scope} {reason}"),
        "metadata": {
            "version": VERSION,
            "profiles": ["cloud", "datetime"],
            "uid": stable_uuid(dossier.origin, *seen.key, seen.kind, str(seen.entry), canonical.stamp(at), activity),
            "product": {
                "name": "evidence-collector",
                "vendor_name": "evidence-collector",
                "version": dossier.collector,
            },
        },
        "cloud": {"provider": PROVIDERS.get(scope.cloud, scope.cloud), "account": {"uid": scope.account}},
        "finding_info": {
            "uid": stable_uuid(dossier.origin, *seen.key),
            "title": one_line(card.title if card else seen.check),
            "desc": one_line(reason),
            "types": _types(view, seen),
            "created_time": _millis(first),
            "modified_time": _millis(at),
        },
        "compliance": {
            "standards": [EDITION],
            "requirements": list(seen.criteria),
            "control": ", ".join(control.id for control in seen.controls),
            "status_id": outcome[0],
            "status": outcome[1],
            "status_details": [one_line(reason)],
            "checks": [check],
        },
        "evidences": [{"data": rests}],
    }
    if scope.part:
        event["cloud"]["region"] = scope.part
    if seen.subject:
        event["resources"] = [{"uid": seen.subject, "name": seen.subject.rsplit("/", 1)[-1] or seen.subject}]
    if seen.accepted:
        event["comment"] = one_line(seen.accepted)
    if seen.until is not None:
        event["end_time"] = _millis(seen.until)
    return event


def _types(view: View, seen: Seen) -> list[str]:
    """The family of the check, and whether it is only tried out: then it is observed and not counted."""
    card = view.card(seen.check, seen.entry)
    return [*([card.family] if card else []), *(["preview"] if view.preview(seen.check) else [])] or ["unobserved"]


def _life(state: State, earlier: State | None) -> tuple[tuple[int, str], tuple[int, str]]:
    """Activity and status: a finding is new when something is wrong, resolved when that was seen mended."""
    if state in OPEN:
        return (UPDATE, IN_PROGRESS) if earlier in OPEN else ((CREATE if earlier is None else UPDATE), NEW)
    return (CLOSE, RESOLVED) if earlier in OPEN else ((CREATE if earlier is None else UPDATE), OTHER)


def _millis(moment: datetime) -> int:
    """OCSF ``timestamp_t``: milliseconds since 1970, rounded down."""
    return int(moment.timestamp() * 1000)
