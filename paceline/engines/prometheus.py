"""Reads single samples out of an engine's `/metrics` without parsing the rest.

A reply of vLLM has 50 to 300 kB, of which a few samples matter: searching for their names takes
microseconds where prometheus_client's parser takes 9 ms for 50 kB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_LABEL = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text: bytes, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Labels and value of each sample of `name`; those without a finite value are left out."""
    key = name.encode()
    at = 0 if text.startswith(key) else _next(text, key, 0)
    while at >= 0:
        end = text.find(b"\n", at)
        line = text[at + len(key) : end if end >= 0 else len(text)]
        if line[:1] in (b"{", b" ") and (sample := _sample(line)) is not None:
            yield sample
        at = _next(text, key, at)


def _sample(line: bytes) -> tuple[dict[str, str], float] | None:
    """Labels and value from what follows the name; engines write NaN for what they do not know."""
    labels, _, rest = line.rpartition(b"}")
    try:
        value = float(rest.split()[0])
    except (ValueError, IndexError):
        return None
    if not math.isfinite(value):
        return None
    pairs = _LABEL.findall(labels)
    return {name.decode(): text.decode(errors="replace") for name, text in pairs}, value


def _next(text: bytes, key: bytes, start: int) -> int:
    found = text.find(b"\n" + key, start)
    return found + 1 if found >= 0 else -1


def total(text: bytes, name: str) -> float | None:
    """The sum over all labels (a data-parallel vLLM has one for each engine); None without any."""
    values = [value for _, value in samples(text, name)]
    return sum(values) if values else None
