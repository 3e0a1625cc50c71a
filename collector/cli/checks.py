"""``checks``: the checks that there are."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from collector import daemon, errors
from collector.check import Family, Stage, doc_of, limits_record, section_of, title_of
from collector.cli.app import checks_app
from collector.cli.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, out, print_json, settings_of, table_of
from collector.model import PART_WORDS
from collector.registry import Registry


@checks_app.command("list")
def checks_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every check, by family. Needs no configuration."""
    registry = daemon.load_registry(settings_of(config)) if config.exists() else daemon.shipped()
    rows = [_check_record(registry, item.check.id) for item in registry]
    if as_json:
        print_json(rows)
        return
    table = table_of("", "id", "family", "criteria", "title")
    for row in sorted(rows, key=lambda r: (r["family"], r["id"])):
        table.add_row(row["id"], row["family"], " ".join(row["criteria"]), row["title"])
    out.print(table)
    out.print(cells_table(registry))
    out.print(f"{len(rows)} checks. Read one: collector checks show ID. What no API tells: docs/coverage.md")


def cells_table(registry: Registry) -> Table:
    """How many checks there are for each family and cloud; those in preview and retired ones are not counted."""
    table = table_of("checks of each family and cloud", "family", *PART_WORDS)
    for family in Family:
        ours = [item.check for item in registry if item.check.family is family and item.check.stage is Stage.STABLE]
        counts = Counter(check.cloud for check in ours)
        table.add_row(family.value, *(str(counts[cloud]) for cloud in PART_WORDS))
    return table


def _check_record(registry: Registry, id: str) -> dict[str, Any]:
    item = registry[id]
    check = item.check
    return {
        "id": id,
        "title": title_of(check),
        "family": check.family.value,
        "criteria": list(check.criteria),
        "permissions": list(check.permissions),
        "see": list(check.see),
        "stage": check.stage.value,
        "version": check.version,
        "per": check.per,
        "limits": limits_record(check.limits),
        "code": item.code,
        "origin": item.origin,
    }


@checks_app.command("show")
def checks_show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a check.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """One check in full: why, remedy, what it reads, how it judges examples."""
    registry = daemon.load_registry(settings_of(config)) if config.exists() else daemon.shipped()
    if id not in registry:
        from difflib import get_close_matches

        near = get_close_matches(id, [item.check.id for item in registry], 1)
        raise errors.ConfigError(f"there is no check {id!r}" + (f"; did you mean {near[0]}?" if near else ""))
    check = registry[id].check
    if as_json:
        print_json(
            {**_check_record(registry, id), "why": section_of(check, "Why"), "remedy": section_of(check, "Remedy")}
        )
        return
    out.print(f"{id}  (version {check.version}, {check.family.value}, {', '.join(check.criteria)})\n", markup=False)
    out.print(doc_of(check), markup=False)
    out.print("\nReads: " + ", ".join(check.permissions), markup=False)
    if limits := limits_record(check.limits):
        out.print("Limits: " + ", ".join(f"{name} = {value}" for name, value in limits.items()), markup=False)
    out.print("\nExamples:")
    for example in check.examples:
        verdict = check.judge(example.facts)
        out.print(f"  {verdict.state.value}: {verdict.reason}\n    {example.facts}", markup=False)
