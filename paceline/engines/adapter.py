"""What the proxy asks an engine, and how it reads the answers: one a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from paceline.engines.base import Facts, Kind, Load

MODELS = "/v1/models"
"""Every kind answers here once it can serve."""


class Adapter(Struct, frozen=True, kw_only=True):
    """The paths to ask and pure functions over the replies; a reply may be anything at all."""

    kind: Kind
    ask: tuple[str, ...]
    """What to ask for the facts, beside `MODELS`."""
    health: str
    """Answers below 500 while the engine can serve."""
    native: tuple[str, ...] = ()
    """Scheduled paths that other kinds do not have."""
    loads: tuple[str, ...] = ()
    """Where the load is told, best first; none when this kind does not tell it."""
    facts: Callable[[Mapping[str, bytes]], Facts]
    """From the replies that were 200, by path."""
    load: Callable[[bytes], Load | None]
    """From a reply of one of `loads`; None when it says nothing of load."""
    started_at: Callable[[bytes], float | None]
    """From any reply, when it tells: another value than before means that the engine restarted."""


class _Model(Struct):
    id: str
    owned_by: str | None = None


class _Models(Struct):
    data: list[_Model]


_models = msgspec.json.Decoder(_Models)


def models(reply: bytes | None) -> tuple[str, ...]:
    """The names in a reply of `/v1/models`."""
    return tuple(model.id for model in _cards(reply))


def owners(reply: bytes | None) -> set[str | None]:
    """`vllm` or `sglang`, where these engines answer `/v1/models`."""
    return {model.owned_by for model in _cards(reply)}


def _cards(reply: bytes | None) -> list[_Model]:
    try:
        return _models.decode(reply or b"").data
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        return []
