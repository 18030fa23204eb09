"""Mooncake rows become prompts that share exactly what their block ids share."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest

from paceline.sim.mooncake import mooncake, tokens
from paceline.sim.rows import TraceError
from paceline.sim.workload import Session, Turn
from tests.sim.dialogue import rows


def line(timestamp: float | None, length: int, ids: list[int], **more: Any) -> str:
    fields = {"input_length": length, "output_length": 7, "hash_ids": ids} | more
    if timestamp is not None:
        fields["timestamp"] = timestamp
    return msgspec.json.encode(fields).decode()


def read(folder: Path, *lines: str, block: int = 4) -> list[tuple[Session, list[Turn]]]:
    sessions = mooncake(rows(folder, *lines), block)
    return [(session, list(session.turns)) for session in sessions]


def test_prompts(tmp_path: Path) -> None:
    """Equal ids are equal blocks, the last one partial; time is milliseconds, equal times fine."""
    (a, [one]), (b, [two]) = read(tmp_path, line(0, 10, [5, 6, 7]), line(0, 8, [5, 6]))
    assert one.prompt == array("I", [5] * 4 + [6] * 4 + [7] * 2)
    assert two.prompt == one.prompt[:8]
    assert (one.output_tokens, one.max_tokens) == (7, None)
    assert (a.at, b.at) == (0.0, 0.0)
    assert a.id != b.id


@pytest.mark.parametrize("block", [1, 16, 512])
def test_block_sizes(block: int) -> None:
    """A block may have any size."""
    assert tokens([1, 2], block + 1, block) == array("I", [1] * block + [2])


def test_absolute_sessions(tmp_path: Path) -> None:
    """With `delay_ms` each row has the whole prompt, and its own block size where it names one."""
    first = line(2500, 4, [1], session_id="s", turn=0)
    later = line(None, 6, [1, 2, 3], session_id="s", turn=1, delay_ms=1500, block_size=2)
    ((session, (one, two)),) = read(tmp_path, first, later)
    assert (session.id, session.at, one.pause, two.pause) == ("s", 2.5, 0.0, 1.5)
    assert two.prompt == array("I", [1, 1, 2, 2, 3, 3])
    assert one.output is None


def test_delta_sessions(tmp_path: Path) -> None:
    """With `delay` a row has what is added after the earlier prompt and its answer."""
    lines = [
        line(0, 4, [1], session_id="s"),
        line(None, 3, [2], session_id="s", delay=500),
        line(None, 2, [3], session_id="s", delay=250),
        line(9, 4, [9], session_id="t"),
    ]
    (_, (one, two, three)), (other, _) = read(tmp_path, *lines)
    assert one.output is not None
    assert two.output is not None
    assert len(one.output) == one.output_tokens == 7
    assert two.prompt == one.prompt + one.output + array("I", [2] * 3)
    assert three.prompt == two.prompt + two.output + array("I", [3] * 2)
    assert (two.pause, three.pause, other.id) == (0.5, 0.25, "t")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line(-1, 4, [1]), "timestamp -1 is before 0"),
        (line(1, 9, [1, 2]), "2 blocks of 4 tokens do not hold 9"),
        (line(1, 0, [1]), "input_length and output_length must be at least 1"),
        (line(1, 4, [1 << 32]), r"hash_ids must be below 2\*\*32"),
        (line(None, 4, [1]), "neither `timestamp` nor `delay`"),
        (line(None, 4, [1], session_id="x", delay=1), "does not follow a row of its session"),
        ('{"timestamp": 1}', "missing required field `input_length`"),
        ("{", "truncated"),
    ],
)
def test_bad_rows(tmp_path: Path, bad: str, why: str) -> None:
    """Each says what is wrong and where."""
    with pytest.raises(TraceError, match=f"trace:2: .*{why}"):
        read(tmp_path, line(0, 4, [1]), bad)
