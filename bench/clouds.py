"""A tenant of 200 subscriptions and 50,000 resources, and an organization of 500 projects and 200,000 assets.

    python bench/clouds.py [--cloud azure|gcp] [--small] [--hurry 1]

The simulated clouds run in a process of their own and enforce their quotas. A second one collects with every check that
ships and seals what it saw, as ``collector once`` does; a third puts the same calls and does nothing with the answers
but parse them (requests and orjson, from as many threads). Waiting for quotas is most of the time it takes: with
``--hurry 10`` the clocks of both sides run ten times as fast, and nothing else changes. Machines differ: trust ratios.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent

LARGE = {"azure": (200, 5), "gcp": (500, 11)}  # parts, and the scale of each
SMALL = {"azure": (6, 2), "gcp": (9, 2)}
ASKED = {"calls": 1.1, "memory": 400, "cpu": 2.0}
THREADS = 32  # as many as the collector has for subjects
LISTS = ("value", "data", "assets", "projects", "users", "organizationUnits", "policies", "usageReports")
LISTS += ("vulnerabilityReports", "services", "folders")


# --- the simulated cloud, in a process of its own ---


def serve(cloud: str, parts: int, scale: int, hurry: float, folder: Path) -> None:
    """Says on standard output where it is, answers "calls" on standard input, and ends with it."""
    from collector.demo import large
    from collector.demo.azure.bed import AzureBed
    from collector.demo.azure.resource_graph import tables
    from collector.demo.gcp.bed import GcpBed
    from collector.demo.proxy import Proxy

    started, begun = datetime.now(UTC), time.monotonic()  # the collector's clock is the real one

    def clock() -> datetime:
        return started + timedelta(seconds=(time.monotonic() - begun) * hurry)

    bed: Any
    if cloud == "azure":
        bed = AzureBed(7, scale, clock, large.tenant(parts))
        resources = sum(len(ids) for kind, ids in bed.world.by_kind.items() if "resources" in tables(kind))
    else:
        bed = GcpBed(7, scale, clock, large.organization(parts))
        resources = sum(len(ids) for kind, ids in bed.world.by_kind.items() if "#" not in kind)
    proxy = Proxy("|".join(bed.hosts), bed.handle, folder)
    environment = {
        "HTTPS_PROXY": proxy.url,
        "https_proxy": proxy.url,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "REQUESTS_CA_BUNDLE": str(proxy.bundle),
        **bed.credentials(folder),
    }
    print(json.dumps({"environment": environment, "resources": resources}), flush=True)
    for line in sys.stdin:
        if line.strip() == "calls":
            statuses = Counter(call["status"] for call in bed.calls())
            print(json.dumps({"statuses": statuses, "unserved": bed.unserved()}), flush=True)
        elif line.strip() == "no quotas":
            for key in ("resource_graph_per_5s", "subscription_reads", "subscription_reads_per_second"):
                if cloud == "azure":
                    bed.set(key, 10**9)
            if cloud == "gcp":
                bed.set("list_assets_per_minute", 10**9)
            print("{}", flush=True)
    proxy.close()


@dataclass
class Simulator:
    """The other process, seen from here."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    resources: int

    def ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


