"""Windows at the terminal: what is listed, opened and closed, and the picture at every width and without colour."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from collector import daemon
from collector.cli import app, picture
from collector.cli.terminal import PIPE_COLUMNS
from collector.errors import CollectorError
from collector.ledger.entry import Kind
from collector.window.coverage import by_control, coverage
from collector.window.picture import NOT_YET, Mark
from collector.window.slots import Slot
from tests.support.lived import CONFIG, HOUR, Lived, live
from tests.window.test_picture import slot

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
CONTROLS = [("IAM-1", ("c",)), ("DATA-12", ("d",))]
SCOPE = "azure/3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11/9b0f2c9d-1e2f-4d5a-8b6c-7d8e9f0a1b2c"


def slots() -> Iterator[Slot]:
    """Twenty days of a window of thirty, with one of everything."""
    for day in range(20):
        look = {3: Mark.EXCEPTION, 5: Mark.PARTIAL, 7: Mark.GAP, 9: Mark.MISSED, 11: Mark.LATE, 13: Mark.NOBODY}
        yield slot(START + timedelta(days=day), look.get(day, Mark.SATISFIED), "c")
        yield slot(START + timedelta(days=day), Mark.SATISFIED, "d", SCOPE)


def drawn(
    width: int,
    encoding: str = "utf-8",
    *,
    terminal: bool = False,
    environ: dict[str, str] | None = None,
    controls: Sequence[tuple[str, tuple[str, ...]]] = CONTROLS,
    of: Sequence[Slot] = (),
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        highlight=False,
        soft_wrap=True,
        color_system="standard" if terminal else None,
        _environ=environ or {},
    )
    every = list(of or slots())
    until = START + timedelta(days=20)
    covered = by_control(controls, coverage(every, until))
    stretch = (START, until, START + timedelta(days=DAYS))
    picture.show(console, controls, every, covered, stretch, ZoneInfo("UTC"), scopes=not of)
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(encoding)


@pytest.fixture(autouse=True)
def _no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("width", [40, 60, 100, 160])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_picture_fits_its_width_and_shows_each_thing_by_a_sign_of_its_own(
    width: int, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = drawn(width, encoding).splitlines()
    assert max(cell_len(line) for line in lines) <= max(width, 60), "the last words of the legend are as long"
    (iam,) = [line for line in lines if line.startswith("IAM-1")]
    signs = {kind: look.ascii if encoding == "ascii" else look.sign for kind, look in picture.LOOKS.items()}
    seen = {*Mark, NOT_YET} - ({Mark.NOBODY} if width <= 60 else set())  # a cell of two days: the other one is seen
    for kind in (*Mark, NOT_YET):
        assert (signs[kind] in iam.removeprefix("IAM-1")) == (kind in seen), kind
    assert iam.endswith(" 85.0 %"), "17 of 20 slots: neither gap, missed nor partial is covered"
    legend = "\n".join(lines[5:])
    assert {kind for kind, look in picture.LOOKS.items() if look.word in legend} == seen
    assert "a cell is" in legend
    assert "|1 Jan" in lines[0].replace("│", "|")


def test_every_look_is_told_from_the_others_without_colour() -> None:
    looks = picture.LOOKS.values()
    for signs in ([look.sign for look in looks], [look.ascii for look in looks], [look.word for look in looks]):
        assert len(set(signs)) == len(picture.LOOKS) == len(Mark) + 2
    assert all(look.ascii.isascii() for look in looks)


@pytest.mark.parametrize(("bad", "sign", "plain"), [(1, "▃", "+"), (20, "▆", "#"), (13, "▄", "+"), (40, "█", "#")])
def test_an_exception_in_one_of_many_scopes_does_not_look_like_all_of_them(bad: int, sign: str, plain: str) -> None:
    looks = [Mark.EXCEPTION] * bad + [Mark.SATISFIED] * (40 - bad)
    many = [slot(START, look, "c", f"aws/{n:02}") for n, look in enumerate(looks)]
    for encoding, wanted in (("utf-8", sign), ("ascii", plain)):
        line = drawn(60, encoding, controls=CONTROLS[:1], of=many).splitlines()[1]
        assert set(line.removeprefix("IAM-1").split()[0]) - set("·.") == {wanted}


def test_colour_is_for_terminals_that_want_it() -> None:
    assert "\x1b[" not in drawn(100)
    coloured = drawn(100, terminal=True)
    assert "\x1b[31m█" in coloured or "\x1b[31m▆" in coloured
    bare = drawn(100, terminal=True, environ={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", bare)


@pytest.mark.parametrize(
    ("encoding", "environ", "plain"),
    [
        ("utf-8", {}, False),
        ("UTF8", {"LANG": "de_DE.UTF-8"}, False),
        ("iso8859-1", {"LANG": "de_DE"}, True),
        ("ascii", {}, True),
        ("utf-8", {"LC_ALL": "C"}, True),
        ("utf-8", {"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ("utf-8", {"LANG": "POSIX"}, True),
    ],
)
def test_ascii_alone_where_nothing_else_is_sure(encoding: str, environ: dict[str, str], plain: bool) -> None:
    assert picture.plain(io.TextIOWrapper(io.BytesIO(), encoding=encoding), environ) is plain


def test_a_pipe_is_as_wide_as_it_is_told() -> None:
    console = Console(file=io.StringIO(), width=33)
    assert picture.width_of(console, {"COLUMNS": "77"}) == 77
    assert picture.width_of(console, {"COLUMNS": "many"}) == PIPE_COLUMNS
    assert picture.width_of(Console(file=io.StringIO(), width=33, force_terminal=True), {"COLUMNS": "77"}) == 33


# --- the commands ---

Command = Callable[..., Result]


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    lived = live(tmp_path / "lived")
    yield lived
    lived.ledger.close()


@pytest.fixture
def collector(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line at the moment at which the day stands."""
    monkeypatch.setattr(daemon, "utc_now", lambda: lived.now)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(lived.folder / "collector.toml")])

    return run


