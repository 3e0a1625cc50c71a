"""From a change in the cloud to the alert at its receiver: ``.venv/bin/python bench/feed.py [CHANGES]``.

An unmodified daemon, a simulated account whose changes reach an SQS queue at once (EventBridge takes about a second of
its own), a real webhook receiver. Prints the median and the longest time, and what one re-collection asks.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collector import config, daemon
from collector.alert.outbox import open_channels
from collector.demo.cloud import SimulatedCloud
from collector.demo.inbox import Inbox
from collector.ledger.entry import Kind
from collector.web.metrics import Metrics

SECRET = "a secret of the bench, long enough"
CONTROLS = """
[controls.TLS]
title = "Buckets refuse plaintext."
owner = "bench"
criteria = ["CC6.7"]
checks = ["aws-s3-bucket-tls"]
[controls.DISK]
title = "Disks are encrypted."
owner = "bench"
criteria = ["CC6.1"]
checks = ["aws-ebs-default-encryption"]
"""


def settings(folder: Path, account: str, queue: str, inbox: str) -> config.Settings:
    (folder / "controls.toml").write_text(CONTROLS)
    (folder / "collector.toml").write_text(
        f'[collector]\norigin = "bench.local/feed"\n[[aws]]\naccount = "{account}"\n'
        f'[feed.aws.main]\nqueue_url = "{queue}"\nregion = "us-east-1"\n'
        f'[alerts.webhook.inbox]\nurl = "{inbox}"\nsecret_env = "BENCH_SECRET"\n'
    )
    return config.load(folder / "collector.toml", {})


def main(changes: int) -> None:
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as name, SimulatedCloud(now=datetime.now(UTC)) as cloud:
        folder = Path(name)
        os.environ.update(cloud.environment)
        os.environ["BENCH_SECRET"] = SECRET
        inbox = Inbox(SECRET.encode(), folder / "inbox.jsonl")
        queue = cloud.client("sqs").create_queue(QueueName="changes")["QueueUrl"]
        read = settings(folder, cloud.account, queue, inbox.url)
        with daemon.opened(read) as operation:
            operation.announce()
            operation.plan(operation.accounts[0])
            operation.observe(operation.accounts[0], None)
            opened = operation.ledger.projection.open_states("aws-s3-bucket-tls", f"aws/{cloud.account}")
            good = sorted(name for name, standing in opened.items() if standing.state.value == "satisfied")
            channels = open_channels(read, os.environ)
            works = daemon.Daemon(operation, channels, Metrics(), daemon.anchoring(operation))
            works.start()
            while operation.ledger.projection.pending(datetime.now(UTC)):
                time.sleep(0.5)
            cloud.feed(queue)
            took = []
            for number in range(changes):
                arn = good[number // 2 % len(good)]
                took.append(change(cloud, arn, number, inbox))
                print(f"{number + 1:3}: {took[-1]:5.1f} s")
                time.sleep(chance.uniform(0, 5))
            calls = [
                len(json.loads(operation.ledger.blob(entry.data["calls"])))
                for entry in operation.ledger.entries(kinds=[Kind.SPOT])
            ]
            works.stop()
        inbox.close()
    print(f"{changes} changes: median {statistics.median(took):.1f} s, longest {max(took):.1f} s")
    print(f"calls of one re-collection: median {statistics.median(calls):.0f}, most {max(calls)}")


def change(cloud: SimulatedCloud, arn: str, number: int, inbox: Inbox) -> float:
    """Breaks a bucket's policy, or puts it back; returns the seconds until the webhook has heard of it."""
    client: Any = cloud.client("s3")
    bucket = arn.rpartition(":")[2]
    before = inbox.received
    begun = time.monotonic()
    if number % 2 == 0:
        KEPT[arn] = client.get_bucket_policy(Bucket=bucket)["Policy"]
        client.delete_bucket_policy(Bucket=bucket)
    else:
        client.put_bucket_policy(Bucket=bucket, Policy=KEPT[arn])
    while inbox.received == before:
        if time.monotonic() - begun > 120:
            raise SystemExit("no alert after two minutes")
        time.sleep(0.05)
    return time.monotonic() - begun


KEPT: dict[str, str] = {}

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
