"""A simulated cloud to point unmodified SDKs at: starts the process, hands out the environment, turns its knobs.

What the account holds is in ``estate.py``; how it answers is in ``aws.py``, in a process of its own (``serve.py``).
"""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config

ACCOUNT = "123456789012"
REGIONS = ("us-east-1", "eu-west-1")
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 5.0
CONTROL_SECONDS_MAX = 120.0
COLLECTOR_KEY = "AKIAIOSFODNN7EXAMPLE"
ADMIN_KEY = "AKIAI44QH8DHBEXAMPLE"
SECRET_KEY = "simulated-not-a-secret"
# What would lead a process elsewhere than to the simulated cloud.
FOREIGN = (
    *("AWS_", "AZURE_", "IDENTITY_", "MSI_", "GOOGLE_", "GCE_", "CLOUDSDK_"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
TENANT = "3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11"
SUBSCRIPTIONS = ("8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c01", "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c02")
ORGANIZATION = "organizations/461203958147"
PROJECTS = ("acme-prod", "acme-data", "acme-sandbox")
WORKSPACE_ADMIN = "admin@acme.example"


class CloudError(RuntimeError):
    """The simulated cloud did not start, or refused a control call."""


class Bed:
    """The control calls of one simulated cloud by name: ``cloud.gcp.edit(id=..., path=..., value=...)``.

    They are the public methods of ``azure.bed.AzureBed`` and ``gcp.bed.GcpBed``, always with named arguments.
    """

    def __init__(self, control: Callable[..., Any], cloud: str) -> None:
        self._control = control
        self._cloud = cloud

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._control, f"{self._cloud}.{method}")


class SimulatedCloud:
    """One populated AWS account, Azure tenant and Google organization, from construction or ``with`` to ``close``.

    ``seed`` and ``scale`` choose the population (about 150 resources for 1, 2000 for 16), ``now`` where its clock
    begins. The clock then runs on in real time. Raises CloudError when it does not start in time.
    """

    def __init__(self, seed: int = 7, scale: int = 1, now: datetime = NOW, regions: Sequence[str] = REGIONS) -> None:
        self.account = ACCOUNT
        self.regions = tuple(regions)
        self._folder = Path(tempfile.mkdtemp(prefix="simulated-cloud-"))
        self._clients: dict[tuple[str, str], Any] = {}
        self.azure = Bed(self._control, "azure")
        self.gcp = Bed(self._control, "gcp")
        begun = time.monotonic()
        command = [sys.executable, "-m", "collector.demo.serve", "--folder", str(self._folder)]
        command += ["--seed", str(seed), "--scale", str(scale), "--now", now.isoformat()]
        command += ["--regions", ",".join(self.regions)]
        root = str(Path(__file__).parents[2])
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with (self._folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        try:
            self._ready = self._wait()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - begun

    def _wait(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], START_SECONDS_MAX)[0]:
            raise CloudError(f"the simulated cloud was not ready within {START_SECONDS_MAX:.0f} seconds")
        line = out.readline()
        if not line:
            said = (self._folder / "stderr").read_text(errors="replace")
            raise CloudError(f"the simulated cloud ended at once:\n{said[-4000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    # --- what a client needs ---

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead any SDK or tool of the three clouds here; nothing else is needed."""
        local = "127.0.0.1,localhost"
        return {
            "HTTPS_PROXY": self._ready["proxy"],
            "https_proxy": self._ready["proxy"],
            "NO_PROXY": local,
            "no_proxy": local,
            **self._ready["environment"],
            "REQUESTS_CA_BUNDLE": self._ready["bundle"],
            "AWS_CA_BUNDLE": self._ready["bundle"],
            "AWS_ACCESS_KEY_ID": COLLECTOR_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGIONS[0],
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, region: str = REGIONS[0]) -> Any:
        """A boto3 client of an administrator: its calls change things, are not logged and never fail by a fault."""
        found = self._clients.get((service, region))
        if found is None:
            config = Config(proxies={"https": self._ready["proxy"]}, retries={"total_max_attempts": 1})
            found = self._clients[service, region] = boto3.Session().client(
                service,
                region_name=region,
                aws_access_key_id=ADMIN_KEY,
                aws_secret_access_key=SECRET_KEY,
                verify=self._ready["bundle"],
                config=config,
            )
        return found

    # --- knobs ---

    def set_now(self, moment: datetime) -> None:
        """Sets the clock, which runs on from there."""
        self._control("set_now", moment=moment.isoformat())

    def set(self, key: str, value: Any) -> None:
        """Sets a piece of state that moto does not keep; the keys are listed in ``estate.py``.

        ``page_size`` is the most items of any page; 0 leaves it to the request.
        """
        self._control("set", key=key, value=value)

    def get(self, key: str) -> Any:
        """That piece of state as it is."""
        return self._control("get", key=key)

    def fault(
        self,
        kind: str,
        *,
        service: str = ".*",
        operation: str = ".*",
        region: str = ".*",
        params: str = "",
        times: int | None = None,
        seconds: float = 3.0,
        label: str = "",
    ) -> None:
        """Lets calls fail: throttle, expired, denied, 404, 409, 412, 500, slow, reset, truncate or html.

        ``service``, ``operation`` (``ListUsers`` or ``list_users``) and ``region`` are expressions for the whole name,
        ``params`` for any part of the parameters as JSON. ``times`` None lasts until it is cleared; ``seconds`` is how
        slow.
        """
        self._control(
            "fault",
            kind=kind,
            service=service,
            operation=operation,
            region=region,
            params=params,
            times=times,
            seconds=seconds,
            label=label,
        )

    def clear_faults(self, label: str = "") -> None:
        """Ends the faults with that label, or all."""
        self._control("clear_faults", label=label)

    def feed(self, queue_url: str, region: str = REGIONS[0]) -> None:
        """From now on each change of the AWS account is put into that queue, as EventBridge does; "" ends it."""
        self._control("feed", queue_url=queue_url, region=region)

    # --- what happened ---

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls after number ``since``: seq, at, service, operation, region, host, params (JSON text), token,
        status (0 for a reset), fault, key. The administrator's are not among them."""
        found: list[dict[str, Any]] = self._control("calls", since=since)
        return found

    def clear_calls(self) -> None:
        self._control("clear_calls")

    def clear_trail(self) -> None:
        """CloudTrail as if nothing had been asked yet."""
        self._control("clear_trail")

    def trail_records(self, region: str) -> list[dict[str, Any]]:
        """What CloudTrail logged of the calls to a region, as it stands in a trail's log files."""
        found: list[dict[str, Any]] = self._control("trail_records", region=region)
        return found

    def unserved(self) -> list[str]:
        """Operations that were asked and that nobody here knows, as ``service.Operation``."""
        found: list[str] = self._control("unserved")
        return found

    def refused(self) -> list[str]:
        """Hosts that were asked for and that are no cloud's."""
        found: list[str] = self._control("refused")
        return found

    def watch(self, pattern: str) -> None:
        """From now on all that the three clouds answer is searched for an expression; "" ends it."""
        self._control("watch", pattern=pattern)

    def crossed(self) -> dict[str, list[str]]:
        """The words that matched in answers since ``watch``, and the hosts that answered with each."""
        found: dict[str, list[str]] = self._control("crossed")
        return found

    def reset(self) -> None:
        """The account as it was at the start, with an empty log, no faults and the first clock."""
        self._control("reset")

    def _control(self, method: str, **arguments: Any) -> Any:
        door = http.client.HTTPConnection("127.0.0.1", self._ready["control"], timeout=CONTROL_SECONDS_MAX)
        try:
            door.request("POST", f"/{method}", json.dumps(arguments), {"X-Control": self._ready["token"]})
            answer = json.loads(door.getresponse().read())
        finally:
            door.close()
        if "error" in answer:
            raise CloudError(f"{method}: {answer['error']}")
        return answer["result"]

    # --- the end ---

    def close(self) -> None:
        """Ends the process and removes its files; may be called twice."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> SimulatedCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
