"""Helpers for talking to a scheduler in tests: short names for requests, backends and answers."""

from __future__ import annotations

from paceline.policies.fcfs import Fcfs
from paceline.scheduler.blocks import chain
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Dispatch,
    Event,
    Finished,
    FirstByte,
)
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage

CONFIG = SchedulerConfig(feed_chunks=1.0)
"""So that a chunk is as much as a backend is fed."""


def keys(prefix: str) -> tuple[int, ...]:
    """The keys of one block for each letter."""
    return chain(b"test", prefix.encode("utf-32-le"), base=4)


def request(
    id: str,
    prefix: str = "",
    *,
    at: float = 0.0,
    tail: int = 10,
    max_tokens: int | None = 20,
    **more: object,
) -> Request:
    """A prompt of one 100-token block for each letter of `prefix`, and `tail` tokens of its own."""
    facts: dict[str, object] = {
        "id": id,
        "arrived_at": at,
        "model": "m",
        "prefix": keys(prefix),
        "block_tokens": 100.0,
        "prompt_tokens": 100 * len(prefix) + tail,
        "max_tokens": max_tokens,
    }
    return Request(**(facts | more))  # type: ignore[arg-type]


def backend(id: str = "b", **more: object) -> BackendSpec:
    """A backend for model `m` with a pool of 1,000 tokens and chunks of 900."""
    facts: dict[str, object] = {
        "id": id,
        "models": ("m",),
        "kv_tokens": 1000,
        "chunk_tokens": 900,
    }
    return BackendSpec(**(facts | more))  # type: ignore[arg-type]


def sglang(id: str = "s", **more: object) -> BackendSpec:
    """A backend that publishes late."""
    return backend(id, leader_first=True, **more)


class Talk:
    """A scheduler and what it said; answers read as `a->b` (dispatch) or `a!reason` (reject)."""

    def __init__(
        self,
        *backends: BackendSpec,
        policy: Policy | None = None,
        config: SchedulerConfig | None = None,
    ) -> None:
        self.scheduler = Scheduler(config or CONFIG, policy or Fcfs())
        self.dispatches: dict[str, Dispatch] = {}
        for spec in backends or (backend(),):
            self.say(BackendChanged(spec), 0.0)

    def say(self, event: Event, at: float) -> str:
        """One event; the answers, joined by spaces."""
        return " ".join(map(self._read, self.scheduler.handle(event, at)))

    def arrive(self, id: str, prefix: str = "", at: float = 0.0, **more: object) -> str:
        """A request arrives."""
        return self.say(Arrived(request(id, prefix, at=at, **more)), at)  # type: ignore[arg-type]

    def first_byte(self, id: str, at: float) -> str:
        """An answer begins."""
        return self.say(FirstByte(id), at)

    def finish(
        self,
        id: str,
        at: float,
        output: int | None = 20,
        *,
        answered: str = "",
        cached: int | None = None,
    ) -> str:
        """An answer ends; with it the conversation has the blocks `answered`."""
        usage = Usage(output_tokens=output, cached_tokens=cached)
        return self.say(Finished(id, usage, keys(answered)), at)

    def _read(self, action: Action) -> str:
        if isinstance(action, Dispatch):
            self.dispatches[action.id] = action
            return f"{action.id}->{action.backend}"
        return f"{action.id}!{action.reason}"
