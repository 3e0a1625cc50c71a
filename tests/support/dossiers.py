"""Random windows: everything that can happen to a slot, with names and reasons that no format likes.

They are lived through by ``tests/export/conftest.py``'s story, so that they could have been.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from collector.check import Stage
from collector.criteria import CRITERIA
from collector.export.dossier import ControlCard, Decision, Dossier
from collector.model import State
from collector.window.findings import Stretch
from tests.export.conftest import FORMULA, HOSTILE, Story, Trouble

SINCE = datetime(2026, 3, 27, 23, tzinfo=UTC)  # over the change to summer time
HOURS_MAX = 72
TEXTS = st.one_of(
    st.sampled_from(
        (FORMULA, HOSTILE, "a\nb", "\r\n\t", "\x00", "\u2028", '"},{"', "ünïcödé \U0001f512", "\x85x\x1f", " ")
    ),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
)
NAMES = TEXTS.filter(bool)
ACCOUNTS = st.sampled_from(("aws/111122223333", "azure/3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11", "gcp/organizations-4611"))
SPANS = st.tuples(st.integers(7, HOURS_MAX), st.integers(1, 30))  # never the first slot, so that something ran


@st.composite
def dossiers(draw: st.DrawFn) -> Dossier:
    """A window of up to three days."""
    account = draw(ACCOUNTS)
    parts = draw(st.lists(st.sampled_from(("", "/eu-west-1", "/a b")), min_size=1, max_size=2, unique=True))
    scopes = tuple(f"{account}{part}" for part in parts)
    ids = [f"check-{n}" for n in range(draw(st.integers(1, 3)))]
    checks = {
        id: (
            draw(st.sampled_from((3600 * 6, 3600 * 24))),
            scopes,
            tuple(draw(st.lists(NAMES, max_size=3, unique=True))),
        )
        for id in ids
    }
    criteria = st.lists(st.sampled_from(sorted(CRITERIA)), min_size=1, max_size=3, unique=True).map(tuple)
    controls = [
        ControlCard(f"C-{n}", draw(TEXTS), draw(TEXTS), draw(criteria), bound, 3600)
        for n, bound in enumerate([tuple(ids), *draw(st.lists(st.lists(st.sampled_from(ids)).map(tuple), max_size=2))])
    ]
    troubles = [
        Trouble(id, subject, begin, begin + length, draw(st.sampled_from(tuple(State))), draw(TEXTS))
        for id in ids
        for subject in checks[id][2]
        for begin, length in draw(st.lists(st.tuples(st.integers(0, HOURS_MAX), st.integers(1, 48)), max_size=2))
    ]
    story = Story(
        since=SINCE,
        until=SINCE + timedelta(hours=draw(st.integers(2, HOURS_MAX))),
        checks=checks,
        controls=controls,
        account=account,
        troubles=troubles,
        down=[(a, a + n, draw(TEXTS)) for a, n in draw(st.lists(SPANS, max_size=2))],
        missed=[(a, a + n) for a, n in draw(st.lists(SPANS, max_size=2))],
        blind=[(draw(st.sampled_from(ids)), a, a + n, draw(NAMES)) for a, n in draw(st.lists(SPANS, max_size=2))],
        older=frozenset(
            draw(st.lists(st.sampled_from([s for c in checks.values() for s in c[2]] or [""]), max_size=2))
        ),
        name=draw(NAMES),
        titles={id: draw(NAMES) for id in ids},
    )
    built = story.build()
    stage = draw(st.sampled_from(tuple(Stage))).value
    cards = tuple(replace(card, stage=stage) if n == 0 else card for n, card in enumerate(built.checks))
    # A check that stood in a state and did not run in the window has no card.
    return replace(
        built,
        origin=draw(NAMES),
        checks=draw(st.sampled_from((cards, cards[1:]))),
        assurance=draw(TEXTS),
        criteria=draw(st.sampled_from(((), controls[0].criteria[:1], controls[-1].criteria))),
        decisions=tuple(
            Decision(
                seq=9_000 + n,
                at=SINCE + timedelta(hours=t.since),
                control=controls[0].id,
                check=t.check,
                scope=scopes[0],
                subject=draw(st.sampled_from((t.subject, ""))),
                approver=draw(TEXTS),
                reason=draw(TEXTS),
                ticket="",
                expires=SINCE + timedelta(hours=t.until),
                revokes=None,
                ended=SINCE + timedelta(hours=t.until),
                ended_by=None,
            )
            for n, t in enumerate(troubles[:2])
        ),
    )


def in_window(dossier: Dossier) -> Iterator[Stretch]:
    """Every stretch that a format must show: written here once more, and simply."""
    for item in (*dossier.stretches, *dossier.blind):
        if item.from_at < dossier.until and (item.to_at is None or item.to_at > dossier.since):
            yield item


def many(dossier: Dossier, count: int) -> Dossier:
    """The same window with ``count`` stretches of as few subjects: one that breaks and mends all the time."""
    step = (dossier.until - dossier.since) / (count + 1)
    like = next(item for item in dossier.stretches if item.subject)
    states = (State.NOT_SATISFIED, State.SATISFIED, State.UNDETERMINED)
    found = tuple(
        replace(
            like,
            subject=f"arn:aws:thing/{n % 10}",
            state=states[n // 10 % 3],
            reason="is as it is",
            from_run=1000 + n,
            to_run=1010 + n,
            from_at=dossier.since + n * step,
            to_at=dossier.since + (n + 10) * step,
        )
        for n in range(count)
    )
    return replace(dossier, stretches=found)


def decision(bad: Stretch, at: datetime, ended: datetime) -> Decision:
    """Somebody lives with a deviation from ``at`` to ``ended``."""
    return Decision(
        seq=9_000,
        at=at,
        control="",
        check=bad.check,
        scope=bad.scope,
        subject=bad.subject,
        approver="the CISO",
        reason="replaced in May",
        ticket="",
        expires=ended,
        revokes=None,
        ended=ended,
        ended_by=None,
    )
