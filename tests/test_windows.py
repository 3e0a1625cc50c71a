"""Windows in a real ledger: what a starting collector writes of them, and what people may open and close."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import config, windows
from collector.errors import ConfigError
from collector.ledger.entry import Kind
from collector.window.history import Event
from tests.support.lived import CONFIG, DAY, HOUR, Lived


@pytest.fixture
def lived(tmp_path: Path) -> Lived:
    return Lived(tmp_path / "lived")


def written(lived: Lived, name: str) -> list[tuple[str, str, int | None]]:
    entries = [entry.data for entry in lived.ledger.entries(kinds=[Kind.WINDOW])]
    return [(e["event"], e["end"][:10], e["previous"]) for e in entries if e["window"] == name]


def restart(lived: Lived, configuration: str) -> None:
    (lived.folder / "collector.toml").write_text(configuration)
    lived.settings = config.load(lived.folder / "collector.toml", {})
    lived.ledger.close()
    lived.operation = lived.start()


def test_each_configured_window_is_recorded_once(lived: Lived) -> None:
    entries = [entry.data for entry in lived.ledger.entries(kinds=[Kind.WINDOW])]
    assert [e["window"] for e in entries] == ["later", "morning", "people"]
    assert {e["event"] for e in entries} == {"open"}
    assert {e["via"] for e in entries} == {"configuration"}
    (people,) = [e for e in entries if e["window"] == "people"]
    assert people["start"] == "2026-01-01T06:00:00.000000Z"
    assert (people["criteria"], people["scopes"]) == (["CC1.4"], ["aws/123456789012"])
    assert (people["frequency_s"], people["hold"], people["previous"]) == (None, False, None)
    restart(lived, CONFIG)
    assert len(list(lived.ledger.entries(kinds=[Kind.WINDOW]))) == 3


def test_a_window_that_is_moved_dropped_and_named_again_leaves_a_chain(lived: Lived) -> None:
    moved = CONFIG.replace("end = 2026-01-03", 'end = 2026-01-04\nfrequency = "1d"')
    restart(lived, moved)
    without = moved[: moved.index("[windows.later]")]
    restart(lived, without)
    restart(lived, without)
    restart(lived, CONFIG)
    chain = written(lived, "later")
    seqs = [e.seq for e in lived.ledger.entries(kinds=[Kind.WINDOW]) if e.data["window"] == "later"]
    assert chain == [
        ("open", "2026-01-03", None),
        ("change", "2026-01-04", seqs[0]),
        ("gone", "2026-01-04", seqs[1]),
        ("open", "2026-01-03", seqs[2]),
    ]
    assert lived.ledger.entry(seqs[1]).data["frequency_s"] == 86_400
    assert len(written(lived, "morning")) == 1


def test_the_same_moment_written_otherwise_is_no_change(lived: Lived) -> None:
    restart(lived, CONFIG.replace("start = 2026-01-02\n", "start = 2026-01-02T01:00:00+01:00\n"))
    assert len(written(lived, "later")) == 1


def test_a_person_opens_what_is_not_open_and_nothing_else(lived: Lived) -> None:
    def opened(name: str, by: str = "Ann") -> Event:
        return Event(windows.open_window(lived.ledger, lived.settings, DAY, name, by).data["event"])

    with pytest.raises(ConfigError, match="is open as it is configured since entry"):
        opened("later")
    with pytest.raises(ConfigError, match=r"no window 'latter'; did you mean 'later'"):
        opened("latter")
    with pytest.raises(ConfigError, match="--by must say something"):
        opened("later", " ")
    windows.close_window(lived.ledger, lived.settings, DAY, "later", "Ann", "the audit was called off")
    assert opened("later", "Ben") is Event.OPEN
    assert [event for event, _, _ in written(lived, "later")] == ["open", "close", "open"]


def test_a_window_is_closed_early_for_a_reason_only(lived: Lived) -> None:
    with pytest.raises(ConfigError, match=r"ends 2026-01-03T00:00:00.000000Z: to close it before its end, say why"):
        windows.close_window(lived.ledger, lived.settings, DAY, "later", "Ann")
    assert len(written(lived, "later")) == 1
    entry = windows.close_window(lived.ledger, lived.settings, DAY + 48 * HOUR, "later", "Ann")
    assert (entry.data["event"], entry.data["by"], entry.data["via"]) == ("close", "Ann", "cli")
    with pytest.raises(ConfigError, match=f"closed since entry {entry.seq} .*window open later"):
        windows.close_window(lived.ledger, lived.settings, DAY + 49 * HOUR, "later", "Ann")
    with pytest.raises(ConfigError, match="neither the configuration nor the ledger has a window 'x'"):
        windows.close_window(lived.ledger, lived.settings, DAY, "x", "Ann", "why not")


def test_what_was_moved_before_it_is_closed_is_written_down_first(lived: Lived) -> None:
    """Closing with another configuration than the daemon's must not skip the change."""
    (lived.folder / "collector.toml").write_text(CONFIG.replace("end = 2026-01-03", "end = 2026-01-02T12:00:00Z"))
    settings = config.load(lived.folder / "collector.toml", {})
    windows.close_window(lived.ledger, settings, DAY + 40 * HOUR, "later", "Ann")
    assert [event for event, _, _ in written(lived, "later")] == ["open", "change", "close"]


def test_a_window_that_is_configured_no_longer_can_still_be_closed(lived: Lived) -> None:
    restart(lived, CONFIG[: CONFIG.index("[windows.later]")])
    entry = windows.close_window(lived.ledger, lived.settings, DAY + 48 * HOUR, "later", "Ann")
    assert entry.data["end"] == "2026-01-03T00:00:00.000000Z"
    with pytest.raises(ConfigError, match=r"Write it as \[windows.later\] first"):
        windows.open_window(lived.ledger, lived.settings, DAY + 49 * HOUR, "later", "Ann")
