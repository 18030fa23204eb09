"""Token ids as bytes, so that prefixes are compared and cut at C speed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

TOKEN_BYTES = 4
"""Bytes of one id: ids are below 2**32 (`array("I")`)."""


def encode(ids: Sequence[int]) -> bytes:
    """The ids one after the other; OverflowError when one is negative or 2**32 or more."""
    if isinstance(ids, array) and ids.typecode == "I":
        return ids.tobytes()
    return array("I", ids).tobytes()
