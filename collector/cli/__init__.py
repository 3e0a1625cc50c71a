"""The command line: the only place that prints or exits. Every command is a thin layer over a room below.

A command is added by a module here that registers it with ``app``; the order of the imports is that of ``--help``.
"""

from collector.cli import (
    anchor,
    checks,
    corroborate,
    db,
    decide,
    demo,
    exporting,
    keys,
    observe,
    sample,
    setup,
    windows,
    witness,
)  # isort: skip
from collector.cli.app import app, main

__all__ = [
    "anchor",
    "app",
    "checks",
    "corroborate",
    "db",
    "decide",
    "demo",
    "exporting",
    "keys",
    "main",
    "observe",
    "sample",
    "setup",
    "windows",
    "witness",
]
