"""What a package says as JSON of itself: ``plan.json``, ``controls.json``, and the statement that is signed.

Values in, values out; the verifier compares plan.json with the ledger, and people read the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from collector import canonical
from collector.criteria import CRITERIA, EDITION
from collector.export.dossier import Dossier, Own
from collector.export.outside import ANCHORED
from collector.export.read import Filter
from collector.ledger.seal import Signer
from collector.window.slots import Plan, SlotState, in_force

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:evidence-collector:package:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def filter_of(dossier: Dossier) -> Filter:
    """What the dossier is about."""
    return Filter(frozenset(check for card in dossier.controls for check in card.checks), tuple(dossier.scopes))


def window(dossier: Dossier) -> dict[str, Any]:
    """The window as every paper names it."""
    return {
        "name": dossier.name,
        "since": canonical.stamp(dossier.since),
        "until": canonical.stamp(dossier.until),
        "ends": canonical.stamp(dossier.ends or dossier.until),
        "zone": dossier.zone.key,
    }


# --- plan.json ---


def plan(dossier: Dossier) -> dict[str, Any]:
    """What was due, as the plans of the range say."""
    about = filter_of(dossier)
    by_account: dict[str, list[Plan]] = {}
    for known in dossier.plans:
        by_account.setdefault(known.account, []).append(known)
    counts = {state.value: 0 for state in SlotState}
    for slot in dossier.slots:
        counts[slot.state.value] += 1
    return {
        "window": window(dossier),
        "grace_s": dossier.grace_s,
        "due": len(dossier.slots),
        "counts": counts,
        "accounts": [
            {"account": account, "stretches": _stretches(dossier, about, by_account[account])}
            for account in sorted(by_account)
        ],
    }


def _stretches(dossier: Dossier, about: Filter, plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """What is due and when, clipped to the window; neighbours that ask for the same are one stretch."""
    found: list[dict[str, Any]] = []
    for begin, end, asked in in_force(plans):
        since, until = max(begin, dossier.since), min(end, dossier.until)
        if since >= until:
            continue
        checks = [
            {"check": item.check, "scopes": scopes, "every_s": item.every_s, "offset_s": item.offset_s}
            for item in asked.checks
            if (scopes := [scope for scope in item.scopes if about.covers(item.check, scope)])
        ]
        if found and found[-1]["checks"] == checks and found[-1]["until"] == canonical.stamp(since):
            found[-1]["until"] = canonical.stamp(until)
            found[-1]["entries"].append(asked.seq)
        else:
            times = {"since": canonical.stamp(since), "until": canonical.stamp(until)}
            found.append({**times, "entries": [asked.seq], "checks": checks})
    return found


# --- controls.json ---


def controls(dossier: Dossier, configurations: Collection[str]) -> dict[str, Any]:
    """Controls, criteria and checks, and the configurations that bind them: the versions of the mapping."""
    named = {*dossier.criteria, *(id for card in dossier.controls for id in card.criteria)}
    return {
        "edition": EDITION,
        "criteria": {id: CRITERIA[id] for id in sorted(named)},
        "controls": [
            {
                "id": card.id,
                "title": card.title,
                "owner": card.owner,
                "criteria": list(card.criteria),
                "checks": list(card.checks),
                "cadence_s": card.cadence_s,
                "by_hand": card.by_hand,
                "by_collector": card.by_collector,
            }
            for card in dossier.controls
        ],
        "checks": [
            {
                "id": card.id,
                "version": card.version,
                "source": f"checks/{card.id}/{card.code}.py",
                "title": card.title,
                "family": card.family,
                "criteria": list(card.criteria),
                "stage": card.stage,
                "limits": dict(card.limits),
                "entry": card.first_used,
            }
            for card in dossier.checks
        ],
        "mapping": [
            {"entry": item.seq, "at": canonical.stamp(item.at), "digest": item.digest, "collector": item.collector}
            for item in dossier.configured
        ],
        "configurations": sorted(configurations),
        "collector": own(dossier.own),
    }


def own(said: Own) -> dict[str, Any]:
    """What is found of the collector itself. Times are whole seconds; offsets the least and the most, null for none."""
    it = said.found
    return {
        "state": it.state.value,
        "words": list(it.words),
        "heartbeats": it.beats,
        "missed": it.missed,
        "silences": [
            {"since": canonical.stamp(one.since), "until": canonical.stamp(one.until), "missed": one.missed}
            for one in it.silences
        ],
        "up_s": int(it.up.total_seconds()),
        "window_s": int(it.window.total_seconds()),
        "starts": len(it.starts),
        "stops": len(it.stops),
        "broken_off": len(it.broken_off),
        "versions": list(it.versions),
        "skew_ms": it.skew_ms and list(it.skew_ms),
        "ntp_ms": it.ntp_ms and list(it.ntp_ms),
        "ntp_silent": it.ntp_silent,
        "slots": it.slots,
        "unaccounted": it.unaccounted,
        "alerts": it.alerts,
        "undelivered": len(it.undelivered),
        "delivered_after_s": _whole(it.delivered_after),
        "acknowledged": it.acknowledged,
        "acknowledged_after_s": _whole(it.acknowledged_after),
        "anchored": it.anchored,
        "anchors_failed": it.anchors_failed,
    }


def _whole(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())


# --- the manifest ---


def predicate(dossier: Dossier, root: bytes, counts: Mapping[str, int]) -> dict[str, Any]:
    """What the manifest says of the package; ``counts`` are those that only its writer knows."""
    anchored = sum(line.outcome == ANCHORED for line in dossier.anchors)
    return {
        "origin": dossier.origin,
        "vkey": dossier.vkey,
        "window": window(dossier),
        "range": {"first": dossier.first, "last": dossier.last, "root": root.hex()},
        "filters": {
            "controls": list(dossier.chosen),
            "criteria": list(dossier.criteria),
            "checks": sorted(filter_of(dossier).checks),
            "scopes": list(dossier.scopes),
        },
        "left_out": {
            "controls": dossier.left_out.controls,
            "slots": dossier.left_out.slots,
            "runs": dossier.left_out.runs,
        },
        "anchors": {
            "configured": [
                {"entry": item.seq, "places": list(item.places), "every_s": item.every_s} for item in dossier.configured
            ],
            "entries": len(dossier.anchors),
            "anchored": anchored,
            "failed": len(dossier.anchors) - anchored,
        },
        "grace_s": dossier.grace_s,
        "exported_at": canonical.stamp(dossier.exported_at),
        "exporter": {"collector": dossier.collector, "by": dossier.by},
        "counts": {
            "entries": dossier.last - dossier.first,
            "due": len(dossier.slots),
            "exceptions": len(dossier.deviations),
            "alerts": len(dossier.alerts),
            **counts,
        },
        "assurance": dossier.assurance,
    }


def envelope(payload: bytes, signer: Signer) -> bytes:
    """A DSSE envelope of an in-toto statement, in the one way it is written here: canonical JSON, one signature."""
    pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return canonical.record(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": signer.key.id.hex(), "sig": base64.b64encode(signer.sign(pae)).decode()},
            ],
        }
    )
