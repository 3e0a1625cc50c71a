"""What both machine formats need: stable identifiers, one-line text, stretches in a window. No format in here."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from collector.export.dossier import ControlCard, Dossier
from collector.window.findings import Stretch


def stable_uuid(*parts: str) -> str:
    """A UUID of version 4's shape that is the same whenever the parts are: both formats want one that lasts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def one_line(text: str) -> str:
    """``text`` without line breaks or blanks at its ends, never empty: what OSCAL calls a string."""
    return re.sub(r"\s+", " ", text).strip() or "-"


@dataclass(frozen=True)
class Seen:
    """A stretch that touches the window, with where it begins in it and the controls that bind its check."""

    stretch: Stretch
    since: datetime
    controls: tuple[ControlCard, ...]

    @property
    def criteria(self) -> tuple[str, ...]:
        return tuple(sorted({id for card in self.controls for id in card.criteria}))


def seen_in(dossier: Dossier) -> Iterator[Seen]:
    """Every state of every subject in the window, and every stretch in which a scope could not be listed (subject "").

    Ordered by check, scope, subject and time.
    """
    binds: dict[str, tuple[ControlCard, ...]] = {}
    for card in dossier.controls:
        for check in card.checks:
            binds[check] = (*binds.get(check, ()), card)
    together = [*dossier.stretches, *dossier.blind]
    for item in sorted(together, key=lambda s: (s.check, s.scope, s.subject, s.from_run)):
        if item.from_at < dossier.until and (item.to_at is None or item.to_at > dossier.since):
            yield Seen(item, max(item.from_at, dossier.since), binds.get(item.check, ()))
