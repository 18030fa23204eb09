"""Reads Kubernetes' EndpointSlices: what of a list and of a watch's events is an engine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from paceline.proxy.discovery.sources import Found


class ApiFailed(Exception):
    """The API server refused, or what was seen of it is too old."""


class _Conditions(Struct):
    ready: bool | None = None
    terminating: bool | None = None


class _Target(Struct):
    name: str = ""


class _Endpoint(Struct):
    addresses: list[str] = []
    conditions: _Conditions = field(default_factory=_Conditions)
    target: _Target | None = field(default=None, name="targetRef")


class _Port(Struct):
    port: int | None = None


class _Metadata(Struct):
    name: str = ""
    version: str = field(default="", name="resourceVersion")


class Slice(Struct):
    """One EndpointSlice, as far as it is looked at."""

    metadata: _Metadata = field(default_factory=_Metadata)
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class SliceList(Struct):
    """An answer to a list."""

    metadata: _Metadata = field(default_factory=_Metadata)
    items: list[Slice] = []


class _Event(Struct):
    type: str
    object: msgspec.Raw


Slices = dict[str, Slice]
"""By name: those of a Service."""


def endpoints(slices: Slices, port: int | None) -> Sequence[Found]:
    """What may be sent requests: ready, and not about to end.

    A pod with an address of either family is in two slices, and counts once.
    """
    found: set[Found] = set()
    for one in slices.values():
        number = port or next((each.port for each in one.ports or () if each.port), None)
        for endpoint in one.endpoints or ():
            conditions = endpoint.conditions
            if number and conditions.ready is not False and not conditions.terminating:
                name = endpoint.target.name if endpoint.target else ""
                found.update(Found(address, number, name) for address in endpoint.addresses[:1])
    once = {one.name or one.host: one for one in sorted(found, reverse=True)}
    return sorted(once.values())


def take(slices: Slices, line: bytes) -> Slice:
    """Apply one event of a watch; raises ApiFailed where it says that the watch has failed."""
    event = msgspec.json.decode(line, type=_Event)
    if event.type == "ERROR":
        raise ApiFailed(bytes(event.object).decode())
    changed = msgspec.json.decode(event.object, type=Slice)
    if event.type == "DELETED":
        slices.pop(changed.metadata.name, None)
    elif event.type != "BOOKMARK":
        slices[changed.metadata.name] = changed
    return changed
