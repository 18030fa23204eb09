"""What an engine's facts say: whether it restarted, and what the scheduler is told of it."""

from __future__ import annotations

from msgspec import structs

from paceline.engines.base import Facts, native
from paceline.engines.recognise import ADAPTERS
from paceline.proxy.upstream.directory import Entry
from paceline.scheduler.types import BackendSpec


def has_restarted(before: Facts, now: Facts, was_down: bool) -> bool:
    """Another start time; where none is told, having been down is reason enough."""
    if before.started_at is None or now.started_at is None:
        return was_down
    return before.started_at != now.started_at


def completed(now: Facts, before: Facts) -> Facts:
    """The facts; where only the models came this time, the rest stands as it was."""
    if now.started_at is not None or before.started_at is None:
        return now
    return structs.replace(before, models=now.models or before.models)


def spec_of(entry: Entry, facts: Facts, now: float) -> BackendSpec:
    """The facts, with what the configuration says instead, and what it may have at this time."""
    config, throttle = entry.config, entry.standing.throttle
    limits = (config.max_running or facts.max_running, throttle.limit(now))
    default = BackendSpec(id=entry.id)
    paths = ADAPTERS[facts.kind].native
    leader_first = config.leader_first
    return BackendSpec(
        id=entry.id,
        models=entry.models,
        apis=tuple(native(path, model) for path in paths for model in ("", *entry.models)),
        kv_tokens=config.kv_tokens or facts.kv_tokens,
        chunk_tokens=facts.chunk_tokens or default.chunk_tokens,
        max_running=min((limit for limit in limits if limit is not None), default=None),
        leader_first=facts.kind == "sglang" if leader_first is None else leader_first,
        up=entry.up,
        load_tokens=throttle.load_tokens(now),
        draining=entry.draining,
    )
