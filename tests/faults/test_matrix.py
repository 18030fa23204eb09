"""The fault matrix in small: what clients may see, and that nothing is left behind."""

from __future__ import annotations

import pytest

from bench.faults.cases import CASES, Case, play

REQUESTS = 8
ANYTHING_WHOLE = {"200"}
REFUSED = {"200", "502 engine_failed"}
CUT = {"200", "200 cut"}
TOLD = {"200", "200 cut + error frame"}

SEEN: dict[str, tuple[set[str], set[str]]] = {
    "engine killed before the head": (REFUSED, REFUSED),
    "closes unanswered": (REFUSED, REFUSED),
    "engine killed after the head": (TOLD, CUT),
    "engine killed mid-stream (reset)": (TOLD, CUT),
    "connection closed mid-stream": (TOLD, CUT),
    "answers garbage": (REFUSED, REFUSED),
    "garbage inside the stream": (TOLD, ANYTHING_WHOLE),
    "Content-Length too long": (ANYTHING_WHOLE, CUT),
    "Content-Length too short": (ANYTHING_WHOLE, REFUSED),
    "500": ({"200", "500"}, {"200", "500"}),
    "400": ({"200", "400"}, {"200", "400"}),
    "client leaves before the head": ({"left"}, {"left"}),
    "client leaves mid-stream": ({"left"}, {"left"}),
}
"""What streams and others may see; where nothing is said, everybody is answered."""
SLOW = ("stops mid-stream", "generations hang", "slow to accept", "half-open", "2 s", "uploading")


@pytest.mark.parametrize(
    "case", [c for c in CASES if not any(slow in c.name for slow in SLOW)], ids=lambda c: c.name
)
async def test_fault(case: Case) -> None:
    """Every client gets an honest answer, nobody's request is generated twice, nothing leaks."""
    row = await play(case, REQUESTS)
    streams, whole = SEEN.get(case.name, (ANYTHING_WHOLE, ANYTHING_WHOLE))
    if case.name.startswith("client leaves"):
        streams = whole = {"left"}
    assert set(row.streams) <= streams
    assert set(row.whole) <= whole
    assert row.leftovers == []
    for seen in row.seen:
        assert seen.done <= 1
        assert not (seen.errors and seen.done), "no [DONE] is invented"
