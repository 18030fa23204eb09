"""Python's cycle collector, told what is not worth its time."""

from __future__ import annotations

import gc

COLLECT_AFTER = 50_000
"""New objects before the collector looks for cycles: a few MB."""


def spare_the_collector() -> None:
    """Let Python's cycle collector leave alone what stays, and look at the rest less often.

    A request leaves no cycles behind, but each look goes through all that is young: at the usual
    700 objects that is every few requests, 4% of the time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