@contextmanager
def simulator(cloud: str, parts: int, scale: int, hurry: float, folder: Path) -> Iterator[Simulator]:
    command = [sys.executable, str(Path(__file__)), "--side", "cloud", "--cloud", cloud, "--folder", str(folder)]
    command += ["--parts", str(parts), "--scale", str(scale), "--hurry", str(hurry)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain_environment()
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Simulator(process, ready["environment"], ready["resources"])
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def plain_environment() -> dict[str, str]:
    foreign = ("AWS_", "AZURE_", "GOOGLE_", "GCE_", "CLOUDSDK_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT)}


# --- our side ---


def collect_once(cloud: str, folder: Path) -> dict[str, Any]:
    """Everything that ``collector once`` does, in this process."""
    from collector import config, daemon
    from collector.clouds.directory import Directory
    from collector.clouds.rest import Call, Edge
    from collector.clouds.transcript import Transcript

    small_heap()
    imported = time.process_time()
    made: list[dict[str, Any]] = []
    put = Edge.put

    def watched(self: Edge, call: Call) -> Any:
        answer = put(self, call)
        made.append({"method": call.method, "url": call.url, "query": dict(call.query), "body": call.body})
        return answer

    Edge.put = watched  # type: ignore[method-assign]
    settings = config.load(folder / "collector.toml", {})
    transcripts: list[Transcript] = []

    class Clouds(Directory):
        def open(self, settings: Any, transcript: Transcript, reference: datetime) -> Any:
            transcripts.append(transcript)
            return super().open(settings, transcript, reference)

    marks: dict[str, float] = {}
    clouds = daemon.directory(settings)
    clouds.__class__ = Clouds
    with daemon.opened(settings, clouds=clouds) as operation:
        operation.announce()
        seal = operation._seal

        def sealing(*given: Any) -> Any:
            marks["collected"] = time.process_time()
            marks["collected_rss"] = peak()
            return seal(*given)

        operation._seal = sealing  # type: ignore[method-assign]
        begun, wall = time.process_time(), time.monotonic()
        sealed = operation.observe(operation.accounts[0], None)
        ended = time.process_time()
    assert sealed is not None
    (folder / "calls.json").write_text(json.dumps(made))
    states: Counter[str] = Counter()
    for run in sealed.runs:
        states.update(run.counts())
    blind = [f"{run.check} {run.scope}: {run.reason}" for run in sealed.runs if run.population is None]
    verdicts = (observation.verdict for run in sealed.runs for observation in run.observations)
    said = sorted({verdict.reason[:160] for verdict in verdicts if verdict.state.value == "undetermined"})
    transcript = transcripts[-1]
    return {
        "import_cpu": imported,
        "collect_cpu": marks["collected"] - begun,
        "seal_cpu": ended - marks["collected"],
        "wall": time.monotonic() - wall,
        "collect_rss": marks["collected_rss"],
        "rss": peak(),
        "runs": len(sealed.runs),
        "states": states,
        "blind": blind,
        "undetermined": said[:20],
        "bytes": sum(len(transcript.body(each.body)) for each in transcript.log if each.body),
        "exchanges": len(transcript.log),
        "attempts": sum(each.attempts for each in transcript.log),
        "pages": needed(transcript),
    }


def needed(transcript: Any) -> int:
    """The pages that the answers need: for each question as many as its items fill, one where there are none."""
    items: dict[str, list[int]] = defaultdict(list)
    for each in transcript.log:
        question = json.dumps([each.endpoint, each.operation, dict(each.params)], sort_keys=True)
        body = json.loads(transcript.body(each.body)) if each.body else {}
        found = next((body[name] for name in LISTS if isinstance(body.get(name), list)), None)
        items[question].append(0 if found is None else len(found))
    return sum(max(1, math.ceil(sum(pages) / max(1, *pages))) for pages in items.values())


def peak() -> float:
    """The most memory that this process ever had, in MiB."""
    # not ru_maxrss, which a process inherits from the one that started it
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def small_heap() -> None:
    """As the command line sets it."""
    app: Any = importlib.import_module("collector.cli.app")
    app._small_heap()
    gc.set_threshold(*app.GARBAGE)


# --- the other sides ---


def keep_only(cloud: str, folder: Path) -> dict[str, Any]:
    """The same calls through edge and transcript: read, parsed, redacted, hashed and kept, and judged by nobody."""
    from collector import config
    from collector.clouds import azure_access, azure_answers, gcp_access, gcp_answers
    from collector.clouds.rest import Call, Edge, Paces
    from collector.clouds.transcript import Question, Transcript

    account: Any = config.load(folder / "collector.toml", {}).accounts[0]
    answers: Any = (
        azure_answers.Answers(azure_access.Access(account, secret=account.secret(os.environ)).send)
        if cloud == "azure"
        else gcp_answers.Answers(gcp_access.Access(account).send)
    )
    edge = Edge(answers, "bench", Paces(), lambda: datetime.now(UTC), stated_quotas=False)
    transcript = Transcript()
    calls = [call for call in json.loads((folder / "calls.json").read_text()) if call["method"] in ("GET", "POST")]
    begun = time.process_time()

    def ask(numbered: tuple[int, dict[str, Any]]) -> None:
        number, call = numbered
        question = Question(
            cloud, urlsplit(call["url"]).netloc, f"{call['method']} {call['url']}", call["query"], number
        )
        transcript.ask(question, lambda _: edge.put(Call(call["method"], call["url"], call["query"], call["body"])))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, enumerate(calls, 1)))
    transcript.call_log()
    return {"cpu": time.process_time() - begun, "failed": sum(bool(each.failure) for each in transcript.log)}


