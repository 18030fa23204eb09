"""What the scheduler was told is on disk, and can be played again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from paceline.proxy.telemetry.recorder import CannotRecord, Recorder
from paceline.scheduler.event_log import LoggedEvent
from paceline.scheduler.events import Arrived, Event, Finished
from paceline.scheduler.types import Request, Usage
from paceline.sim.cli import sim
from paceline.sim.traces import open_trace
from tests.served import served

EVENTS: list[Event] = [
    Arrived(Request(id="a", arrived_at=5.0, prefix=(1, 2**64 - 1), prompt_tokens=300)),
    Finished("a", Usage(prompt_tokens=310, output_tokens=7)),
]


def logged(path: Path) -> list[LoggedEvent]:
    lines = path.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=LoggedEvent) for line in lines if line]


def recorded(recorder: Recorder, times: int = 1) -> Recorder:
    """After `EVENTS` came `times` times and the proxy has stopped."""
    for _ in range(times):
        for at, event in enumerate(EVENTS):
            recorder.note(event, [], 5.0 + at)
    recorder.close()
    return recorder


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    """Closing writes what waits; a second run appends; times are those of day."""
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        assert recorded(Recorder(path, loop_time=5.0)).written == 2
    lines = logged(path)
    assert [line.event for line in lines] == EVENTS * 2
    assert lines[1].time - lines[0].time == pytest.approx(1.0, abs=1e-6)
    assert lines[0].time > 1.7e9, "Unix time"


def test_a_full_queue_drops_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not fit is gone, the metrics say how much, and so does the log."""
    recorder = recorded(Recorder(tmp_path / "events.jsonl", 0.0, most_waiting=3), times=5)
    assert (recorder.written, recorder.dropped) == (3, 7)
    samples = [s for family in recorder.collect() for s in family.samples]
    assert {s.name: s.value for s in samples} == {
        "paceline_recorded_events_total": 3,
        "paceline_dropped_events_total": 7,
    }
    assert "the queue was full" in capsys.readouterr().out


def test_a_full_disk_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every event is counted as dropped, with the reason once."""
    recorder = recorded(Recorder(Path("/dev/full"), 0.0))
    assert (recorder.written, recorder.dropped) == (0, 2)
    assert capsys.readouterr().out.count("No space left on device") == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything is served."""
    with pytest.raises(CannotRecord, match=f"cannot record to {tmp_path}: Is a directory"):
        Recorder(tmp_path, 0.0)


async def test_a_recorded_run_is_played_again(tmp_path: Path) -> None:
    """The same requests come out: lengths as the engines told, prefixes shared, any policy."""
    path = tmp_path / "events.jsonl"
    system = "You know this book by heart: " + "it was a dark and stormy night. " * 100
    told: list[tuple[int, int]] = []

    async def ask(session: aiohttp.ClientSession, base: str, number: int) -> None:
        question = f"What is on page {number}? " * (1 + number)
        body = {
            "model": "emulated",
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": question},
            ],
            "max_tokens": 3 + number,
        }
        headers = {"x-paceline-tenant": "acme"}
        url = f"{base}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as reply:
            usage = (await reply.json())["usage"]
            told.append((usage["prompt_tokens"], usage["completion_tokens"]))

    with served("--record", str(path)) as base:
        async with aiohttp.ClientSession() as session:
            await ask(session, base, 0)  # teaches the proxy how long a token is
            await asyncio.gather(*(ask(session, base, number) for number in range(1, 8)))

    assert b"stormy" not in path.read_bytes()
    assert b"page" not in path.read_bytes()
    workload, _ = open_trace(path, block_tokens=512, skip_bad=False)
    turns = [turn for session_ in workload for turn in session_.turns]
    assert sorted((len(t.prompt), t.output_tokens) for t in turns) == sorted(told)
    assert {turn.tenant for turn in turns} == {"acme"}
    shared = min(len(turn.prompt) for turn in turns) // 2
    assert len({turn.prompt[:shared].tobytes() for turn in turns}) == 1

    args = ["--trace", str(path), "--policy", "lpm,hrrn", "--json", "--jobs", "1"]
    result = CliRunner().invoke(sim, args)
    runs = json.loads(result.stdout)["runs"]
    assert [(run["policy"], run["completed"]) for run in runs] == [("lpm", 8), ("hrrn", 8)]
    assert runs[0]["hit_rate"] > 0.5
