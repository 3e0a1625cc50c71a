"""A container of Azure Blob Storage with version-level immutability as a place outside: a locked version a checkpoint.

The rules are in worm.py, the calls in ``collector/clouds/worm_azure.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from collector.anchor.worm import WormAnchor, no_sdk, utc_now
from collector.clouds.worm import Version
from collector.config_places import AzureBlobPlace


class AzureBlobAnchor(WormAnchor):
    """One container."""

    kind = "azure-blob"
    mode = "Locked"  # an unlocked policy can be deleted by whoever may set one

    def __init__(
        self,
        name: str,
        place: AzureBlobPlace,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        origin: str = "",
    ) -> None:
        """Raises ConfigError without the SDK, or when the URL names no container."""
        try:
            from collector.clouds.worm_azure import Container
        except ImportError as error:
            raise no_sdk("azure-blob", name, "azure", error) from error
        store = Container(
            place.container,
            tenant=place.tenant,
            credential=place.credential,
            client_id=place.client_id,
            timeout=place.timeout,
            sleep=sleep,
        )
        self._container = place.container.rstrip("/")
        receipt = {"container": self._container}
        super().__init__(name, store, receipt, prefix=place.prefix, retain=place.retain, clock=clock, origin=origin)

    def where(self, version: Version) -> str:
        return f"{self._container}/{version.key}?versionid={version.id}"