def listed(collector: Command) -> dict[str, dict[str, Any]]:
    found = collector("window", "list", "--json")
    assert found.exit_code == 0, found.output
    return {row["name"]: row for row in json.loads(found.stdout)}


def test_the_list_says_how_each_window_is(lived: Lived, collector: Command) -> None:
    lived.now = START + 12 * HOUR
    rows = listed(collector)
    assert {name: row["status"] for name, row in rows.items()} == {
        "morning": "running",
        "people": "running",
        "later": "not yet begun",
    }
    assert all(row["configured"] and row["as_recorded"] and not row["changed_late"] for row in rows.values())
    assert {row["recorded"] for row in rows.values()} == {"2025-12-31T23:30:00.000000Z"}
    lived.now = START + 30 * HOUR
    assert {row["status"] for row in listed(collector).values()} == {"over", "running"}
    path = lived.folder / "collector.toml"
    path.write_text(CONFIG.replace("end = 2026-01-03", "end = 2026-01-04").replace("[windows.people]", "[windows.us]"))
    rows = listed(collector)
    assert (rows["people"]["configured"], rows["us"]["recorded"], rows["later"]["as_recorded"]) == (False, None, False)
    shown = collector("window", "list").stdout
    assert "configured no longer" in shown
    assert "configured otherwise than recorded" in shown


def test_windows_are_listed_before_there_is_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "collector.toml").write_text(CONFIG)
    found = CliRunner().invoke(app, ["window", "list", "--json", "--config", str(tmp_path / "collector.toml")])
    assert found.exit_code == 0
    assert {row["recorded"] for row in json.loads(found.stdout)} == {None}


def test_a_window_is_closed_and_opened_by_name(lived: Lived, collector: Command) -> None:
    early = collector("window", "close", "later", "--by", "Ann")
    assert isinstance(early.exception, CollectorError)
    assert "say why" in str(early.exception)
    closed = collector("window", "close", "later", "--by", "Ann", "--reason", "called off", "--json")
    assert json.loads(closed.stdout)["reason"] == "called off"
    assert listed(collector)["later"]["status"] == "closed"
    assert "says so" in collector("window", "open", "later", "--by", "Ben").stdout
    assert listed(collector)["later"]["status"] == "not yet begun"
    events = [e.data["event"] for e in lived.ledger.entries(kinds=[Kind.WINDOW]) if e.data["window"] == "later"]
    assert events == ["open", "close", "open"]


def test_show_draws_the_window_and_says_what_it_rests_on(lived: Lived, collector: Command) -> None:
    found = collector("window", "show", "morning", "--scopes")
    assert found.exit_code == 3, found.output
    lines = found.stdout.splitlines()
    assert lines[0] == "morning: 2026-01-01 07:00 to 2026-01-01 17:00 Europe/Berlin, over"
    (iam,) = [line for line in lines if re.match(r"IAM-1 +[─█]", line)]
    assert "█" in iam, "bob had no MFA at 8 and 9"
    assert "░" in iam, "nobody looked at 11 and 12"
    (blind,) = [line for line in lines if line.startswith("  aws/123456789012/us-east-1") and "70.0 %" in line][:1]
    assert "░" in blind
    assert any(re.search(r"DATA-1 +aws/123456789012/us-east-1 +7 of 10 .* 3 h", line) for line in lines)
    assert max(cell_len(line) for line in lines[2:12]) <= 100
    rows = {row["control"]: row for row in json.loads(collector("window", "show", "morning", "--json").stdout)}
    assert [scope["longest_gap_s"] for scope in rows["DATA-1"]["scopes"]] == [7200, 10800]
    assert rows["IAM-1"]["planned_seldom"] == []


def test_status_shows_the_windows_that_are_running(lived: Lived, collector: Command) -> None:
    lived.now = START + 14 * HOUR
    found = collector("status")
    lines = found.stdout.splitlines()
    (heading,) = [line for line in lines if line.startswith("Window morning: ")]
    assert "77 % over" in heading
    after = lines[lines.index(heading) :]
    (iam,) = [line for line in after if line.startswith("IAM-1")][:1]
    assert "█" in iam
    assert iam.rstrip().endswith(" 75.0 %")
    assert "·" in iam
    assert not any(line.startswith("Window later") for line in lines), "it has not begun"
    windows_of = json.loads(collector("status", "--json").stdout)
    assert {row["control"] for row in windows_of} == {"IAM-1", "DATA-1", "OPS-1"}
    collector("window", "close", "morning", "--by", "Ann", "--reason", "called off")
    assert "Window morning" not in collector("status").stdout
