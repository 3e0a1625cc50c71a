"""The least rights that the enabled checks need, in the words of each cloud. Asks no cloud anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Further:
    """Rights that no check declares, in the place of one where rights are gathered."""

    id: str
    cloud: str
    permissions: tuple[str, ...]
