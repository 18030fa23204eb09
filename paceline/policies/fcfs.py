"""First come, first served: the default of both engines."""

from __future__ import annotations

from paceline.scheduler.policy import Policy


class Fcfs(Policy):
    """First come, first served."""
