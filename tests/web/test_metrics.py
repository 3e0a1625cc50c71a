"""What is counted, read back with Prometheus' own parsers, over a real ledger."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from collector import __version__, canonical
from collector.ledger.entry import Draft, Kind, observations_blob, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import CheckRun, Observation, Scope, State, Verdict
from collector.web.metrics import Metrics, run_outcome
from collector.window.slots import SlotState

ORIGIN = "evidence.example.com/test"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = Scope("aws", "123456789012")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Sealed:
    account: Scope
    slot: datetime | None
    runs: tuple
    entries: tuple


@pytest.fixture
def ledger(tmp_path):
    signer = FileSigner.open(tmp_path / "log.key", ORIGIN, create=True)
    found = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", origin=ORIGIN, signer=signer, create=True)
    yield found
    found.close()


def run(check, states, started=START, seconds=4):
    """A check run with one subject in each of ``states``; None for a run without population."""
    finished = started + timedelta(seconds=seconds)
    if states is None:
        return CheckRun(check, ACCOUNT, started, finished, None, (), (), "denied", "denied")
    seen = tuple(
        Observation(
            f"arn:aws:iam::123456789012:user/{number}",
            Verdict(State(state), "is as it is"),
            None if state == "undetermined" else {"n": number},
            (),
        )
        for number, state in enumerate(states)
    )
    return CheckRun(check, ACCOUNT, started, finished, len(seen), seen, ())


def seal(ledger, runs, slot=START, calls=()):
    log = canonical.record(list(calls))
    with ledger.write() as batch:
        digest = batch.blob(log)
        entries = []
        for each in runs:
            if each.population is not None:
                batch.blob(observations_blob(each))
            fields = run_fields(
                each,
                account=ACCOUNT,
                slot=slot,
                reference=START,
                version=1,
                code="0" * 64,
                limits={},
                principal="arn:aws:sts::123456789012:assumed-role/collector",
                calls=digest,
                config="0" * 64,
                collector="test",
            )
            entries.append(batch.add(Draft(Kind.RUN, each.finished, fields)))
    return Sealed(ACCOUNT, slot, tuple(runs), tuple(entries))


def alert(ledger, key, event, cause="failed", channels=("pager",)):
    names = ("check", "scope", "subject", "control", "owner", "family", "title", "reason", "remedy")
    fields = dict.fromkeys(names, "x") | {"key": key, "event": event, "cause": cause, "channels": list(channels)}
    fields |= {"since": canonical.stamp(START), "last_good": None, "first_bad": 1}
    with ledger.write() as batch:
        return batch.add(Draft(Kind.ALERT, START, fields))


def delivery(ledger, alert, outcome, channel="pager"):
    fields = {"alert": alert.seq, "channel": channel, "attempt": 1, "outcome": outcome, "detail": "", "retry_at": None}
    with ledger.write() as batch:
        batch.add(Draft(Kind.DELIVERY, START, fields))


def samples(metrics):
    """Every sample of both formats by its name and labels; the formats agree."""
    text, content_type = metrics.exposition("")
    assert content_type.startswith("text/plain")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parse_text(text.decode())
        for sample in family.samples
    }
    opened, content_type = metrics.exposition(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    for family in parse_openmetrics(opened.decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert found[(sample.name, *sorted(sample.labels.values()))] == sample.value
    return found


def test_every_series_that_can_be_known_exists_before_anything_happens():
    metrics = Metrics()
    metrics.channels(["pager"])
    found = samples(metrics)
    assert found["collector_build_info", __version__] == 1
    for outcome in ("observed", "partial", "blind"):
        assert found["collector_runs_total", outcome] == 0
    for state in SlotState:
        assert found["collector_slots_total", state.value] == 0
    for state in State:
        assert found["collector_subjects", state.value] == 0
    for cause in ("failed", "blind", "missed"):
        assert found["collector_alerts_open", cause] == 0
    for outcome in ("delivered", "failed", "gave-up"):
        assert found["collector_deliveries_total", *sorted((outcome, "pager"))] == 0
    for name in ("ledger_entries", "checkpoint_timestamp_seconds", "last_success_timestamp_seconds"):
        assert found[(f"collector_{name}",)] == 0


def test_two_collectors_in_one_process_count_apart():
    first, second = Metrics(), Metrics()
    first.trouble("deliver")
    assert samples(first)["collector_troubles_total", "deliver"] == 1
    assert ("collector_troubles_total", "deliver") not in samples(second)


def test_a_sealed_run_is_counted(ledger):
    metrics = Metrics()
    calls = [{"cloud": "aws"}, {"cloud": "aws"}, {"cloud": "aws", "failure": "throttled"}]
    runs = [run("aws-a-b", ["satisfied", "not-satisfied"]), run("aws-c-d", ["satisfied"], seconds=40)]
    metrics.sealed(seal(ledger, runs, calls=calls), ledger)
    found = samples(metrics)
    assert found["collector_runs_total", "observed"] == 1
    assert found[("collector_run_duration_seconds_count",)] == 1
    assert found[("collector_run_duration_seconds_sum",)] == 40
    assert found["collector_run_duration_seconds_bucket", "60.0"] == 1
    assert found["collector_run_duration_seconds_bucket", "30.0"] == 0
    assert found["collector_slots_total", "observed"] == 2
    assert found["collector_subjects", "satisfied"] == 2
    assert found["collector_subjects", "not-satisfied"] == 1
    assert found["collector_cloud_calls_total", "answered", "aws"] == 2
    assert found["collector_cloud_calls_total", "aws", "throttled"] == 1
    assert found[("collector_last_success_timestamp_seconds",)] == (START + timedelta(seconds=40)).timestamp()
    assert found[("collector_ledger_entries",)] == ledger.size() == 3
    assert found[("collector_checkpoint_timestamp_seconds",)] == 0
    ledger.checkpoint(START + timedelta(minutes=1))
    metrics.refresh(ledger)
    assert samples(metrics)[("collector_checkpoint_timestamp_seconds",)] == START.timestamp() + 60


def test_what_was_not_seen_is_never_counted_as_seen(ledger):
    metrics = Metrics(grace_s=60)
    late = START + timedelta(seconds=61)
    runs = [
        run("aws-a-b", None),
        run("aws-c-d", ["satisfied", "undetermined"]),
        run("aws-e-f", ["satisfied"], started=late),
        run("aws-g-h", []),
    ]
    metrics.sealed(seal(ledger, runs), ledger)
    found = samples(metrics)
    for state in ("gap", "partial", "late", "observed"):
        assert found["collector_slots_total", state] == 1
    assert found["collector_slots_total", "missed"] == 0
    assert found["collector_subjects", "undetermined"] == 1
    assert found[("collector_blind_scopes",)] == 1
    assert found["collector_runs_total", "partial"] == 1
    metrics.lost(3)
    assert samples(metrics)["collector_slots_total", "gap"] == 4


def test_a_run_by_hand_answers_no_slot_and_a_blind_run_is_no_success(ledger):
    metrics = Metrics()
    metrics.sealed(seal(ledger, [run("aws-a-b", None)], slot=None), ledger)
    found = samples(metrics)
    assert all(found["collector_slots_total", state.value] == 0 for state in SlotState)
    assert found[("collector_last_success_timestamp_seconds",)] == 0
    assert found["collector_runs_total", "blind"] == 1


def test_how_much_a_run_saw():
    whole, some, none = run("a", ["satisfied"]), run("b", ["undetermined"]), run("c", None)
    assert run_outcome([whole]) == "observed"
    assert run_outcome(each for each in (whole, run("d", []))) == "observed"
    assert run_outcome([whole, some]) == "partial"
    assert run_outcome(each for each in (whole, none)) == "partial"
    assert run_outcome([none, none]) == "blind"


def test_gauges_stand_for_the_ledger_and_survive_a_restart(ledger):
    seal(ledger, [run("aws-a-b", ["not-satisfied", "undetermined"])])
    alert(ledger, "k1", "trigger")
    alert(ledger, "k2", "trigger", cause="blind")
    alert(ledger, "k3", "trigger")
    alert(ledger, "k3", "resolve")
    metrics = Metrics()
    metrics.refresh(ledger)
    found = samples(metrics)
    assert found["collector_alerts_open", "failed"] == 1
    assert found["collector_alerts_open", "blind"] == 1
    assert found["collector_subjects", "undetermined"] == 1


def test_an_alert_that_was_given_up_stays_visible_until_it_is_over(ledger):
    given_up = alert(ledger, "k1", "trigger")
    delivery(ledger, given_up, "gave-up")
    delivery(ledger, alert(ledger, "k2", "trigger"), "delivered")
    metrics = Metrics()
    metrics.channels(["chat"])
    metrics.refresh(ledger)
    found = samples(metrics)
    assert found["collector_deliveries_given_up", "pager"] == 1
    assert found["collector_deliveries_given_up", "chat"] == 0
    alert(ledger, "k1", "resolve")
    metrics.refresh(ledger)
    assert samples(metrics)["collector_deliveries_given_up", "pager"] == 0


def test_deliveries_are_counted_by_channel_and_outcome():
    metrics = Metrics()
    metrics.delivered({("pager", "failed"): 2, ("chat", "delivered"): 1})
    metrics.delivered({("pager", "failed"): 1})
    found = samples(metrics)
    assert found["collector_deliveries_total", "failed", "pager"] == 3
    assert found["collector_deliveries_total", "chat", "delivered"] == 1


def test_no_series_names_an_account_or_a_resource_and_their_number_does_not_grow_with_them(ledger):
    metrics = Metrics()
    metrics.sealed(seal(ledger, [run("aws-a-b", ["satisfied"] * 300)], calls=[{"cloud": "aws"}]), ledger)
    text = metrics.exposition("")[0].decode()
    assert "123456789012" not in text
    assert "arn:" not in text
    before = len(samples(metrics))
    metrics.sealed(
        seal(ledger, [run(f"aws-x-{n}", ["satisfied"]) for n in range(50)], calls=[{"cloud": "aws"}]), ledger
    )
    assert len(samples(metrics)) == before


def test_every_metric_has_a_unit_or_counts_things_and_is_described():
    for family in parse_text(Metrics().exposition("")[0].decode()):
        assert family.name.startswith("collector_")
        assert family.documentation.endswith((".", "1."))
        for sample in family.samples:
            assert "milli" not in sample.name
