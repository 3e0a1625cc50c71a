"""Opens the queues of the configured feeds and lets each work on a thread of its own, over one operation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from collector.alert import leaving
from collector.config import Settings
from collector.errors import ConfigError
from collector.feed import event as events
from collector.feed.event import Asked, Event, News
from collector.feed.match import Pair, asked
from collector.feed.pump import Pump, Queue
from collector.model import Scope
from collector.operation import Operation
from collector.spot import Spotted

Read = Callable[[bytes, Mapping[str, object], datetime], Event]


def open_queues(settings: Settings) -> dict[str, tuple[str, Queue, Read]]:
    """Cloud, queue and reader of each feed, by its name in words. Raises ConfigError without the cloud's SDK."""
    found: dict[str, tuple[str, Queue, Read]] = {}
    for name, feed in settings.feed.aws.items():
        try:
            from collector.clouds.feed_aws import SqsQueue
        except ImportError as error:
            raise ConfigError(f"[feed.aws.{name}] needs boto3: pip install 'evidence-collector[aws]'") from error
        queue = SqsQueue(feed.queue_url, feed.region, profile=feed.profile, role_arn=feed.role_arn)
        found[f"aws/{name}"] = "aws", queue, events.aws
    for name, storage in settings.feed.azure.items():
        try:
            from collector.clouds.feed_azure import StorageQueue
        except ImportError as error:
            raise ConfigError(f"[feed.azure.{name}] needs its SDK: pip install 'evidence-collector[azure]'") from error
        who = StorageQueue(
            storage.queue_url, tenant=storage.tenant, credential=storage.credential, client_id=storage.client_id
        )
        found[f"azure/{name}"] = "azure", who, events.azure
    for name, pubsub in settings.feed.gcp.items():
        try:
            from collector.clouds.feed_gcp import Subscription
        except ImportError as error:
            raise ConfigError(f"[feed.gcp.{name}] needs its SDK: pip install 'evidence-collector[gcp]'") from error
        subscription = Subscription(
            pubsub.subscription, credentials_file=pubsub.credentials_file, impersonate=pubsub.impersonate
        )
        found[f"gcp/{name}"] = "gcp", subscription, events.gcp
    return found


class Feeding:
    """All feeds of a configuration. ``looked`` is told what a re-collection left, ``count`` what became of an event."""

    def __init__(
        self,
        operation: Operation,
        count: Callable[[str, str], None] = lambda cloud, outcome: None,
        looked: Callable[[Spotted], None] = lambda found: None,
    ) -> None:
        self._operation = operation
        self._looked = looked
        self._accounts = {account.scope: account for account in operation.accounts}
        self._stopped = threading.Event()
        self.pumps: list[Pump] = []
        for name, (cloud, queue, read) in open_queues(operation.settings).items():
            mine = {scope.account: account for scope, account in self._accounts.items() if scope.cloud == cloud}
            self.pumps.append(
                Pump(
                    name,
                    queue,
                    lambda body, now, read=read, mine=mine: read(body, mine, now),  # type: ignore[misc]
                    self.match,
                    partial(self._look, cloud),
                    partial(self._whole, cloud),
                    operation.clock,
                    partial(count, cloud),
                )
            )

    def start(self) -> None:
        """Lets every feed work, until ``stop``."""
        self._stopped = threading.Event()
        for pump in self.pumps:
            threading.Thread(target=pump.run, args=(self._stopped,), name=f"feed {pump.name}", daemon=True).start()

    def stop(self) -> None:
        """Takes no further message; what is looked at now may still be sealed."""
        self._stopped.set()

    def troubles(self) -> dict[str, str]:
        """What is wrong with a feed, by its name."""
        return {f"feed {pump.name}": pump.trouble for pump in self.pumps if pump.trouble}

    def match(self, event: Event) -> list[Asked]:
        """What an event asks to be looked at again, and was not looked at since."""
        projection = self._operation.ledger.projection
        asks = leaving.asking(projection)
        pairs = [
            Pair(row.check, Scope.parse(row.scope), row.started)
            for row in projection.status()
            if row.check in self._operation.controls.enabled and asks(row.check, row.scope)
        ]
        cards = {id: self._operation.registry[id].check for id in self._operation.controls.enabled}

        def subjects(check: str, scope: str) -> Collection[str]:
            return projection.open_states(check, scope)

        return list(asked(event, pairs, cards, subjects))

    def _look(self, cloud: str, account: str, wanted: Sequence[Asked], news: News) -> bool:
        found = self._operation.spot(self._account(cloud, account), wanted, news)
        if found is not None:
            self._looked(found)
        return found is not None

    def _whole(self, cloud: str, account: str, pairs: Sequence[tuple[str, Scope]]) -> bool:
        return self._operation.rerun(self._account(cloud, account), pairs) is not None

    def _account(self, cloud: str, account: str) -> Any:
        return self._accounts[Scope(cloud, account)]
