"""Makes the dashboard's state: what it was told as requests passed, and the scheduler as it is."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from paceline import __version__
from paceline.proxy.config import Config
from paceline.proxy.telemetry.record import Record
from paceline.proxy.ui.condition import condition_of, findings
from paceline.proxy.ui.history import SLOT_SECONDS, WINDOW_SECONDS, History, total
from paceline.proxy.ui.ledger import Ledger
from paceline.proxy.ui.report import beside, written_at
from paceline.proxy.ui.views import BackendState, Board, WhatIf, Work
from paceline.proxy.upstream.directory import Directory
from paceline.scheduler.picture import Inspector
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.snapshot import BackendSnapshot, Snapshot

BACKENDS = 64
"""How many are shown, the busiest."""
FRESH_SECONDS = 0.5
"""How long a state is served again: pages ask once a second, and there may be several."""
SHARE = 0.02
"""Part of the event loop's time that making states may take, however many look and wait."""


class Now(Struct, kw_only=True):
    """What the board cannot know by itself."""

    config: Config
    policy: str
    """The one in use."""
    uptime: float
    """Seconds."""
    recording: str | None


class Boards:
    """Takes notes while requests pass, and makes a state when somebody looks."""

    def __init__(self, scheduler: Scheduler, directory: Directory, now: Callable[[], Now]) -> None:
        self._scheduler = scheduler
        self._directory = directory
        self._now = now
        self._inspector = Inspector(scheduler)
        self._history = History()
        self._ledger = Ledger(self._inspector)
        self.decided = self._ledger.decided
        """To be told what the scheduler decided."""
        self._state = b""
        self._stale_at = 0.0

    def ended(self, record: Record) -> None:
        """A request ended; about two microseconds."""
        self._history.add(record)
        self._ledger.ended(record)

    def state(self, now: float) -> bytes:
        """The state as JSON, made anew if it is older than `FRESH_SECONDS` and there is time."""
        if now >= self._stale_at:
            started = time.thread_time()
            board = self._board(now)
            took = time.thread_time() - started
            board.took_ms = round(took * 1000, 2)
            self._state = msgspec.json.encode(board)
            self._stale_at = now + max(FRESH_SECONDS, took / SHARE)
        return self._state

    def _board(self, now: float) -> Board:
        outside, snapshot = self._now(), self._scheduler.snapshot(now)
        picture = self._inspector.picture(now)
        offset = time.time() - now
        works = self._history.recent(now)
        recent = total(works.values())
        backends = self._backends(snapshot, works)
        return Board(
            at=now + offset,
            version=__version__,
            uptime_seconds=outside.uptime,
            policy=outside.policy,
            waiting=snapshot.waiting,
            waiting_tokens=snapshot.waiting_tokens,
            max_waiting=outside.config.scheduler.max_waiting,
            in_flight=snapshot.in_flight,
            mean_wait_seconds=snapshot.mean_wait_seconds,
            findings=findings(outside.config, snapshot, picture, backends, recent, outside.policy),
            picture=picture,
            backends=sorted(backends, key=lambda state: -state.now.in_flight)[:BACKENDS],
            backend_count=len(backends),
            slot_seconds=SLOT_SECONDS,
            window_seconds=WINDOW_SECONDS,
            recent=recent,
            points=self._history.points(now, offset),
            decisions=self._ledger.decisions(offset),
            failures=self._ledger.failures(offset),
            what_if=what_if(outside, backends),
            took_ms=0.0,
        )

    def _backends(self, snapshot: Snapshot, works: dict[str, Work]) -> list[BackendState]:
        """Those that the configuration names and have not answered yet are down as well."""
        known = {backend.id: backend for backend in snapshot.backends}
        wanted = {queue.model for queue in snapshot.queues}
        states = []
        for entry in self._directory:
            backend = known.get(entry.id) or _unknown(entry.id)
            recent = works.get(entry.id) or Work()
            able = any(entry.serves(model) for model in wanted)
            state = BackendState(
                now=backend,
                kind=entry.kind or "",
                url=entry.config.url,
                recent=recent,
                condition=condition_of(backend, recent, able),
            )
            states.append(state)
        return states


def what_if(now: Now, backends: list[BackendState]) -> WhatIf:
    """The commands that play what happens here under other policies, on as many engines."""
    recording = now.recording or "events.jsonl"
    file, report = shlex.quote(recording), shlex.quote(beside(recording))
    kinds = [state.kind for state in backends if state.kind in ("vllm", "sglang")]
    engine = max(sorted(set(kinds)), key=kinds.count, default="vllm")
    pools = [state.now.kv_tokens for state in backends if state.now.kv_tokens]
    room = f" --kv-tokens {min(pools)}" if pools else ""
    others = [name for name in ("fcfs", "lpm", "auto") if name != now.policy]
    simulate = (
        f"paceline sim --trace {file} --policy {','.join([now.policy, *others])}"
        f" --backends {max(1, len(backends))} --engine {engine}{room} --report {report}"
    )
    record = f"paceline serve -c paceline.toml --record {file}"
    commands = [simulate] if now.recording else [record, simulate]
    report_at = written_at(now.recording)
    return WhatIf(recording=now.recording, commands=commands, report_at=report_at)


def _unknown(id: str) -> BackendSnapshot:
    """A backend of which the scheduler has not heard."""
    return BackendSnapshot(
        id=id,
        up=False,
        draining=False,
        models=[],
        in_flight=0,
        unstarted=0,
        prefill_tokens=0,
        prefill_rate=0.0,
        kv_tokens=None,
        kv_room=None,
        recent_requests=0,
        exact=False,
    )
