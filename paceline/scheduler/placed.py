"""What was decided about where one request goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from paceline.scheduler.entry import Entry
    from paceline.scheduler.fleet import Backend


class Placed(Struct, frozen=True):
    """Where a request goes; or what it waits for, which is the next event if nothing is said."""

    to: Backend | None = None
    leader: Entry | None = None
    busy: Backend | None = None
    full: Backend | None = None
    """The same, without room: nobody else goes to this backend before this one."""