def parse_only(cloud: str, folder: Path) -> dict[str, Any]:
    """The same calls: signed, sent, read and parsed."""
    import orjson
    import requests

    sign = signer(cloud, folder)
    calls = [call for call in json.loads((folder / "calls.json").read_text()) if call["method"] in ("GET", "POST")]
    session = requests.Session()
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
    begun = time.process_time()
    sizes: list[int] = []
    lock = threading.Lock()

    def ask(call: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {sign(call['url'])}", "User-Agent": "bench (gzip)"}
        answer = session.request(
            call["method"], call["url"], params=call["query"] or None, json=call["body"], headers=headers, timeout=120
        )
        orjson.loads(answer.content)
        with lock:
            sizes.append(len(answer.content) if answer.ok or answer.status_code in (403, 404) else 0)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, calls))
    return {"cpu": time.process_time() - begun, "calls": len(calls), "bytes": sum(sizes), "refused": sizes.count(0)}


def signer(cloud: str, folder: Path) -> Callable[[str], str]:
    """Gives the token that a URL is asked with."""
    from collector import config

    settings = config.load(folder / "collector.toml", {})
    account: Any = settings.accounts[0]
    access: Any
    if cloud == "azure":
        from collector.clouds import azure_access

        access = azure_access.Access(account, secret=account.secret(os.environ))
        return lambda url: access._tokens.get_token_info(access._scopes[urlsplit(url).netloc]).token
    from collector.clouds import gcp_access
    from collector.clouds.gcp_answers import DELEGATED_HOSTS, delegated_scope

    access = gcp_access.Access(account)

    def token(url: str) -> str:
        where = urlsplit(url)
        scope = delegated_scope(where.netloc, where.path) if where.netloc in DELEGATED_HOSTS else ""
        return str(access._token(scope).text())

    return token


# --- both, compared ---


def configured(cloud: str, folder: Path) -> None:
    """A collector of that one account, with every control that ships."""
    from collector.controls import starter
    from collector.demo.cloud import ORGANIZATION, TENANT, WORKSPACE_ADMIN

    account = (
        f'[[azure]]\ntenant = "{TENANT}"\n'
        if cloud == "azure"
        else f'[[gcp]]\nparent = "{ORGANIZATION}"\nworkspace_admin = "{WORKSPACE_ADMIN}"\n'
    )
    (folder / "collector.toml").write_text(f'[collector]\norigin = "bench.local/large"\n\n{account}')
    (folder / "controls.toml").write_text(starter((cloud,)))


