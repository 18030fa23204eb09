"""Watches one backend: finds out what it is, whether it is up, how busy it is, when it restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

import structlog

from paceline.engines.adapter import MODELS, Adapter
from paceline.engines.base import Facts, Load
from paceline.engines.recognise import ADAPTERS, ASK, recognise
from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.directory import Entry
from paceline.proxy.upstream.learned import completed, has_restarted, spec_of
from paceline.proxy.upstream.probe import Probe, Reply
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

    def broken_at(self, backend: str) -> float:
        """When it last closed a connection that would have been kept."""
        ...

    def silence(self, backend: str) -> float:
        """Seconds for which it has owed answers without a byte of any."""
        ...

    def abandon(self, backend: str) -> None:
        """It hangs: what waits for it may go elsewhere."""
        ...


class Watch:
    """What is known of one backend, kept up to date until cancelled."""

    def __init__(
        self,
        entry: Entry,
        probe: Probe,
        sink: Sink,
        requests: Requests,
        config: UpstreamConfig,
        alone: Callable[[Entry], bool],
    ) -> None:
        self._entry = entry
        self._standing = entry.standing
        self._alone = alone
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
        self._learned_at = 0.0
        self._load: Load | None = None
        self._moved_at = sink.now()
        self._standing.changed = self.refresh

    async def run(self) -> None:
        """Health at its interval, load in between while anything is in flight."""
        self.introduce()
        health_due = self._sink.now()
        while True:
            try:
                if self._standing.hung or self._sink.now() >= health_due:
                    health_due = self._sink.now() + _jitter(self._config.probe_seconds)
                    await self.check()
                if self._standing.healthy and self._requests.in_flight(self._entry.id) > 0:
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

    async def check(self) -> None:
        """One health check."""
        if self._adapter is None or self._standing.hung:
            await self._find_out()
            return
        reply = await self._probe.ask(self._adapter.health)
        if reply is None or not reply.alive:
            self._failed()
        elif self._failures or not self._standing.healthy or self._stale():
            await self._find_out()
        else:
            await self._notice_restart(reply)

    def _stale(self) -> bool:
        """Whether to ask for everything again: in time, or as connections broke, perhaps with the
        process."""
        broke = self._requests.broken_at(self._entry.id) >= self._learned_at
        return broke or self._sink.now() >= self._facts_due

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
                self._note(load)
                self._sink.load_reported(self._entry.id, load.running, load.waiting, asked_at)
                await self._notice_restart(reply)
                return

    def refresh(self) -> None:
        """Tell what is new: by what is thought of it, by its configuration, or as it drains."""
        entry, facts = self._entry, self._facts
        if facts is None:
            self.introduce()
            return
        entry.models = tuple(entry.config.models) or facts.models
        was_up, entry.up = entry.up, self._standing.usable(self._alone(entry))
        if entry.up != was_up and self._standing.healthy:
            self._log.warning("backend is back" if entry.up else "backend left")
        self._tell(spec_of(entry, facts, self._sink.now()))

    async def reacts(self, seconds: float) -> bool:
        """Whether it reacts within the time to the smallest questions there are.

        Two of them, since either may wait for a step of the engine: `/server_info` does in SGLang.
        """
        health = MODELS if self._adapter is None else self._adapter.health
        return await self._probe.reacts((MODELS, health), seconds)

    async def generates(self) -> bool:
        """Whether it can complete a request; one that it refuses is no sign of a defect."""
        reply = await self._probe.generate(next(iter(self._entry.models), ""))
        return reply is not None and reply.alive

    def frozen_seconds(self, now: float) -> float:
        """For how long its load has been the same; 0 if it never told any."""
        return 0.0 if self._load is None else now - self._moved_at

    def _note(self, load: Load) -> None:
        if load != self._load:
            self._load, self._moved_at = load, self._sink.now()

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
        standing, now = self._standing, self._sink.now()
        was_down = not standing.healthy
        if self._facts is not None:
            restarted = has_restarted(self._facts, facts, was_down)
            if restarted:
                self._log.warning("backend restarted")
                self._sink.backend_reset(self._entry.id)
            if restarted or was_down or standing.hung:
                standing.throttle.returned(now)
            facts = completed(facts, self._facts)
        first = self._facts is None
        self._adapter, self._facts, self._failures = adapter, facts, 0
        self._facts_due, self._learned_at = now + FACTS_SECONDS, now
        entry, config = self._entry, self._entry.config
        entry.kind, entry.models = facts.kind, tuple(config.models) or facts.models
        standing.healthy, standing.hung = True, False
        entry.up = entry.up or first
        self.refresh()
        if first:
            self._log.info("backend up", kind=facts.kind, models=entry.models, kv=facts.kv_tokens)

    def _failed(self) -> None:
        """One check went wrong; bytes that are flowing say more than a check."""
        last_byte = self._requests.last_byte_at(self._entry.id)
        recent = self._sink.now() - self._config.probe_seconds
        if last_byte is not None and last_byte >= recent:
            self._failures = min(self._failures + 1, FAILURES - 1)
            return
        self._failures += 1
        if self._failures >= FAILURES and self._standing.healthy:
            self._standing.healthy = False
            self._log.warning("backend down", failures=self._failures)
            self.refresh()
            self._requests.abandon(self._entry.id)  # a dead host closes no connection

    def _tell(self, spec: BackendSpec) -> None:
        if spec != self._spec:
            self._spec = spec
            self._sink.backend_changed(spec)


def _jitter(seconds: float) -> float:
    """A tenth more or less, so that backends are not all asked in the same instant."""
    return seconds * random.uniform(0.9, 1.1)
