"""The simulated Entra tenant on the wire: takes a request apart, lets it fail on demand, answers and logs it.

What is answered is in ``entra.py``, ``arm.py``, ``resource_graph.py``, ``microsoft_graph.py`` and ``blobs.py``; what
there is, in ``estate.py``. TLS and sockets are in ``collector/demo/proxy.py``.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from collector.demo.azure import arm, blobs, entra, errors, eventing, faults, imds, key_vault, microsoft_graph, queues
from collector.demo.azure.errors import Refusal
from collector.demo.azure.estate import populate as populate_estate
from collector.demo.azure.estate import populate_subscription
from collector.demo.azure.faults import FAULT_KINDS, Fault
from collector.demo.azure.quotas import Quotas
from collector.demo.azure.tokens import Issuer
from collector.demo.azure.world import (
    CLIENT,
    ROW,
    SECRET,
    SUBSCRIPTION,
    TENANT,
    Ask,
    Principal,
    World,
    subscription_document,
)
from collector.demo.proxy import Request, Reset, Response

CALLS_MAX = 500_000  # older ones are dropped from the log
STORAGE = re.compile(f"{blobs.HOST.pattern}|{queues.HOST.pattern}")
NOBODY = Principal("", "", "")
HEADERS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains", "X-Content-Type-Options": "nosniff"}


class AzureBed:
    """One tenant. Each public method except ``handle`` is a control call: JSON in, JSON out."""

    hosts: tuple[str, ...] = (
        *map(re.escape, (entra.HOST, arm.HOST, microsoft_graph.HOST)),
        key_vault.HOSTS,
        blobs.HOST.pattern,
        queues.HOST.pattern,
    )

    def __init__(
        self,
        seed: int,
        scale: int,
        clock: Callable[[], datetime],
        populate: Callable[[World, int], None] = populate_estate,
    ) -> None:
        """``populate`` fills another tenant than that of ``estate.py``."""
        self._arguments = (seed, scale, clock)
        self._populate = populate
        self._lock = threading.RLock()
        self._issuer: Issuer | None = None
        self.reset()

    def reset(self) -> None:
        """The tenant as it was at the start, with an empty log and no faults; keys and tokens stay good."""
        seed, scale, clock = self._arguments
        with self._lock:
            self.world = World(clock, seed=seed)
            self._populate(self.world, scale)
            if self._issuer is None:
                self._issuer = Issuer(self.world)
            self._issuer.world = self.world
            self._entra = entra.Entra(self._issuer)
            self._quotas = Quotas(clock)
            self._blobs = blobs.Storage(self.world)
            self._queues = queues.Queues(self.world)
            self._subscribed: list[eventing.EventSubscription] = []
            self._faults: list[Fault] = []
            self._calls: deque[dict[str, Any]] = deque(maxlen=CALLS_MAX)
            self._number = 0
            self._unserved: list[str] = []

    @property
    def issuer(self) -> Issuer:
        assert self._issuer is not None
        return self._issuer

    # --- for who starts it ---

    def credentials(self, folder: Path) -> dict[str, str]:
        """The environment variables with which the collector signs in."""
        return {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": SECRET}

    def certificate(self, folder: str) -> str:
        """Writes the application's certificate with its key into a folder; the PEM file."""
        return self.issuer.certificate(Path(folder))

    def federated_token(self, folder: str) -> str:
        """Writes a token of the cluster's service account, which may act as the application; the file."""
        file = Path(folder) / "azure-federated-token"
        file.touch(mode=0o600)
        file.write_text(self.issuer.federated_token())
        return str(file)

    def metadata(self, method: str, target: str, headers: dict[str, str]) -> Response:
        """The answer of the metadata service of a machine, or of App Service, whose identity is the collector's."""
        return imds.answer(self.issuer, method, target, headers)

    # --- control: objects ---

    def set(self, key: str, value: Any) -> None:
        """page_size (0: as asked), token_seconds, resource_graph_per_5s, resource_graph_lag_seconds,
        subscription_reads, subscription_reads_per_second, or licenses: ["P1", "P2"]."""
        with self._lock:
            if key == "licenses":
                self.world.licenses = set(value)
            elif key in self.world.settings:
                self.world.settings[key] = value
            else:
                raise ValueError(f"no setting {key!r}; there are licenses, {', '.join(sorted(self.world.settings))}")

    def get(self, key: str) -> Any:
        return sorted(self.world.licenses) if key == "licenses" else self.world.settings.get(key)

    def resources(self, type: str) -> list[str]:
        """The ids of a kind: a type of Azure Resource Manager in any letter case, "subscription", a table of Resource
        Graph for its own rows, or the path of a collection of Microsoft Graph ("/users")."""
        with self._lock:
            return [id for id, _ in self.world.each(type if type.startswith("/") else type.lower())]

    def show(self, id: str) -> dict[str, Any]:
        """The object as it is answered now. Raises LookupError."""
        with self._lock:
            key = self._key(id)
            self.world.require(key)
            found = self.world.find(key)
        assert found is not None
        return found

    def put(self, resource: dict[str, Any], collection: str = "") -> str:
        """Adds or replaces a whole object; its id. Without a collection it is a resource of Azure Resource Manager,
        which has ``id`` and ``type``; otherwise a table ("securityresources") or a path of Microsoft Graph ("/users",
        or of one policy) says what it is."""
        body = copy.deepcopy(resource)
        if collection.startswith("/"):
            single = collection.endswith(microsoft_graph.SINGLES)
            id, kind = (collection if single else f"{collection}/{body['id']}"), collection
        elif collection:
            id, kind = f"{ROW}{collection.lower()}:{str(body['id']).lower()}", collection.lower()
        elif str(body.get("id", "")).startswith("/subscriptions/") and "type" in body:
            id, kind = str(body["id"]).lower(), str(body["type"]).lower()
        elif "subscriptionId" in body and "displayName" in body:
            id, kind = f"/subscriptions/{body['subscriptionId']}", SUBSCRIPTION
        else:
            raise ValueError("put wants a resource with id and type, or the collection that the object is in")
        with self._lock:
            self.world.add(id, kind, body)
            self._tell("Write", body)
        return id

    def edit(self, id: str, path: str, value: Any) -> None:
        """Sets a member, "properties.minimumTlsVersion"; numbers are places in lists, None deletes."""
        with self._lock:
            key = self._key(id)
            self.world.edit(key, path, value)
            self._tell("Write", self.world.require(key))

    def remove(self, id: str) -> None:
        with self._lock:
            key = self._key(id)
            gone = self.world.require(key)
            self.world.remove(key)
            self._tell("Delete", gone)

    def make_container(self, account: str, container: str, immutable: bool = True) -> None:
        """An empty container of Blob Storage, with version-level immutability or without. No check knows of it."""
        with self._lock:
            self._blobs.make(account, container, immutable)

    def storage_rights(self, rights: list[str] | None = None) -> None:
        """What the collector may do in every container; None for what it has at the start (``blobs.RIGHTS``)."""
        with self._lock:
            self._blobs.rights = set(blobs.RIGHTS if rights is None else rights)

    def vault_key(self, vault: str, name: str, kind: str = "EC", curve: str = "P-256") -> str:
        """A key appears in a vault; the URL of its version, to be edited ("attributes.enabled") as any object."""
        with self._lock:
            return key_vault.add_key(self.world, vault, name, kind, curve)

    def make_queue(self, account: str, queue: str) -> None:
        with self._lock:
            self._queues.make(account, queue)

    def subscribe(self, account: str, queue: str, schema: str = eventing.SCHEMAS[0]) -> None:
        """From now on each change of a resource puts its event into the queue, as an event subscription of Event Grid
        over every Azure subscription does. ``schema``: EventGridSchema or CloudEventSchemaV1_0."""
        if schema not in eventing.SCHEMAS:
            raise ValueError(f"no schema {schema!r}; there are {', '.join(eventing.SCHEMAS)}")
        with self._lock:
            self._subscribed.append(eventing.EventSubscription(account, queue, schema))

    def _tell(self, what: str, resource: Mapping[str, Any]) -> None:
        for one in self._subscribed:
            event = eventing.event_of(what, resource, self.world.clock(), one.schema)
            if event is not None:
                self._queues.put(one.account, one.queue, event)

    def put_message(self, account: str, queue: str, body: str, encoded: bool = True) -> None:
        """As Event Grid delivers an event: in base64, or as it did at first and others do, as text."""
        with self._lock:
            self._queues.put(account, queue, body, encoded=encoded)

    def messages_held(self, account: str, queue: str) -> int:
        with self._lock:
            return self._queues.held(account, queue)

    def _key(self, id: str) -> str:
        """ARM ids are kept in lower case; those of Microsoft Graph as they are."""
        return id if id in self.world.items else id.lower()

    def add_subscription(self, id: str, name: str) -> None:
        """A subscription appears, with the little that a new one has."""
        with self._lock:
            self.world.add(f"/subscriptions/{id}", SUBSCRIPTION, subscription_document(id, name))
            populate_subscription(self.world, id, name)

    # --- control: rights, tokens ---

    def revoke(self, permission: str, subscription: str = "") -> None:
        """Takes an ARM action away (in one subscription), or "graph:NAME" with all tokens for Microsoft Graph."""
        with self._lock:
            self.world.lost.add((permission, subscription))
            if permission.startswith("graph:"):
                self.issuer.expire(microsoft_graph.HOST)

    def grant(self, permission: str, subscription: str = "") -> None:
        """Undoes ``revoke``, or gives what the collector never had."""
        with self._lock:
            self.world.lost.discard((permission, subscription))
            self.world.granted.add(permission)
            if permission.startswith("graph:"):
                self.issuer.expire(microsoft_graph.HOST)

    def permissions(self) -> list[str]:
        """What the collector holds everywhere: ARM actions as its role says them, and "graph:NAME"."""
        with self._lock:
            roles = [name for name in self.world.granted if name.startswith("graph:") and self.world.permitted(name)]
            return sorted([*self.world.held()[0], *roles])

    def expire_tokens(self) -> None:
        """Every access token that was handed out is expired from now on; new ones are given on request."""
        self.issuer.expire()

    # --- control: faults and log ---

    def fault(
        self,
        kind: str,
        operation: str = ".*",
        host: str = ".*",
        times: int | None = None,
        seconds: float = 3.0,
        label: str = "",
    ) -> None:
        """Lets calls fail (see FAULT_KINDS). Tokens stay obtainable unless ``host`` names that door.

        ``operation`` is searched in "GET /path", and for Resource Graph in "POST /path QUERY" too.
        """
        if kind not in FAULT_KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(FAULT_KINDS)}")
        re.compile(operation), re.compile(host)
        with self._lock:
            self._faults.append(Fault(kind, operation, host, times, seconds, label))

    def clear_faults(self, label: str = "") -> None:
        """Ends the faults with that label, or all."""
        with self._lock:
            self._faults = [fault for fault in self._faults if label and fault.label != label]

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls after number ``since``; status 0 is a reset, ``kql`` the query of Resource Graph."""
        with self._lock:
            return [call for call in self._calls if call["seq"] > since]

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def unserved(self) -> list[str]:
        """What was asked and that nobody here knows, as "GET host/path"."""
        return list(self._unserved)

    # --- the wire ---

    def handle(self, request: Request) -> Response:
        """The answer to one request. Raises Reset for a fault that is one."""
        ask = self._ask(request)
        fault = self._fault(ask)
        principal = ""
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        try:
            if fault is not None and fault.kind == "reset":
                raise Reset
            if fault is None or fault.kind in faults.ANSWERED:
                found, principal = self._answer(ask)
            else:
                found = self._written(ask, self._refused(fault, ask))
        except Reset:
            self._log(ask, 0, "reset", principal)
            raise
        self._log(ask, found.status, fault.kind if fault else "", principal)
        if fault is not None and fault.kind == "html":
            page = b"<html><head><title>Sign in to your account</title></head><body></body></html>"
            return Response(200, {"Content-Type": "text/html; charset=utf-8"}, page)
        sent = len(found.body) // 2 if fault is not None and fault.kind == "truncate" else None
        return replace(found, sent=sent)

    def _ask(self, request: Request) -> Ask:
        path, _, query = request.target.partition("?")
        try:
            body = json.loads(request.body) if request.body[:1] in (b"{", b"[") else None
        except ValueError:
            body = None
        if blobs.HOST.fullmatch(request.host):
            body = request.body
        elif body is None and request.host == entra.HOST:
            body = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
        own = str(uuid.uuid4())
        return Ask(
            method=request.method,
            host=request.host.lower(),
            path=urllib.parse.unquote(path),
            query=dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
            headers=request.headers,
            body=body,
            principal=NOBODY,
            request_id=own,
            client_request_id=request.headers.get("client-request-id", own),
            at=self.world.clock(),
        )

    def _fault(self, ask: Ask) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.hits(ask, self.issuer):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _refused(self, fault: Fault, ask: Ask) -> Refusal:
        if re.fullmatch(key_vault.HOSTS, ask.host):
            return key_vault.fault(fault.kind, ask)
        if STORAGE.fullmatch(ask.host) and fault.kind in blobs.FAULTS:
            return blobs.refusal(*blobs.FAULTS[fault.kind])
        return self._entra.fault(fault.kind) if ask.host == entra.HOST else faults.refusal(fault, ask)

    def _log(self, ask: Ask, status: int, fault: str, principal: str) -> None:
        with self._lock:
            self._number += 1
            self._calls.append(
                {
                    "seq": self._number,
                    "at": self.world.clock().isoformat(),
                    "host": ask.host,
                    "method": ask.method,
                    "path": ask.path,
                    "query": {name: [value] for name, value in ask.query.items()},
                    "kql": faults.query_of(ask),
                    "status": status,
                    "fault": fault,
                    "principal": principal,
                }
            )

    def _answer(self, ask: Ask) -> tuple[Response, str]:
        """(answer, who asked)."""
        principal = ""
        try:
            if ask.host == entra.HOST:
                found = self._entra.answer(ask.method, ask.path, ask.body)
                if found is None:
                    return self._not_served(ask), ""
                return self._json(ask, 200, found, {}), ""
            if re.fullmatch(key_vault.HOSTS, ask.host):
                with self._lock:
                    signed = key_vault.answer(self.world, self.issuer, ask)
                return (self._not_served(ask) if signed is None else self._json(ask, 200, signed, {})), CLIENT
            if blobs.HOST.fullmatch(ask.host):
                with self._lock:
                    return self._blobs.answer(self.issuer, ask), CLIENT
            if queues.HOST.fullmatch(ask.host):
                with self._lock:
                    return self._queues.answer(self.issuer, ask), CLIENT
            ask = replace(ask, principal=self.issuer.token(ask).principal)
            principal = ask.principal.application
            with self._lock:
                if ask.host == arm.HOST:
                    body, headers = arm.answer(self.world, self._quotas, ask)
                else:
                    body, headers = microsoft_graph.answer(self.world, ask)
            return self._json(ask, 200, body, headers), principal
        except Refusal as error:
            return self._written(ask, error), principal
        except (arm.Unserved, microsoft_graph.Unserved):
            return self._not_served(ask), principal

    def _not_served(self, ask: Ask) -> Response:
        with self._lock:
            self._unserved.append(f"{ask.method} {ask.host}{ask.path}")
        if ask.host == microsoft_graph.HOST:
            words = f"Resource not found for the segment '{ask.path.rpartition('/')[2]}'."
            return self._written(ask, errors.graph(ask, 400, "BadRequest", words))
        words = f"No HTTP resource was found that matches the request URI 'https://{ask.host}{ask.path}'."
        return self._written(ask, errors.arm(404, "NotFound", words))

    def _written(self, ask: Ask, error: Refusal) -> Response:
        if STORAGE.fullmatch(ask.host):
            return blobs.written(ask, error)
        return self._json(ask, error.status, error.body, error.headers)

    def _json(self, ask: Ask, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
        own: dict[str, str] = {**HEADERS, "Date": format_datetime(ask.at, usegmt=True), "Cache-Control": "no-cache"}
        if ask.host == microsoft_graph.HOST:
            own |= {
                "Content-Type": "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8",
                "request-id": ask.request_id,
                "client-request-id": ask.client_request_id,
                "OData-Version": "4.0",
            }
        else:
            own |= {"Content-Type": "application/json; charset=utf-8", "x-ms-request-id": ask.request_id}
        if ask.host == arm.HOST:
            own["x-ms-correlation-request-id"] = ask.request_id
            own["x-ms-routing-request-id"] = f"WESTEUROPE:{ask.at:%Y%m%dT%H%M%SZ}:{ask.request_id}"
        return Response(status, {**own, **headers}, json.dumps(body, ensure_ascii=False).encode())
