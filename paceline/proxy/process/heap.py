"""The C library's heap, told to keep what large bodies need."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's malloc.h."""
KEPT = 32 << 20
"""Bytes at the heap's end that stay when they are free: what some tens of long prompts need."""
LARGEST = 4 << 20
"""Bytes from which a block is mapped by itself, and given back when it is freed."""


def keep_the_heap() -> None:
    """Have freed memory used again, instead of given back and asked for anew at each large body.

    A prompt of 400 kB stands in memory as body, text and pieces of it. Left alone, glibc hands
    their pages back each time, and to fault them in again took longer than to parse the prompt
    (docs/performance.md). Changes nothing with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, KEPT)
        mallopt(_MMAP_THRESHOLD, LARGEST)
