"""A bucket of Google Cloud Storage with object retention as a place outside: each checkpoint a locked object.

The rules are in worm.py, the calls in ``collector/clouds/worm_gcs.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from collector.anchor.worm import WormAnchor, no_sdk, utc_now
from collector.clouds.worm import Version
from collector.config_places import GcsPlace


class GcsAnchor(WormAnchor):
    """One bucket."""

    kind = "gcs"
    mode = "Locked"  # an unlocked retention can be taken away by whoever may override it

    def __init__(
        self,
        name: str,
        place: GcsPlace,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        origin: str = "",
    ) -> None:
        """Raises ConfigError without the SDK."""
        try:
            from collector.clouds.worm_gcs import Bucket
        except ImportError as error:
            raise no_sdk("gcs", name, "gcp", error) from error
        store = Bucket(
            place.bucket,
            credentials_file=place.credentials_file,
            impersonate=place.impersonate,
            timeout=place.timeout,
            sleep=sleep,
        )
        self._bucket = place.bucket
        receipt = {"bucket": place.bucket}
        super().__init__(name, store, receipt, prefix=place.prefix, retain=place.retain, clock=clock, origin=origin)

    def where(self, version: Version) -> str:
        return f"gs://{self._bucket}/{version.key}#{version.id}"
