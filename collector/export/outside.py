"""What the ledger says of places outside that hold its checkpoints. Says nothing of whether to believe it.

A package cannot vouch for itself: which of its tokens count is decided by the trust folder of whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collector import canonical
from collector.export.dossier import AnchorLine, Configured
from collector.export.words import counted, number, utc
from collector.ledger.entry import Entry
from collector.ledger.store import Ledger
from collector.tomlfile import duration

ANCHORED = "anchored"
GIVES = {
    "tsa": ("time stamp", "time stamps"),
    "witness": ("cosignature", "cosignatures"),
    "s3": ("write-once copy", "write-once copies"),
    "azure-blob": ("write-once copy", "write-once copies"),
    "gcs": ("write-once copy", "write-once copies"),
    "file": ("copy in a folder", "copies in a folder"),
    "email": ("message", "messages"),
}

ALONE = (
    "The ledger is signed by the collector's own key, and nothing outside holds a copy of its checkpoints. Whoever has "
    "both that key and the database could have written all of it anew; only a checkpoint that you were given earlier "
    "would show it."
)


def anchor_lines(entries: Iterable[Entry]) -> list[AnchorLine]:
    """Every attempt, in the order of the ledger."""
    return [
        AnchorLine(
            seq=entry.seq,
            at=entry.at,
            anchor=entry.data["anchor"],
            type=entry.data["type"],
            size=entry.data["size"],
            time=canonical.moment(entry.data["time"]) if entry.data["time"] else None,
            where=entry.data["where"],
            outcome=entry.data["outcome"],
            reason=entry.data["reason"],
            failure=entry.data["failure"],
            token=entry.data["token"],
        )
        for entry in entries
    ]


def configured(ledger: Ledger, entries: Iterable[Entry]) -> list[Configured]:
    """What each of some configurations says about places."""
    found = []
    for entry in entries:
        settings = canonical.parse(ledger.blob(entry.data["blob"]))["settings"]
        places = tuple(f"{kind}/{name}" for kind, named in settings.get("anchors", {}).items() for name in named)
        cadence = settings.get("schedule", {}).get("checkpoint", "")
        every_s = duration(cadence) if cadence else 0
        digest, collector = entry.data["digest"], entry.data["collector"]
        found.append(Configured(entry.seq, entry.at, digest, collector, tuple(sorted(places)), every_s))
    return found


def assurance(lines: Sequence[AnchorLine], known: Sequence[Configured]) -> str:
    """How strong the proof is, in a few sentences that promise no more than there is."""
    places = sorted({place for item in known for place in item.places})
    if not lines and not places:
        return ALONE
    held = [line for line in lines if line.outcome == ANCHORED]
    failed = len(lines) - len(held)
    if not held:
        return (
            f"The ledger is signed by the collector's own key. Places outside are configured ({', '.join(places)}); in "
            f"this range none of them took a checkpoint: {counted(failed, 'attempt')} failed. Whoever has both that "
            "key and the database could have written all of it anew; only a checkpoint that you were given earlier "
            "would show it."
        )
    parts = []
    for anchor in sorted({line.anchor for line in held}):
        mine = [line for line in held if line.anchor == anchor]
        one, many = GIVES.get(mine[0].type, ("token", "tokens"))
        parts.append(f"{counted(len(mine), one, many)} by {anchor}")
    newest = max(held, key=lambda line: line.seq)
    trouble = f" {counted(failed, 'attempt')} failed." if failed else ""
    return (
        f"The ledger is signed by the collector's own key, and says that checkpoints of this range were held outside: "
        f"{'; '.join(parts)}. The newest is over {number(newest.size)} entries, of {utc(newest.at)}.{trouble} None of "
        "this is proof by itself: only the trust folder that you hold decides which of it counts. Against an empty one "
        "the package stands at level 0 of 3, and whoever has both the key and the database could have written it anew."
    )
