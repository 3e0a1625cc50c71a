"""A bucket with S3 Object Lock as a place outside, best in another account: each checkpoint under a compliance lock.

The rules are in worm.py, the calls in ``collector/clouds/worm_aws.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from collector.anchor.worm import WormAnchor, no_sdk, utc_now
from collector.clouds.worm import Version
from collector.config_places import S3Place


class S3Anchor(WormAnchor):
    """One bucket."""

    kind = "s3"
    mode = "COMPLIANCE"  # not even the root user of the account can remove it or shorten it

    def __init__(
        self,
        name: str,
        place: S3Place,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        origin: str = "",
    ) -> None:
        """Raises ConfigError without the SDK."""
        try:
            from collector.clouds.worm_aws import Bucket
        except ImportError as error:
            raise no_sdk("s3", name, "aws", error) from error
        store = Bucket(
            place.bucket,
            place.region,
            profile=place.profile,
            role_arn=place.role_arn,
            timeout=place.timeout,
            sleep=sleep,
        )
        self._bucket = place.bucket
        receipt = {"bucket": place.bucket}
        super().__init__(name, store, receipt, prefix=place.prefix, retain=place.retain, clock=clock, origin=origin)

    def where(self, version: Version) -> str:
        return f"s3://{self._bucket}/{version.key}?versionId={version.id}"
