"""`/v1/models` and one model of it: the lists of all engines, merged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from paceline.proxy.http.errors import ApiError, unknown_model
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.serving.gateway import Gateway
from paceline.proxy.serving.rules import aliases
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.fetch import Fetched, FetchFailed, fetch
from paceline.proxy.upstream.heads import get_head

PATH = "/v1/models"


class ModelList(msgspec.Struct):
    """What an engine answers; what it says of each model is passed on as it is."""

    data: list[dict[str, Any]]
    object: str = "list"


def asked(path: str) -> bool:
    """Whether a path is that of the list or of one model: vLLM 0.32 has only the list."""
    return path == PATH or path.startswith(f"{PATH}/")


async def merged(gateway: Gateway, request: Request) -> Reply:
    """The models of every engine that answers in time, each named once, or the one whose name the
    path goes on with; raises ApiError."""
    backends = gateway.directory.up()
    replies = await asyncio.gather(*(_ask(gateway, request, one) for one in backends))
    answered = [reply for reply in replies if reply is not None]
    if not answered:
        raise ApiError(503, "No engine is up.", reason="no_backend", retry_after=1.0)
    good = [reply.body for reply in answered if reply.status == 200]
    if not good:  # such as 401: every engine refuses this client
        first = answered[0]
        return _json(first.status, first.body)
    models = merge(good)
    _add_aliases(models, aliases(gateway.config.rules))
    name = request.path[len(PATH) + 1 :]
    return _json(200, msgspec.json.encode(_named(models, name) if name else models))


def merge(bodies: Iterable[bytes]) -> ModelList:
    """One list of all models, the first engine's words for each; other shapes are left out."""
    models: dict[str, dict[str, Any]] = {}
    for body in bodies:
        try:
            found = msgspec.json.decode(body, type=ModelList).data
        except msgspec.DecodeError:
            continue
        for model in found:
            models.setdefault(str(model.get("id")), model)
    return ModelList(data=list(models.values()))


def _add_aliases(models: ModelList, named: Mapping[str, str]) -> None:
    """List the names of rules as models, described by what serves them, where that is up."""
    known = {str(model.get("id")): model for model in models.data}
    for name, model in named.items():
        if name not in known and model in known:
            models.data.append(known[model] | {"id": name})


def _named(models: ModelList, name: str) -> dict[str, Any]:
    for model in models.data:
        if model.get("id") == name:
            return model
    raise unknown_model(name)


async def _ask(gateway: Gateway, request: Request, backend: Address) -> Fetched | None:
    head = get_head(request, backend, PATH)
    try:
        async with asyncio.timeout(gateway.config.upstream.probe_timeout_seconds):
            return await fetch(gateway.pool, backend, head)
    except (FetchFailed, TimeoutError):
        return None


def _json(status: int, body: bytes) -> Reply:
    return Reply(status, body)
