"""The documents are held to the program: links lead somewhere, and every command and option that is named exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from collector.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for folder in ("", "docs", "docs/reference", "docs/decisions", "checks", "deploy/anchors", "deploy/alerting")
    for path in (ROOT / folder).glob("*.md")
)  # fmt: skip
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
SPAN = re.compile(r"`(collector [^`]+)`")
FENCE = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?:^ {4}\S.*\n?)+", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()]
    assert broken == []


WRITTEN = [page for page in PAGES if page.name != "cli.md"]  # that page is the program's own help


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_is_named_exists(page: Path) -> None:
    wrong = [f"{words}: {problem}" for words in commands(page) if (problem := problem_of(words))]
    assert wrong == []


def commands(page: Path) -> Iterator[str]:
    """What follows ``collector`` in code spans and code blocks, without comments and what is piped on."""
    text = page.read_text("utf-8")
    for span in SPAN.findall(text):
        yield from re.split(r" \| (?=[a-z])", span.removeprefix("collector "))[:1]
    for block in [*FENCE.findall(text), *INDENTED.findall(text)]:
        for line in block.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|&&|\$)\s*collector (.*)", line.strip())
            if found:
                yield re.split(r"\s#|\s&&|\s>|\s\|", found[1])[0]


def problem_of(words: str) -> str:
    """Why a command line cannot be typed; "" when it can."""
    try:
        parts = shlex.split(words)
    except ValueError:
        return "is not a command line"
    command: Any = typer.main.get_command(app)
    while parts and hasattr(command, "commands"):
        name = parts.pop(0)
        if name in ("...", "…", "--help", "-h"):
            return ""
        if name.startswith("-"):
            return "" if any(name in parameter.opts for parameter in command.params) else f"no option {name}"
        choices = name.split("|")
        missing = [choice for choice in choices if choice not in command.commands]
        if missing:
            return f"no command {missing[0]}"
        command = command.commands[choices[0]]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    unknown = [part for part in parts if part.startswith("--") and part.strip("[]").split("=")[0] not in options]
    return f"no option {unknown[0]}" if unknown else ""


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert problem_of("exprot --window x") == "no command exprot"
    assert problem_of("export --windwo x") == "no option --windwo"
    assert problem_of("db verify") == ""
