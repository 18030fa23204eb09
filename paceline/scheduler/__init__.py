"""The sans-IO core: decides which request goes next and where; no clock, loop, socket or log.

`Scheduler.handle(event, now)` returns actions; `Scheduler.deadline()` says when it wants a `Tick`.
"""

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage

__all__ = [
    "Backend",
    "BackendSpec",
    "Policy",
    "Request",
    "Scheduler",
    "SchedulerConfig",
    "Usage",
    "View",
]
