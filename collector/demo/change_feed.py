"""EventBridge and the long poll of SQS for the simulated account: every change becomes an event in one queue."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from collector.demo.proxy import Request, Response

if TYPE_CHECKING:
    from collector.demo.aws import Call, World

WAIT_SECONDS_MAX = 20  # SQS
LOOK_SECONDS = 0.05


def long_poll(request: Request, once: Callable[[Request], Response]) -> Response:
    """Asks the queue again and again instead of letting moto wait, which would keep everybody else out."""
    try:
        asked = json.loads(request.body)
        wait = int(asked.pop("WaitTimeSeconds"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return once(request)
    if not request.headers.get("x-amz-target", "").endswith(".ReceiveMessage"):
        return once(request)
    body = json.dumps({**asked, "WaitTimeSeconds": 0}).encode()
    headers = {**request.headers, "content-length": str(len(body))}
    short = replace(request, body=body, headers=headers)
    until = time.monotonic() + min(wait, WAIT_SECONDS_MAX)
    while True:
        found = once(short)
        if found.status != 200 or b'"Messages"' in found.body or time.monotonic() >= until:
            return found
        time.sleep(LOOK_SECONDS)


def rule(world: World, queue_url: str, region: str) -> Callable[[datetime, Call, Request, Response], None]:
    """What tells a queue of each change, in the shape in which EventBridge delivers what CloudTrail logs."""
    from collector.demo.event_history import record_of  # it needs the bed, and the bed needs ``long_poll``

    client: Any = world.moto.client("sqs", region)

    def heard(at: datetime, call: Call, request: Request, answer: Response) -> None:
        if call.service == "sqs":
            return
        record = record_of(world, at, call, request, answer)
        event = {
            "version": "0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, record["eventID"])),
            "detail-type": "AWS API Call via CloudTrail",
            "source": f"aws.{call.service}",
            "account": world.account,
            "time": record["eventTime"],
            "region": call.region,
            "resources": [],
            "detail": record,
        }
        client.send_message(QueueUrl=queue_url, MessageBody=json.dumps(event, separators=(",", ":")))

    return heard