def side(name: str, cloud: str, hurry: float, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__)), "--side", name, "--cloud", cloud, "--folder", str(folder)]
    command += ["--hurry", str(hurry)]
    found = subprocess.run(
        command, env={**plain_environment(), **environment}, stdout=subprocess.PIPE, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(f"the side {name} of {cloud} ended with {found.returncode}")
    return dict(json.loads(found.stdout.splitlines()[-1]))


def measured(cloud: str, parts: int, scale: int, hurry: float, *, compare: bool = True) -> dict[str, Any]:
    """Collects once from such an account. What is asked is in ``ASKED``; ``tests/clouds/test_scale.py`` holds to it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        configured(cloud, folder)
        with simulator(cloud, parts, scale, hurry, folder) as there:
            found = side("ours", cloud, hurry, folder, there.environment)
            calls = there.ask("calls")
            found |= {"cloud": cloud, "parts": parts, "resources": there.resources, **calls}
            found["calls"] = sum(calls["statuses"].values())
            found["throttled"] = calls["statuses"].get("429", 0)
            if compare:
                there.ask("no quotas")
                found["bare"] = side("bare", cloud, hurry, folder, there.environment)
                found["kept"] = side("kept", cloud, hurry, folder, there.environment)
    return found


def table(found: dict[str, Any]) -> None:
    print(f"\n{found['cloud']}: {found['parts']} parts, {found['resources']:,} resources")
    print(f"runs, verdicts         {found['runs']:>10,}   {sum(found['states'].values()):,} {dict(found['states'])}")
    for line in [*found["blind"][:5], *found["undetermined"][:5], *found["unserved"][:5]]:
        print(f"    {line}")
    ratio = found["calls"] / found["pages"]
    print(f"calls, pages needed    {found['calls']:>10,}   {found['pages']:,}: {ratio:.3f}   asked: at most 1.1")
    print(f"refused for a quota    {found['throttled']:>10,}   asked: none")
    print(f"answers                {found['bytes'] / 1e6:>10,.0f} MB")
    before = f"({found['collect_rss']:.0f} before sealing)"
    print(f"peak memory            {found['rss']:>10,.0f} MiB {before}   asked: under 400")
    if bare := found.get("bare"):
        print(f"CPU, collecting        {found['collect_cpu']:>10.1f} s")
        print(f"CPU, sealing           {found['seal_cpu']:>10.1f} s")
        print(f"CPU, reading + parsing {bare['cpu']:>10.1f} s ({bare['calls']:,} calls, {bare['bytes'] / 1e6:.0f} MB)")
        kept = found["kept"]["cpu"]
        print(f"CPU, into evidence     {kept:>10.1f} s (read, parsed, redacted, hashed, kept)")
        print(f"ratio, into evidence   {kept / bare['cpu']:>10.2f}     asked: at most 2")
        print(f"ratio, and judged      {found['collect_cpu'] / bare['cpu']:>10.2f}")
        whole = (found["collect_cpu"] + found["seal_cpu"]) / bare["cpu"]
        print(f"ratio, with sealing    {whole:>10.2f}")
        ours, theirs = (1e6 * cpu / found["resources"] for cpu in (found["collect_cpu"], bare["cpu"]))
        print(f"CPU for a resource     {ours:>10.0f} us ({theirs:.0f} us read and parsed)")
    print(f"time it took           {found['wall']:>10.0f} s", flush=True)


def faster(hurry: float) -> None:
    """Lets the clocks of this process run faster, before anything of ours looks at them."""
    if hurry != 1:
        monotonic, sleep = time.monotonic, time.sleep
        time.monotonic = lambda: monotonic() * hurry
        time.sleep = lambda seconds: sleep(seconds / hurry)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cloud", choices=("azure", "gcp"))
    words.add_argument("--small", action="store_true", help="a few parts, to see that it works")
    words.add_argument("--hurry", type=float, default=1.0)
    words.add_argument("--side", choices=("cloud", "ours", "bare", "kept"), help=argparse.SUPPRESS)
    words.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    words.add_argument("--parts", type=int, help=argparse.SUPPRESS)
    words.add_argument("--scale", type=int, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.side == "cloud":
        serve(given.cloud, given.parts, given.scale, given.hurry, given.folder)
    elif given.side == "ours":
        faster(given.hurry)
        print(json.dumps(collect_once(given.cloud, given.folder)))
    elif given.side in ("bare", "kept"):
        print(json.dumps((parse_only if given.side == "bare" else keep_only)(given.cloud, given.folder)))
    else:
        for cloud in (given.cloud,) if given.cloud else ("azure", "gcp"):
            table(measured(cloud, *(SMALL if given.small else LARGE)[cloud], given.hurry))


if __name__ == "__main__":
    main()
