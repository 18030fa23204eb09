"""Each form of trace is recognised and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from paceline.scheduler.blocks import chain
from paceline.scheduler.event_log import LoggedEvent
from paceline.scheduler.events import Arrived, Event, Finished, Tick
from paceline.scheduler.types import Request, Usage
from paceline.sim.rows import TraceError
from paceline.sim.source import seen
from paceline.sim.traces import open_trace
from paceline.sim.workload import Session, Turn
from tests.sim.dialogue import rows

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"


def read(folder: Path, *lines: str, skip_bad: bool = False) -> list[tuple[Session, Turn]]:
    path = rows(folder, *lines).path
    workload, _ = open_trace(path, block_tokens=512, skip_bad=skip_bad)
    return [(session, turn) for session in workload for turn in session.turns]


def logged(timestamp: float, body: dict[str, Any], **more: Any) -> str:
    return msgspec.json.encode({"timestamp": timestamp, "body": body} | more).decode()


def test_mooncake(tmp_path: Path) -> None:
    """Rows with hash_ids."""
    row = '{"timestamp": 1000, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}'
    ((session, turn),) = read(tmp_path, row)
    assert (session.at, len(turn.prompt)) == (1.0, 600)


def test_azure(tmp_path: Path) -> None:
    """Seconds since the first row, seven digits or none; lengths as told; nothing shared."""
    (a, one), (b, two) = read(
        tmp_path, AZURE, "2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:48,374,109"
    )
    assert a.at == 0.0
    assert b.at == pytest.approx(1.31941)
    assert (len(one.prompt), one.output_tokens, two.output_tokens) == (374, 44, 109)
    assert one.prompt[:16] != two.prompt[:16]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("2023-11-16 18:15:46,1", "has 2 fields instead of 3"),
        ("yesterday,1,1", "`yesterday` is no time"),
        ("2023-11-16 18:15:46,0,1", "`0` is not a number of tokens from 1 to 16777216"),
        ("2023-11-16 18:15:46,1," + "9" * 5000, "`9{40}` is not a number of tokens"),
        ("2023-11-15 18:15:46,1,1", "2023-11-15 18:15:46 is before"),
    ],
)
def test_bad_azure_rows(tmp_path: Path, bad: str, why: str) -> None:
    """Each says what is wrong and where."""
    with pytest.raises(TraceError, match=f"trace:3: {why}"):
        read(tmp_path, AZURE, "2023-11-16 18:15:46,374,44", bad)


def test_request_log(tmp_path: Path) -> None:
    """Chats, completions and /generate; equal beginnings stay equal; times count from the first."""
    system = {"role": "system", "content": "You are terse. " * 20}
    chats = [
        logged(50.0 + i, {"model": "m", "messages": [system, {"role": "user", "content": text}]},
               output_tokens=9, tenant="acme")
        for i, text in enumerate(["one", "two"])
    ]  # fmt: skip
    completion = logged(60, {"model": "m", "prompt": [1, 2, 3], "max_tokens": 4})
    generate = logged(61, {"text": "hi"}, usage={"completion_tokens": 3})
    (a, one), (b, two), (_, ids), (_, text) = read(tmp_path, *chats, completion, generate)
    assert (a.at, b.at, one.tenant, one.output_tokens) == (0.0, 1.0, "acme", 9)
    assert one.prompt[:70] == two.prompt[:70]
    assert one.prompt != two.prompt
    assert (list(ids.prompt), ids.output_tokens, text.output_tokens) == ([1, 2, 3], 4, 3)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (logged(2, {"model": "m", "messages": []}), "messages"),
        (logged(0, {"prompt": "a", "max_tokens": 1}), "timestamp 0 is before 1"),
        (logged(2, {"model": "m", "messages": [{"role": "user"}]}), "no length of the answer"),
    ],
)
def test_bad_logged_requests(tmp_path: Path, bad: str, why: str) -> None:
    """What the proxy would refuse, or no simulation could serve, is named."""
    with pytest.raises(TraceError, match=f"trace:2: .*{why}"):
        read(tmp_path, logged(1, {"prompt": "a", "max_tokens": 1}), bad)


def event(time: float, event: Event) -> str:
    return msgspec.json.encode(LoggedEvent(time, event)).decode()


def test_event_log(tmp_path: Path) -> None:
    """Requests that finished come again, sharing what they shared."""

    def request(id: str, text: bytes) -> Request:
        return Request(
            id=id,
            arrived_at=0.0,
            prefix=chain(b"", text),
            prompt_tokens=len(text) // 4,
            tenant="acme",
        )

    a, b = request("a", b"x" * 4000 + b"1" * 1000), request("b", b"x" * 4000 + b"2" * 1000)
    lost = request("lost", b"y" * 600)
    played = read(
        tmp_path,
        event(7.0, Arrived(a)),
        event(7.5, Arrived(b)),
        event(7.6, Arrived(lost)),
        event(8.0, Finished("a", Usage(output_tokens=11))),
        event(8.0, Tick()),
        event(9.0, Finished("b", Usage(output_tokens=12))),
    )
    (one, first), (two, second) = played
    assert [one.id, two.id] == ["a", "b"]
    assert (one.at, two.at, first.output_tokens, second.tenant) == (0.0, 0.5, 11, "acme")
    assert len(first.prompt) == len(second.prompt) == 1250
    # Of 1,250 tokens 1,000 are shared: seven blocks of 128 are whole and equal.
    assert first.prompt[:896] == second.prompt[:896]
    assert first.prompt[896] != second.prompt[896]
    assert seen("a", first, 0.0).prefix[6] == seen("b", second, 0.0).prefix[6]


def test_an_unknown_form_is_an_error(tmp_path: Path) -> None:
    """Whatever the first row is."""
    for first in ("", "[1]", "hello", '{"a": 1}'):
        with pytest.raises(TraceError, match="neither Mooncake"):
            read(tmp_path, first)
