"""Rules of SGLang's scheduler and radix cache that changed from one release to another.

Read in the sources of both (`scheduler.py`, `mem_cache/common.py`, `schedule_policy.py`). What is
alike in them is in `sglang`, `sglang_order` and `radix_cache`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SglangRelease = Literal["0.5.16", "0.5.23"]


class Rules(Struct, frozen=True, kw_only=True):
    """What one release does."""

    evicts_all: bool
    """A batch that lacks room evicts as many tokens as it takes, not merely those that it lacks."""
    leaves_late: bool
    """That a request has left is noticed when the next decode is composed, so that whoever waits
    for room is tried again one step later."""
    skips_ending: bool
    """Whose last token is in flight does not decode once more."""
    refreshes: bool
    """Prefixes of whom fcfs will serve next are kept from eviction, every so many passes."""


RELEASES: dict[SglangRelease, Rules] = {
    "0.5.16": Rules(evicts_all=True, leaves_late=True, skips_ending=False, refreshes=False),
    "0.5.23": Rules(evicts_all=False, leaves_late=False, skips_ending=True, refreshes=True),
}
