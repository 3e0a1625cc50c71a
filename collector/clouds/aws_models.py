"""What botocore's models know without a client: how operations page, what they are called, where they are asked.

One copy of the models serves the whole process. They are read without their documentation and without every operation
that could change anything: a client made from them has no method for it, and is a fraction of the size.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import DataNotFoundError
from botocore.loaders import JSONFileLoader, Loader

from collector.errors import ConfigError

SERVICE = "service-2"  # the kind of file that lists what a service can be asked
READS = ("BatchGet", "Describe", "Get", "List", "Lookup", "Search")
READS_BESIDES = frozenset(("GenerateCredentialReport",))  # makes the report that GetCredentialReport reads


class _LeanFiles(JSONFileLoader):  # type: ignore[misc]  # botocore is untyped
    """Reads model files and leaves out what they say to people."""

    def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
        if not Path(full_path).is_file():
            return None
        with open_method(full_path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=_without_documentation)


def _without_documentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if isinstance(found.get("documentation"), str):
        found["documentation"] = ""  # botocore asks for the member in places, so it stays
    return found


def _reading(model: dict[str, Any]) -> dict[str, Any]:
    """A service model with the operations that read, and the shapes that they need."""
    operations = {
        name: operation
        for name, operation in model["operations"].items()
        if name.startswith(READS) or name in READS_BESIDES
    }
    shapes: dict[str, Any] = {}
    waiting = [name for operation in operations.values() for name in _shapes_in(operation)]
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting += _shapes_in(shapes[name])
    return {**model, "operations": operations, "shapes": shapes}


def _shapes_in(value: Any) -> list[str]:
    """Every shape that a part of a model refers to."""
    if isinstance(value, list):
        return [name for member in value for name in _shapes_in(member)]
    if not isinstance(value, dict):
        return []
    own = [value["shape"]] if isinstance(value.get("shape"), str) else []
    return own + [name for member in value.values() for name in _shapes_in(member)]


class _ReadingModels(Loader):  # type: ignore[misc]  # botocore is untyped
    """Loads service models, with botocore's own amendments, and leaves out what does not read."""

    def __init__(self) -> None:
        super().__init__(file_loader=_LeanFiles())
        self._reading: dict[tuple[str, str | None], dict[str, Any]] = {}
        self._lock = threading.Lock()

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if type_name != SERVICE:
            return super().load_service_model(service_name, type_name, api_version)
        key = (service_name, api_version)
        with self._lock:
            if key not in self._reading:
                self._reading[key] = _reading(super().load_service_model(service_name, type_name, api_version))
                for held in list(self._cache):  # botocore keeps the whole model there
                    if held[0].startswith("load_") and any(str(part).endswith(SERVICE) for part in held):
                        del self._cache[held]
            return self._reading[key]


@cache
def _loader() -> Loader:
    return _ReadingModels()


def lean_session() -> botocore.session.Session:
    """A botocore session over the shared models."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    return session


@cache
def _models() -> botocore.session.Session:
    return lean_session()


@cache
def paging(service: str, operation: str) -> Mapping[str, Any] | None:
    """How an operation pages, None when it does not."""
    try:
        table = _loader().load_service_model(service, "paginators-1")["pagination"]
    except DataNotFoundError:  # a service none of whose operations page
        return None
    return next((table[name] for name in table if xform_name(name) == operation), None)


@cache
def wire_name(service: str, operation: str) -> str:
    """``describe_volumes`` as the provider writes it: ``DescribeVolumes``. Raises ConfigError when there is none."""
    model = _models().get_service_model(service)
    for name in model.operation_names:
        if xform_name(name) == operation:
            return str(name)
    raise ConfigError(f"AWS has no operation {service}.{operation}")


@cache
def continuations(service: str, operation: str) -> tuple[str, ...]:
    """The members of an answer that say there is more, for operations without a paging table."""
    shape = _models().get_service_model(service).operation_model(wire_name(service, operation)).output_shape
    known = ("NextToken", "nextToken", "Marker", "NextMarker", "IsTruncated", "Truncated", "ContinuationToken")
    return tuple(name for name in known if shape is not None and name in shape.members)


@cache
def partition_of(region: str) -> str:
    """``aws``, ``aws-cn`` or ``aws-us-gov``."""
    return str(_models().get_partition_for_region(region))


@cache
def endpoint(service: str, region: str) -> str:
    """The provider's own host for a service in a region."""
    resolver = _models()._get_internal_component("endpoint_resolver")  # the public way to it is deprecated
    found = resolver.construct_endpoint(_models().get_service_model(service).endpoint_prefix, region)
    return str(found["hostname"]) if found else f"{service}.{region}.amazonaws.com"
