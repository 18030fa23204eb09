"""What goes on at the backends: workers have the connections, the parent's health checks ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.workers.messages import Abandoned, Moved, ToWorker, Traffic

REPORT_SECONDS = 0.1
"""How often a worker tells what changed: several times between two looks at a backend."""


class Reporter:
    """In a worker: looks at its pool and tells what changed."""

    def __init__(self, pool: Pool, backends: Callable[[], Iterable[str]]) -> None:
        self._pool = pool
        self._backends = backends
        self._told: dict[str, Traffic] = {}

    def changes(self) -> list[Traffic]:
        """What is to be told now."""
        changed = []
        for id in self._backends():
            now = self._traffic(id)
            if self._told.get(id) != now:
                self._told[id] = now
                changed.append(now)
        return changed

    def _traffic(self, id: str) -> Traffic:
        pool = self._pool
        silence = pool.silence(id)
        since = round(pool.now() - silence, 3) if silence else None
        return Traffic(id, pool.in_flight(id), pool.last_byte_at(id), since, pool.broken_at(id))


class SharedPool(Pool):
    """In the parent: a pool without requests of its own, which answers for all workers'."""

    def __init__(self, config: UpstreamConfig, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, loop)
        self.tell: Callable[[ToWorker], None] = lambda message: None
        """Tells all workers."""
        self._reports: dict[int, dict[str, Traffic]] = {}

    def note(self, worker: int, traffic: Traffic) -> None:
        """A worker told what it has going on."""
        self._reports.setdefault(worker, {})[traffic.backend] = traffic

    def forget_worker(self, worker: int) -> None:
        """It is gone, with all its connections."""
        self._reports.pop(worker, None)

    def in_flight(self, backend: str) -> int:
        """Requests sent to the backend of this name whose reply has not ended."""
        return sum(one.in_flight for one in self._of(backend))

    def last_byte_at(self, backend: str) -> float | None:
        """When a byte of any reply last came from there; None before the first."""
        instants = [one.last_byte_at for one in self._of(backend)]
        return max((at for at in instants if at is not None), default=None)

    def broken_at(self, backend: str) -> float:
        """When it last closed a connection that the proxy would have kept; 0 before the first."""
        return max((one.broken_at for one in self._of(backend)), default=0.0)

    def silence(self, backend: str) -> float:
        """Seconds for which it has owed an answer and sent no byte of any; 0 with nothing to do."""
        since = [one.silent_since for one in self._of(backend) if one.silent_since is not None]
        if not since:
            return 0.0
        return max(0.0, self.now() - max(min(since), self.last_byte_at(backend) or 0.0))

    def abandon(self, backend: str) -> None:
        """It hangs: have all workers' requests there go elsewhere."""
        self.tell(Abandoned(backend))

    def drop(self, backend: str) -> None:
        """Have no worker keep a connection there."""
        super().drop(backend)
        for reports in self._reports.values():
            reports.pop(backend, None)
        self.tell(Moved(backend))

    def _of(self, backend: str) -> list[Traffic]:
        return [found for one in self._reports.values() if (found := one.get(backend)) is not None]
