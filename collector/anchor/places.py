"""Opens the configured places by their ids. Knows which kind is in which file, and loads only those that are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from collector.anchor.base import Anchor
from collector.config import Settings


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_places(
    settings: Settings, environ: Mapping[str, str], *, clock: Callable[[], datetime] = utc_now
) -> dict[str, Anchor]:
    """Every configured place by ``type/name``, in the order of the file's tables; asks none of them anything yet.

    ``clock`` is what retentions begin at and dates of messages are taken from. Raises ConfigError for a place that
    cannot be opened: a file or a secret is missing, or the library that it needs.
    """
    places = settings.anchors
    origin = settings.collector.origin
    opened: list[Anchor] = []
    # One library after the other: most configurations name two kinds, and some of these take a second to load.
    if places.tsa:
        from collector.anchor.tsa import Tsa

        opened += (Tsa(name, place) for name, place in places.tsa.items())
    if places.s3:
        from collector.anchor.s3 import S3Anchor

        opened += (S3Anchor(name, place, clock=clock, origin=origin) for name, place in places.s3.items())
    if places.azure_blob:
        from collector.anchor.azure_blob import AzureBlobAnchor

        containers = places.azure_blob.items()
        opened += (AzureBlobAnchor(name, place, clock=clock, origin=origin) for name, place in containers)
    if places.gcs:
        from collector.anchor.gcs import GcsAnchor

        opened += (GcsAnchor(name, place, clock=clock, origin=origin) for name, place in places.gcs.items())
    if places.witness:
        from collector.anchor.witness import WitnessAnchor

        opened += (WitnessAnchor(name, place, origin, clock) for name, place in places.witness.items())
    if places.file:
        from collector.anchor.file import FileAnchor

        opened += (FileAnchor(name, place, origin=origin) for name, place in places.file.items())
    if places.email:
        from collector.anchor.email import MailAnchor

        domain = origin.partition("/")[0]
        for name, mailbox in places.email.items():
            channel = settings.alerts.email[mailbox.channel]  # that it is there, the configuration has seen to
            opened.append(MailAnchor(name, channel, environ, domain, clock=clock))
    return {place.id: place for place in opened}
