"""A window as OSCAL 1.2.1 assessment results, written piece by piece. Not OSCAL's catalogue: there is none for SOC 2.

Controls are named by the ids of the Trust Services Criteria in lower case (``cc6.1``). Source:
pages.nist.gov/OSCAL-Reference/models/v1.2.1/assessment-results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from collector import canonical
from collector.criteria import CRITERIA, EDITION
from collector.export.dossier import ControlCard, Dossier
from collector.export.interchange import Seen, one_line, seen_in, stable_uuid
from collector.model import State
from collector.window.findings import Finding

VERSION = "1.2.1"
NAMESPACE = "urn:evidence-collector:oscal:1"  # of our properties


def pieces(dossier: Dossier, plan_digest: str = "") -> Iterator[bytes]:
    """The document in order, in pieces of a line or so; together they are one JSON object.

    ``plan_digest`` is the SHA-256 of the package's plan.json, when there is a package beside the document.
    Memory grows with the number of subjects, not of observations.
    """
    if not any(card.criteria for card in dossier.controls):
        raise ValueError(f"the window {dossier.name} is about no criterion: OSCAL has nothing to say of it")
    own = _Identifiers(dossier)
    subjects: set[str] = set()
    bad: dict[str, list[str]] = {}
    head = {
        "uuid": own.of("assessment-results"),
        "metadata": _metadata(dossier, own),
        "import-ap": {"href": f"#{own.of('plan')}"},
    }
    yield (
        b'{"assessment-results":' + orjson.dumps(head)[:-1] + b',"results":[' + orjson.dumps(_result(dossier, own))[:-1]
    )
    yield from _array("observations", _observations(dossier, own, subjects, bad))
    yield from _array("findings", _findings(dossier, own, bad))
    items = (
        {
            "uuid": own.of("subject", name),
            "description": one_line(name),
            "props": [{"name": "asset-id", "value": one_line(name)}],
        }
        for name in sorted(subjects)
    )
    yield from _array("inventory-items", items, begin=b',"local-definitions":{', end=b"}")
    yield b'}],"back-matter":' + orjson.dumps(_back_matter(own, plan_digest)) + b"}}\n"


class _Identifiers:
    """UUIDs that are the same each time this window of this ledger is written."""

    def __init__(self, dossier: Dossier) -> None:
        self._base = (dossier.origin, dossier.name, canonical.stamp(dossier.since), canonical.stamp(dossier.until))

    def of(self, *parts: str) -> str:
        return stable_uuid(*self._base, *parts)


def _array(name: str, items: Iterable[Any], begin: bytes = b",", end: bytes = b"") -> Iterator[bytes]:
    """A member that is an array, left out when it would be empty: OSCAL allows no empty arrays."""
    opened = False
    for item in items:
        yield (b"," if opened else begin + b'"' + name.encode() + b'":[') + orjson.dumps(item)
        opened = True
    if opened:
        yield b"]" + end


def _metadata(dossier: Dossier, own: _Identifiers) -> dict[str, Any]:
    return {
        "title": one_line(f"Observations of {dossier.origin} in the window {dossier.name}"),
        "last-modified": canonical.stamp(dossier.exported_at),
        "version": str(dossier.last),
        "oscal-version": VERSION,
        "roles": [{"id": "collector", "title": "Evidence collector"}],
        "parties": [{"uuid": own.of("party"), "type": "organization", "name": one_line(dossier.origin)}],
        "responsible-parties": [{"role-id": "collector", "party-uuids": [own.of("party")]}],
        "remarks": f"Criteria: {EDITION}. Their text is the AICPA's and is not in here; titles are our own words.",
    }


def _result(dossier: Dossier, own: _Identifiers) -> dict[str, Any]:
    ids = sorted({id.lower() for card in dossier.controls for id in card.criteria})
    return {
        "uuid": own.of("result"),
        "title": one_line(f"Window {dossier.name}"),
        "description": "States of subjects as they were observed. What could not be read is never satisfied: its "
        "findings are not-satisfied for the reason other. Controls without a check have no finding.",
        "start": canonical.stamp(dossier.since),
        "end": canonical.stamp(dossier.until),
        "props": [_prop("ledger-first", str(dossier.first)), _prop("ledger-last", str(dossier.last))],
        "reviewed-controls": {"control-selections": [{"include-controls": [{"control-id": id} for id in ids]}]},
    }


def _observations(
    dossier: Dossier, own: _Identifiers, subjects: set[str], bad: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    titles = {card.id: card.title for card in dossier.checks}
    for seen in seen_in(dossier):
        item = seen.stretch
        uuid = own.of("observation", item.check, item.scope, item.subject, str(item.from_run))
        if item.state in (State.NOT_SATISFIED, State.UNDETERMINED):
            bad.setdefault(item.check, []).append(uuid)
        yield _observation(own, seen, titles[item.check], uuid)
        if item.subject:
            subjects.add(item.subject)


def _observation(own: _Identifiers, seen: Seen, title: str, uuid: str) -> dict[str, Any]:
    item = seen.stretch
    found: dict[str, Any] = {
        "uuid": uuid,
        "title": one_line(title),
        "description": one_line(f"{item.subject or item.scope} {item.reason}"),
        "props": [
            _prop("state", item.state.value),
            _prop("check", item.check),
            _prop("scope", item.scope),
            _prop("until", "open" if item.to_at is None else canonical.stamp(item.to_at)),
        ],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": canonical.stamp(item.from_at),
        "relevant-evidence": [
            {"href": "ledger/entries.jsonl", "description": f"entry {item.from_run} of the ledger, kind run"}
        ],
    }
    if item.subject:
        found["subjects"] = [{"subject-uuid": own.of("subject", item.subject), "type": "inventory-item"}]
    return found


def _findings(dossier: Dossier, own: _Identifiers, bad: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for card, finding in zip(dossier.controls, dossier.findings, strict=True):
        if finding.state is State.NOT_APPLICABLE:
            continue
        for criterion in card.criteria:
            yield _finding(
                own, card, finding, criterion, [uuid for check in card.checks for uuid in bad.get(check, ())]
            )


def _finding(
    own: _Identifiers, card: ControlCard, finding: Finding, criterion: str, related: list[str]
) -> dict[str, Any]:
    good = finding.state is State.SATISFIED
    reason = "pass" if good else "fail" if finding.state is State.NOT_SATISFIED else "other"
    found: dict[str, Any] = {
        "uuid": own.of("finding", card.id, criterion),
        "title": one_line(f"{card.id} {card.title}"),
        "description": one_line(f"{finding.words}; {finding.covered} of {finding.due} slots observed"),
        "props": [_prop("control", card.id), _prop("finding", finding.state.value)],
        "target": {
            "type": "objective-id",
            "target-id": criterion.lower(),
            "title": one_line(f"{criterion} {CRITERIA[criterion]}"),
            "status": {"state": "satisfied" if good else "not-satisfied", "reason": reason},
        },
    }
    if related:
        found["related-observations"] = [{"observation-uuid": uuid} for uuid in related]
    return found


def _back_matter(own: _Identifiers, plan_digest: str) -> dict[str, Any]:
    link: dict[str, Any] = {"href": "plan.json"}
    if plan_digest:
        link["hashes"] = [{"algorithm": "SHA-256", "value": plan_digest}]
    return {"resources": [{"uuid": own.of("plan"), "title": "What was due, and when", "rlinks": [link]}]}


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NAMESPACE, "value": one_line(value)}
