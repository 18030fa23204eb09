"""A picture of the scheduler at one instant, ready for JSON."""

from __future__ import annotations

from msgspec import Struct


class BackendSnapshot(Struct, kw_only=True):
    """One backend; tokens are the scheduler's estimates."""

    id: str
    up: bool
    draining: bool
    models: list[str]
    in_flight: int
    unstarted: int
    prefill_tokens: int
    prefill_rate: float
    kv_tokens: int | None
    kv_room: int | None
    recent_requests: int
    exact: bool
    """Whether the engine tells what its cache holds."""
    peers: int = 0
    """Requests in flight that other proxies sent."""


class QueueSnapshot(Struct, kw_only=True):
    """The waiting requests of one model."""

    model: str
    waiting: int
    held: int
    oldest_seconds: float


class Snapshot(Struct, kw_only=True):
    """Counts return to zero when nothing waits or runs, but for what stays cached."""

    waiting: int
    waiting_tokens: int
    in_flight: int
    """This proxy's own."""
    mean_wait_seconds: float
    trie_nodes: int
    trie_blocks: int
    """What the trie's memory is proportional to: about 250 bytes each."""
    queues: list[QueueSnapshot]
    backends: list[BackendSnapshot]
