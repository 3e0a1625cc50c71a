"""A window as OSCAL 1.2.1 assessment results and the catalogue that they point to, written piece by piece.

NIST publishes no catalogue for SOC 2 and the AICPA's text is not ours to ship, so ours holds ids and short titles in
our own words. There is no OSCAL assessment plan, profile or system security plan: see docs/reference/interchange.md.
Source: pages.nist.gov/OSCAL-Reference/models/v1.2.1/assessment-results and the JSON schema of that release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from collector import canonical
from collector.criteria import CRITERIA, EDITION
from collector.export.dossier import ControlCard, Dossier
from collector.export.interchange import Seen, View, all_criteria, criteria_of, one_line, stable_uuid
from collector.model import State
from collector.window.findings import Finding

VERSION = "1.2.1"
NAMESPACE = "urn:evidence-collector:oscal:1"  # of our properties
RESULTS_FILE, CATALOG_FILE = "oscal/assessment-results.json", "oscal/catalog.json"  # where they lie in a package
EVENTS_MAX = 100  # of the collector, named one by one; tables/collector.csv of a package has all
NO_PLAN = "This is the collector's own plan, not an OSCAL assessment plan: what was due, by check, scope and time."
STATES = (
    "States of subjects as they were observed. What could not be looked at is never satisfied: its findings are "
    "not-satisfied for the reason other. A control without a check has no finding, unless the collector itself is the "
    "evidence of it."
)


@dataclass(frozen=True)
class Package:
    """The package that a document lies in, for its references: SHA-256 of files by their name in it."""

    digests: Mapping[str, str]


def pieces(dossier: Dossier, package: Package | None = None) -> Iterator[bytes]:
    """Assessment results in order, in pieces of a line or so; together they are one JSON object.

    Without a ``package`` nothing in it refers to a file. Beside the dossier, memory grows with the number of different
    subjects (a pointer each) and of stretches (a pointer each). Raises ValueError for a window about no criterion.
    """
    if not all_criteria(dossier):
        raise ValueError(f"the window {dossier.name} is about no criterion: OSCAL has nothing to say of it")
    writer = _Writer(dossier, package)
    head = {
        "uuid": writer.uuid("assessment-results"),
        "metadata": _metadata(dossier, writer.uuid("party"), dossier.name),
        "import-ap": {"href": f"#{writer.uuid('plan')}", "remarks": NO_PLAN},
    }
    yield b'{"assessment-results":' + orjson.dumps(head)[:-1] + b',"results":[' + orjson.dumps(writer.result())[:-1]
    yield from _array("observations", map(orjson.dumps, writer.observations()))
    yield from writer.findings()
    yield from _array("inventory-items", writer.inventory(), begin=b',"local-definitions":{', end=b"}")
    yield b'}],"back-matter":' + orjson.dumps(writer.back_matter()) + b"}}\n"


def catalog(dossier: Dossier) -> bytes:
    """The criteria that the window's controls answer to, as an OSCAL catalogue: ids, and titles of our own.

    Each has one part, an assessment objective, whose id is what findings point to: ``cc6.1_obj``.
    """
    own = _Identifiers(dossier)
    document = {
        "uuid": own.of("catalog"),
        "metadata": _metadata(dossier, own.of("party"), f"criteria of {dossier.name}"),
        "controls": [
            {
                "id": id.lower(),
                "title": f"{id} {CRITERIA[id]}",
                "props": [{"name": "label", "value": id}],
                "parts": [{"id": objective(id), "name": "assessment-objective", "prose": CRITERIA[id]}],
            }
            for id in all_criteria(dossier)
        ],
    }
    return orjson.dumps({"catalog": document}) + b"\n"


def objective(criterion: str) -> str:
    """What a finding about a criterion points to in the catalogue."""
    return f"{criterion.lower()}_obj"


def _metadata(dossier: Dossier, party: str, what: str) -> dict[str, Any]:
    return {
        "title": one_line(f"{dossier.origin}: {what}"),
        "last-modified": canonical.stamp(dossier.exported_at),
        "version": str(dossier.last),
        "oscal-version": VERSION,
        "roles": [{"id": "collector", "title": "Evidence collector"}],
        "parties": [{"uuid": party, "type": "organization", "name": one_line(dossier.origin)}],
        "responsible-parties": [{"role-id": "collector", "party-uuids": [party]}],
        "remarks": f"Criteria: {EDITION}. Their text is the AICPA's and is not in here; titles are our own words.",
    }


class _Identifiers:
    """UUIDs that are the same each time this window of this ledger is written."""

    def __init__(self, dossier: Dossier) -> None:
        self._base = (dossier.origin, dossier.name, canonical.stamp(dossier.since), canonical.stamp(dossier.until))

    def of(self, *parts: str) -> str:
        return stable_uuid(*self._base, *parts)


def _array(name: str, items: Iterable[bytes], begin: bytes = b",", end: bytes = b"") -> Iterator[bytes]:
    """A member that is an array, left out when it would be empty: OSCAL allows no empty arrays."""
    opened = False
    for item in items:
        yield (b"," if opened else begin + b'"' + name.encode() + b'":[') + item
        opened = True
    if opened:
        yield b"]" + end


class _Writer:
    def __init__(self, dossier: Dossier, package: Package | None) -> None:
        self.dossier = dossier
        self.package = package
        self.view = View(dossier)
        self.uuid = _Identifiers(dossier).of

    def result(self) -> dict[str, Any]:
        dossier = self.dossier
        selected = [{"control-id": id.lower()} for id in all_criteria(dossier)]
        left = dossier.left_out
        remarks = [dossier.assurance]
        if left.controls or left.slots or left.runs:
            remarks.append(f"Asked for less: {left.controls} controls, {left.slots} slots, {left.runs} runs left out.")
        return {
            "uuid": self.uuid("result"),
            "title": one_line(f"Window {dossier.name}"),
            "description": STATES,
            "start": canonical.stamp(dossier.since),
            "end": canonical.stamp(dossier.until),
            "props": [_prop("ledger-first", str(dossier.first)), _prop("ledger-last", str(dossier.last))],
            "reviewed-controls": {
                "links": [{"href": f"#{self.uuid('catalog-resource')}", "rel": "catalog"}],
                "control-selections": [{"include-controls": selected}],
            },
            "remarks": one_line(" ".join(remarks)),
        }

    # --- observations ---

    def observations(self) -> Iterator[dict[str, Any]]:
        for seen in self.view.seen():
            card = self.view.card(seen.check, seen.entry)
            found: dict[str, Any] = {
                "uuid": self._observation(seen),
                "title": one_line(card.title if card else seen.check),
                "description": one_line(f"{seen.subject or seen.scope} {seen.reason}"),
                "props": [
                    _prop("state", seen.state.value),
                    _prop("check", seen.check),
                    _prop("scope", seen.scope),
                    _prop("until", "open" if seen.until is None else canonical.stamp(seen.until)),
                ],
                "methods": ["TEST" if seen.kind == "run" else "EXAMINE"],
                "types": ["control-objective"],
                "collected": canonical.stamp(seen.begun),
                "relevant-evidence": [self._evidence(seen)],
            }
            if card is not None and seen.kind == "run":
                found["props"].append(_prop("check-version", str(card.version)))
            if seen.subject:
                found["subjects"] = [{"subject-uuid": self._subject(seen.subject), "type": "inventory-item"}]
            if seen.accepted:
                found["remarks"] = one_line(seen.accepted)
            yield found
        if any(card.by_collector for card in self.dossier.controls):
            yield self._collector()

    def _collector(self) -> dict[str, Any]:
        """The collector as the evidence of controls: what is found of it, and the entries that count against it."""
        own = self.dossier.own
        amiss = [event for event in own.events if event.amiss]
        evidence: list[dict[str, str]] = [{"description": "heartbeats, slots, alerts and anchors of the ledger"}]
        if self.package is not None:
            evidence[0]["href"] = "../tables/collector.csv"
        evidence += [
            {"description": one_line(f"entries {' '.join(map(str, event.entries)) or 'none'}: {event.what}")}
            for event in amiss[:EVENTS_MAX]
        ]
        words = "; ".join(own.found.words) or "no heartbeat missed, every slot accounted for, every alert told"
        return {
            "uuid": self.uuid("observation", "collector"),
            "title": "The collector itself",
            "description": one_line(words),
            "props": [_prop("state", own.found.state.value), _prop("until", canonical.stamp(self.dossier.until))],
            "methods": ["EXAMINE"],
            "types": ["control-objective"],
            "collected": canonical.stamp(self.dossier.until),
            "relevant-evidence": evidence,
        }

    def _observation(self, seen: Seen) -> str:
        at = canonical.stamp(seen.begun) if seen.entry is None else str(seen.entry)
        if seen.kind == "gap":  # one gap may lie around another, and so before and after it
            at = f"{at} {canonical.stamp(seen.begun)}"
        return self.uuid("observation", seen.check, seen.scope, seen.subject, seen.kind, at)

    def _subject(self, name: str) -> str:
        return self.uuid("subject", name)

    def _evidence(self, seen: Seen) -> dict[str, str]:
        if seen.entry is None:
            return {"description": "the plan asks for it; the ledger has neither a run nor a gap entry for it"}
        found = {"description": f"entry {seen.entry} of the ledger, kind {seen.kind}"}
        if self.package is not None and self.dossier.first <= seen.entry < self.dossier.last:
            found["href"] = "../ledger/entries.jsonl"
        return found

    # --- findings ---

    def findings(self) -> Iterator[bytes]:
        """The member "findings": one for each control and criterion, with everything related to it that is not good."""
        before = b',"findings":['
        for card, finding in zip(self.dossier.controls, self.dossier.findings, strict=True):
            if finding.state is State.NOT_APPLICABLE:
                continue
            for criterion in criteria_of(self.dossier, card):
                yield before + orjson.dumps(self._finding(card, finding, criterion))[:-1]
                yield from self._related(card)
                yield b"}"
                before = b","
        if before == b",":
            yield b"]"

    def _related(self, card: ControlCard) -> Iterator[bytes]:
        checks = [check for check in card.checks if not self.view.preview(check)]
        bad = self.view.seen(checks, bad=True)
        found = (self._observation(seen) for seen in bad)
        own = [self.uuid("observation", "collector")] if card.by_collector else []
        uuids = (b'{"observation-uuid":"%s"}' % uuid.encode() for uuid in chain(own, found))
        return _array("related-observations", uuids)

    def _finding(self, card: ControlCard, finding: Finding, criterion: str) -> dict[str, Any]:
        good = finding.state is State.SATISFIED
        reason = "pass" if good else "fail" if finding.state is State.NOT_SATISFIED else "other"
        return {
            "uuid": self.uuid("finding", card.id, criterion),
            "title": one_line(f"{card.id} {card.title}"),
            "description": one_line(
                finding.words
                if card.by_collector
                else f"{finding.words}; {finding.covered} of {finding.due} slots observed"
            ),
            "props": [_prop("control", card.id), _prop("finding", finding.state.value), _prop("owner", card.owner)],
            "target": {
                "type": "objective-id",
                "target-id": objective(criterion),
                "title": one_line(f"{criterion} {CRITERIA[criterion]}"),
                "status": {"state": "satisfied" if good else "not-satisfied", "reason": reason},
            },
        }

    # --- what they point to ---

    def inventory(self) -> Iterator[bytes]:
        names = {item.subject for item in self.view.seen() if item.subject}
        for name in sorted(names):
            yield orjson.dumps(
                {
                    "uuid": self._subject(name),
                    "description": one_line(name),
                    "props": [{"name": "asset-id", "value": one_line(name)}],
                }
            )

    def back_matter(self) -> dict[str, Any]:
        plan: dict[str, Any] = {"uuid": self.uuid("plan"), "title": "What was due, and when", "description": NO_PLAN}
        criteria: dict[str, Any] = {
            "uuid": self.uuid("catalog-resource"),
            "title": "Catalogue of the criteria, ids and our own titles only",
        }
        if self.package is not None:
            plan["rlinks"] = [_link("../plan.json", self.package.digests.get("plan.json", ""))]
            digest = hashlib.sha256(catalog(self.dossier)).hexdigest()
            criteria["rlinks"] = [_link("catalog.json", digest)]
        return {"resources": [plan, criteria]}


def _link(href: str, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = {"href": href, "media-type": "application/json"}
    if digest:
        found["hashes"] = [{"algorithm": "SHA-256", "value": digest}]
    return found


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NAMESPACE, "value": one_line(value)}
