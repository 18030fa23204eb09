"""The state is what a person sees: true, without prompts, and small however many wait."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from paceline.policies.lpm import Lpm
from paceline.proxy.config import BackendConfig, Config, PolicyConfig
from paceline.proxy.ui.board import FRESH_SECONDS, Boards, Now
from paceline.proxy.upstream.directory import Directory
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import Arrived, BackendChanged
from paceline.scheduler.scheduler import Scheduler
from tests.proxy.rig import CHAT
from tests.proxy.scripted import Conversation, engine, reply
from tests.proxy.ui.records import ended
from tests.proxy.whole import MODELS, Whole, backend, streaming, whole
from tests.scheduler import dialogue

STATE = "/paceline/ui/state"


def boards(scheduler: Scheduler, *names: str, recording: str | None = None) -> Boards:
    configs = [BackendConfig(url=f"http://{name}:8000", name=name) for name in names]
    config = Config(policy=PolicyConfig(name="lpm"))
    now = Now(config=config, policy="lpm", uptime=5.0, recording=recording)
    return Boards(scheduler, Directory(configs), lambda: now)


def look(boards: Boards, at: float) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(boards.state(at))
    return seen


async def ask(proxy: Whole) -> dict[str, Any]:
    answer = await proxy.ask("GET", STATE)
    assert answer.status == 200
    seen: dict[str, Any] = json.loads(answer.body)
    return seen


def test_ten_thousand_waiting_make_a_small_state() -> None:
    """What cannot be shown is counted; the whole is a few kilobytes."""
    scheduler = Scheduler(SchedulerConfig(), Lpm())
    scheduler.handle(BackendChanged(dialogue.backend(max_running=1)), 0.0)
    for number in range(10_001):
        prefix = f"s{chr(0x4E00 + number % 2000)}{chr(0x4E00 + number // 2000)}"
        scheduler.handle(Arrived(dialogue.request(str(number), prefix)), 0.0)
    made = boards(scheduler, "b")
    made.ended(ended())
    state = look(made, 1.0)
    assert (state["waiting"], state["picture"]["family_count"]) == (10_000, 2000)
    assert len(made.state(1.0)) < 32_000


def test_several_who_look_share_a_state() -> None:
    """It is made anew twice a second at most, whoever asks how often."""
    talk = dialogue.Talk()
    made = boards(talk.scheduler, "b")
    first = made.state(10.0)
    talk.arrive("a", "sys")
    assert made.state(10.0 + FRESH_SECONDS / 2) is first
    assert look(made, 60.0)["in_flight"] == 1


def test_backends_that_never_answered_are_down() -> None:
    """The configuration names them, the scheduler has not heard of them."""
    state = look(boards(dialogue.Talk().scheduler, "b", "gone"), 1.0)
    names = {one["now"]["id"]: one["condition"] for one in state["backends"]}
    assert names == {"b": "idle", "gone": "down"}
    assert state["findings"] == [{"level": "bad", "text": "gone is down: it is sent nothing."}]


def test_the_what_if_is_a_command() -> None:
    """With a recording it can be run at once; without, the first step is to record."""
    talk = dialogue.Talk()
    recorded = look(boards(talk.scheduler, "b", recording="/var/log/my events"), 1.0)["what_if"]
    (command,) = recorded["commands"]
    assert command == (
        "paceline sim --trace '/var/log/my events' --policy lpm,fcfs,auto --backends 1"
        " --engine vllm --kv-tokens 1000 --report '/var/log/my events.html'"
    )
    unrecorded = look(boards(talk.scheduler), 1.0)["what_if"]
    record, simulate = unrecorded["commands"]
    assert record == "paceline serve -c paceline.toml --record events.jsonl"
    assert simulate.startswith("paceline sim --trace events.jsonl ")
    assert "--kv-tokens" not in simulate


def test_a_report_beside_the_recording_is_linked(tmp_path: Path) -> None:
    """With the time at which it was written; as soon as it is there, and not before."""
    recording = str(tmp_path / "events.jsonl")
    looked = boards(dialogue.Talk().scheduler, recording=recording)
    assert look(looked, 1.0)["what_if"]["report_at"] is None
    (tmp_path / "events.jsonl.html").write_text("<h1>Report</h1>")
    os.utime(tmp_path / "events.jsonl.html", (1000.0, 1000.0))
    assert look(looked, 1.0 + FRESH_SECONDS)["what_if"]["report_at"] == 1000.0


async def test_a_request_is_seen_on_its_way() -> None:
    """In flight with its decision, then ended with its time; its text at no time."""
    gate = asyncio.Event()
    async with (
        engine(streaming(gate)) as one,
        whole(Config(backends=[backend(one.port)])) as proxy,
    ):
        caller = await proxy.dial()
        body = CHAT.replace(b"hi", b"a secret").replace(b"{", b'{"stream":true,', 1)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}"
        caller.say(head.encode() + b"\r\n\r\n" + body)
        while not (during := await ask(proxy))["in_flight"]:
            await asyncio.sleep(0.01)
        assert during["decisions"][0]["reason"] == "direct"
        assert during["decisions"][0]["outcome"] == ""
        gate.set()
        await caller.answer()
        while not (after := await ask(proxy))["points"]:
            await asyncio.sleep(0.01)
        caller.hang_up()
    assert after["points"][0]["finished"] == 1
    assert after["points"][0]["ttft_p50"] > 0
    assert after["decisions"][0]["outcome"] == "finished"
    assert "secret" not in json.dumps([during, after])


async def test_a_failure_is_seen() -> None:
    """Status and backend, and a finding once everything fails."""

    async def script(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            broken = reply(b"{}", "500 Internal Server Error")
            await conversation.say(broken if head.startswith("POST") else MODELS)

    async with engine(script) as one, whole(Config(backends=[backend(one.port)])) as proxy:
        assert (await proxy.chat()).status == 500
        state = await ask(proxy)
    assert [(one["status"], one["backend"]) for one in state["failures"]] == [(500, "e0")]
    assert {"level": "bad", "text": "All of the last 1 requests failed."} in state["findings"]


async def test_looking_is_neither_counted_nor_logged() -> None:
    """A page that polls must not drown what it shows."""
    async with whole(Config(backends=[backend(9)]), up=False) as proxy:
        await ask(proxy)
        state = json.loads(proxy.proxy.gateway.state())
        metrics = (await proxy.ask("GET", "/metrics")).body.decode()
        again = await ask(proxy)
    assert state["scheduler"]["in_flight"] == 0
    assert again["recent"]["ended"] == 0
    assert "\npaceline_requests_total{" not in metrics
