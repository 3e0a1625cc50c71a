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
from collector.export.dossier import CheckCard, Dossier
from collector.export.interchange import Seen, one_line, seen_in, stable_uuid
from collector.model import Scope, State

VERSION = "1.6.0"
PROVIDERS = {"aws": "AWS", "azure": "Azure", "gcp": "GCP"}
# compliance.status_id: what could not be looked at is Unknown, never Pass.
COMPLIANCE = {
    State.SATISFIED: (1, "Pass"),
    State.NOT_SATISFIED: (3, "Fail"),
    State.NOT_APPLICABLE: (99, "Not applicable"),
    State.UNDETERMINED: (0, "Unknown"),
}
CREATE, UPDATE, CLOSE = (1, "Create"), (2, "Update"), (3, "Close")
NEW, IN_PROGRESS, RESOLVED, OTHER = (1, "New"), (2, "In Progress"), (4, "Resolved"), (99, "No deviation")
OPEN = (State.NOT_SATISFIED, State.UNDETERMINED)


def lines(dossier: Dossier) -> Iterator[bytes]:
    """One event for each state that a subject was in, each with its newline, ordered by check, scope and subject.

    All events of one subject under one check carry the same ``finding_info.uid``. ``severity_id`` is 0, "Unknown",
    wherever there is a deviation: the collector does not grade severity; 1 where there is none.
    """
    cards = {card.id: card for card in dossier.checks}
    before: tuple[str, State | None] = ("", None)
    first: datetime | None = None
    for seen in seen_in(dossier):
        item = seen.stretch
        uid = stable_uuid(dossier.origin, item.check, item.scope, item.subject)
        earlier = before[1] if before[0] == uid else None
        if before[0] != uid or first is None:
            first = item.from_at
        yield orjson.dumps(_event(dossier, seen, cards[item.check], uid, earlier, first)) + b"\n"
        before = (uid, item.state)


def _event(
    dossier: Dossier, seen: Seen, card: CheckCard, uid: str, earlier: State | None, first: datetime
) -> dict[str, Any]:
    item = seen.stretch
    scope = Scope.parse(item.scope)
    (activity_id, activity), (status_id, status) = _life(item.state, earlier)
    compliance_id, compliance = COMPLIANCE[item.state]
    begun = seen.since
    event: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200300 + activity_id,
        "type_name": f"Compliance Finding: {activity}",
        "time": _millis(begun),
        "time_dt": canonical.stamp(begun),
        "start_time": _millis(item.from_at),
        "severity_id": 0 if item.state in OPEN else 1,
        "severity": "Unknown" if item.state in OPEN else "Informational",
        "status_id": status_id,
        "status": status,
        "message": one_line(f"{item.subject or item.scope} {item.reason}"),
        "metadata": {
            "version": VERSION,
            "profiles": ["cloud", "datetime"],
            "uid": f"{dossier.origin}#{item.from_run}",
            "product": {
                "name": "evidence-collector",
                "vendor_name": "evidence-collector",
                "version": dossier.collector,
            },
        },
        "cloud": {"provider": PROVIDERS[scope.cloud], "account": {"uid": scope.account}},
        "finding_info": {
            "uid": uid,
            "title": card.title,
            "desc": one_line(item.reason),
            "types": [card.family],
            "created_time": _millis(first),
            "modified_time": _millis(begun),
        },
        "compliance": {
            "standards": [EDITION],
            "requirements": list(seen.criteria),
            "control": ", ".join(control.id for control in seen.controls),
            "status_id": compliance_id,
            "status": compliance,
            "status_details": [one_line(item.reason)],
            "checks": [{"uid": card.id, "name": card.title, "version": str(card.version), "status_id": compliance_id}],
        },
        "evidences": [{"data": {"ledger": dossier.origin, "entry": item.from_run, "check_source_sha256": card.code}}],
    }
    if scope.part:
        event["cloud"]["region"] = scope.part
    if item.subject:
        event["resources"] = [{"uid": item.subject, "name": item.subject.rsplit("/", 1)[-1] or item.subject}]
    if item.to_at is not None:
        event["end_time"] = _millis(item.to_at)
    return event


def _life(state: State, earlier: State | None) -> tuple[tuple[int, str], tuple[int, str]]:
    """Activity and status: a finding is new when something is wrong, resolved when that was seen mended."""
    if state in OPEN:
        return (UPDATE, IN_PROGRESS) if earlier in OPEN else ((CREATE if earlier is None else UPDATE), NEW)
    return (CLOSE, RESOLVED) if earlier in OPEN else ((CREATE if earlier is None else UPDATE), OTHER)


def _millis(moment: datetime) -> int:
    """OCSF ``timestamp_t``: milliseconds since 1970, rounded down."""
    return int(moment.timestamp() * 1000)
