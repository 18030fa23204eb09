"""One line of an event log: what the proxy records and the simulator replays."""

from __future__ import annotations

from msgspec import Struct

from paceline.scheduler.events import Event


class LoggedEvent(Struct, frozen=True):
    """What the scheduler was told, and when; as JSON `{"time": seconds, "event": {...}}`."""

    time: float
    """Seconds on the recording machine's clock; the proxy writes Unix time."""
    event: Event
