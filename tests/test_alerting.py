"""The rules for whoever watches the collector from outside: they speak of what a running collector really exports."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector import controls
from collector.web.app import Server
from tests.test_trouble import Running

FOLDER = Path(__file__).parents[1] / "deploy" / "alerting"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["groups"] for rule in group["rules"]
]
SELECTOR = re.compile(r"\b(collector_[a-z_]+)(?:\{([^}]*)\})?")
WORDS = {"absent", "time", "max", "sum", "by", "increase", "and", "on", "job", "instance"}
EXTERNAL = {"job", "instance"}  # labels that a scrape adds


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What a daemon that leads exports: samples with their labels, by name."""
    folder = tmp_path_factory.mktemp("daemon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "CADENCE_SECONDS_MIN", 1)  # nobody waits five minutes for a slot
        running = Running(folder, f"sqlite:///{folder / 'ledger.db'}")
    running.metrics.channels(["pager"])  # one that is configured: its series begin at zero
    server = Server("127.0.0.1:0", alive=running.daemon.alive, ready=running.daemon.ready, metrics=running.metrics)
    running.daemon.start()
    server.start()
    try:
        running.until(lambda: running.runs() > 0, "no run")
        running.until(lambda: b"last_success_timestamp_seconds 0" not in _get(server), "no success is told")
        text = _get(server).decode()
    finally:
        server.stop()
        running.daemon.stop()
        running.ledger.close()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        found[family.name + ("_total" if family.type == "counter" else "")] = []  # also without a series yet
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _get(server: Server) -> bytes:
    with urlopen(f"{server.url}/metrics", timeout=5) as reply:
        return bytes(reply.read())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_speaks_of_what_is_exported(rule: dict[str, Any], exported: Any) -> None:
    named = SELECTOR.findall(rule["expr"])
    assert named
    for name, matchers in named:
        assert name in exported, name
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            assert value in {labels.get(label) for labels, _ in exported[name]}, f"{name} has no {label}={value!r}"
    labels = {label for name, _ in named for labels, _ in exported[name] for label in labels} | EXTERNAL
    texts = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_a_whole_rule(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"EvidenceCollector[A-Z][A-Za-z]+", rule["alert"])
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[0-9]+[mh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    expr = rule["expr"]
    assert expr.count("(") == expr.count(")")
    rest = re.sub(r"\[[0-9]+[mh]\]", "", SELECTOR.sub("", expr))
    assert set(re.findall(r"[a-z]+", rest)) <= WORDS
    assert f"`{rule['alert']}`" in (FOLDER / "README.md").read_text(), "and what to do is told"


def test_no_two_rules_have_one_name() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_what_the_rules_compare_are_times_of_now_and_intervals(exported: Any) -> None:
    now = time.time()
    for name in ("heartbeat", "last_success", "checkpoint"):
        ((_, value),) = exported[f"collector_{name}_timestamp_seconds"]
        assert now - 120 < value <= now, name
    assert exported["collector_heartbeat_interval_seconds"] == [({}, 3600.0)]
    assert exported["collector_leader"] == [({}, 1.0)]


def test_the_page_names_every_metric_of_the_rules() -> None:
    page = (FOLDER / "README.md").read_text()
    for rule in RULES:
        for name, _ in SELECTOR.findall(rule["expr"]):
            assert f"| `{name}` |" in page


def test_a_process_that_stands_by_is_no_silence_and_one_that_never_led_is_no_sign_of_life() -> None:
    """The newest of all replicas counts, with the interval that it says: computed as Prometheus would."""
    (rule,) = [rule for rule in RULES if rule["alert"] == "EvidenceCollectorSilent"]
    left, _, right = rule["expr"].partition(" > ")
    assert re.sub(r"\s+", " ", left.strip()) == "time() - max by (job) (collector_heartbeat_timestamp_seconds)"
    assert right.strip() == "2 * max by (job) (collector_heartbeat_interval_seconds) + 120"

    def silent(now: float, replicas: list[tuple[float, float]]) -> bool:
        return now - max(at for at, _ in replicas) > 2 * max(every for _, every in replicas) + 120

    assert not silent(10_000, [(9_000, 3600), (0, 0)]), "one leads, one stands by"
    assert not silent(10_000, [(1_000, 3600), (9_000, 3600)]), "the lead moved"
    assert silent(10_000, [(1_000, 3600), (2_000, 3600)]), "two were missed"
    assert silent(10_000, [(0, 0), (0, 0)]), "nobody ever led"
