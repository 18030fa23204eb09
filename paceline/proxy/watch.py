"""Watches one backend: finds out what it is, whether it is up, how busy it is, when it restarts."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import structlog
from msgspec import structs

from paceline.engines.adapter import MODELS, Adapter
from paceline.engines.base import Facts, native
from paceline.engines.recognise import ADAPTERS, ASK, recognise
from paceline.proxy.config import UpstreamConfig
from paceline.proxy.directory import Entry
from paceline.proxy.probe import Probe, Reply
from paceline.scheduler.types import BackendSpec

LOAD_SECONDS = 0.5
"""How often a busy backend is asked for its load: several times within a prefill of seconds, and at
5 ms a reply (vLLM's `/metrics`) about 1% of a core."""
FACTS_SECONDS = 30.0
"""How often everything is asked again: adapters are loaded and limits changed at run time."""
FAILURES = 3
"""Health checks in a row that must fail: one alone may be a garbage collection or a long step."""

log = structlog.get_logger()


class Sink(Protocol):
    """Who is told: the driver."""

    def now(self) -> float:
        """The clock of all instants."""
        ...

    def backend_changed(self, spec: BackendSpec) -> None:
        """Something about a backend is new."""
        ...

    def backend_reset(self, id: str) -> None:
        """A backend restarted."""
        ...

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        """A backend told its load."""
        ...


class Requests(Protocol):
    """What the proxy itself has going on at a backend: its connections there."""

    def in_flight(self, backend: str) -> int:
        """Requests sent there and not finished."""
        ...

    def last_byte_at(self, backend: str) -> float | None:
        """When it last sent a byte of any answer; None before the first."""
        ...


class Watch:
    """What is known of one backend, kept up to date until cancelled."""

    def __init__(
        self, entry: Entry, probe: Probe, sink: Sink, requests: Requests, config: UpstreamConfig
    ) -> None:
        self._entry = entry
        self._probe = probe
        self._sink = sink
        self._requests = requests
        self._config = config
        self._log = log.bind(backend=entry.id)
        self._adapter: Adapter | None = None
        self._facts: Facts | None = None
        self._spec: BackendSpec | None = None
        self._failures = 0
        self._facts_due = 0.0

    async def run(self) -> None:
        """Health at its interval, load in between while anything is in flight."""
        self.introduce()
        health_due = self._sink.now()
        while True:
            try:
                if self._sink.now() >= health_due:
                    health_due = self._sink.now() + _jitter(self._config.probe_seconds)
                    await self.check()
                if self._entry.up and self._requests.in_flight(self._entry.id) > 0:
                    await self.poll_load()
            except Exception:
                self._log.exception("watch failed")  # a watch that ends would freeze its backend
            pause = min(_jitter(LOAD_SECONDS), health_due - self._sink.now())
            await asyncio.sleep(max(pause, 0.0))

    def introduce(self) -> None:
        """Tell that there is such a backend, though not yet up."""
        models = tuple(self._entry.config.models) or None
        draining = self._entry.draining
        self._tell(BackendSpec(id=self._entry.id, models=models, up=False, draining=draining))

    def refresh(self) -> None:
        """What the configuration says of it changed, or whether it is to drain: tell it on."""
        if self._facts is None:
            self.introduce()
        else:
            self._entry.models = tuple(self._entry.config.models) or self._facts.models
            self._tell(_spec(self._entry, self._facts))

    async def check(self) -> None:
        """One health check."""
        if self._adapter is None:
            await self._find_out()
            return
        reply = await self._probe.ask(self._adapter.health)
        if reply is None or not reply.alive:
            self._failed()
        elif self._failures or not self._entry.up or self._sink.now() >= self._facts_due:
            await self._find_out()
        else:
            await self._notice_restart(reply)

    async def poll_load(self) -> None:
        """Ask for the load, in the best place that tells it; there may be none."""
        assert self._adapter is not None
        for path in self._adapter.loads:
            asked_at = self._sink.now()
            reply = await self._probe.ask(path)
            if reply is None:
                return
            load = self._adapter.load(reply.body) if reply.status == 200 else None
            if load is not None:
                self._sink.load_reported(self._entry.id, load.running, load.waiting, asked_at)
                await self._notice_restart(reply)
                return

    async def _notice_restart(self, reply: Reply) -> None:
        assert self._adapter is not None
        started_at = self._adapter.started_at(reply.body)
        known = self._facts.started_at if self._facts else None
        if started_at is not None and known is not None and started_at != known:
            await self._find_out()

    async def _find_out(self) -> None:
        """Ask for all facts and tell what changed; does nothing while it cannot serve yet."""
        listed = await self._probe.ask(MODELS)
        if listed is None or not listed.alive:
            self._failed()
            return
        replies = {MODELS: listed.body} if listed.status == 200 else {}
        replies |= await self._probe.ask_all(self._questions())
        adapter = self._adapter or self._recognise(replies)
        if adapter is None:
            return
        facts = adapter.facts(replies)
        if not facts.models and not self._entry.config.models:
            return
        self._learned(adapter, facts)

    def _questions(self) -> tuple[str, ...]:
        if self._adapter is not None:
            return self._adapter.ask
        kind = self._entry.config.kind
        return ASK if kind == "auto" else ADAPTERS[kind].ask

    def _recognise(self, replies: dict[str, bytes]) -> Adapter | None:
        kind = self._entry.config.kind
        found = recognise(replies) if kind == "auto" else kind
        return None if found is None else ADAPTERS[found]

    def _learned(self, adapter: Adapter, facts: Facts) -> None:
        """Take over what the backend says of itself, and that it is up."""
        was_down = not self._entry.up
        if self._facts is not None:
            if _restarted(self._facts, facts, was_down):
                self._log.warning("backend restarted")
                self._sink.backend_reset(self._entry.id)
            facts = _completed(facts, self._facts)
        self._adapter, self._facts, self._failures = adapter, facts, 0
        self._facts_due = self._sink.now() + FACTS_SECONDS
        entry, config = self._entry, self._entry.config
        entry.kind, entry.up = facts.kind, True
        entry.models = tuple(config.models) or facts.models
        spec = _spec(entry, facts)
        if spec != self._spec:
            self._log.info("backend up", kind=facts.kind, models=entry.models, kv=spec.kv_tokens)
            self._tell(spec)

    def _failed(self) -> None:
        """One check went wrong; bytes that are flowing say more than a check."""
        last_byte = self._requests.last_byte_at(self._entry.id)
        recent = self._sink.now() - self._config.probe_seconds
        if last_byte is not None and last_byte >= recent:
            self._failures = min(self._failures + 1, FAILURES - 1)
            return
        self._failures += 1
        if self._failures >= FAILURES and self._entry.up and self._facts is not None:
            self._entry.up = False
            self._log.warning("backend down", failures=self._failures)
            self._tell(_spec(self._entry, self._facts))

    def _tell(self, spec: BackendSpec) -> None:
        self._spec = spec
        self._sink.backend_changed(spec)


def _restarted(before: Facts, now: Facts, was_down: bool) -> bool:
    """Another start time; where none is told, having been down is reason enough."""
    if before.started_at is None or now.started_at is None:
        return was_down
    return before.started_at != now.started_at


def _completed(now: Facts, before: Facts) -> Facts:
    """The facts; where only the models came this time, the rest stands as it was."""
    if now.started_at is not None or before.started_at is None:
        return now
    return structs.replace(before, models=now.models or before.models)


def _spec(entry: Entry, facts: Facts) -> BackendSpec:
    """The facts, with what the configuration says instead."""
    config = entry.config
    default = BackendSpec(id=entry.id)
    paths = ADAPTERS[facts.kind].native
    leader_first = config.leader_first
    return BackendSpec(
        id=entry.id,
        models=entry.models,
        apis=tuple(native(path, model) for path in paths for model in ("", *entry.models)),
        kv_tokens=config.kv_tokens or facts.kv_tokens,
        chunk_tokens=facts.chunk_tokens or default.chunk_tokens,
        max_running=config.max_running or facts.max_running,
        leader_first=facts.kind == "sglang" if leader_first is None else leader_first,
        up=entry.up,
        draining=entry.draining,
    )


def _jitter(seconds: float) -> float:
    """A tenth more or less, so that backends are not all asked in the same instant."""
    return seconds * random.uniform(0.9, 1.1)
