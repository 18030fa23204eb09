"""`paceline lint --live`: prompts are linted as they pass, and pass as they were."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from paceline.cli import cli
from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.lint.live.tap import Tap
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.upstream.address import Address
from tests.lint.logs import HANDBOOK, chat
from tests.proxy.rig import Caller, free_port
from tests.proxy.scripted import SSE_HEAD, Conversation, always, chunked, engine, reply
from tests.proxy.whole import whole

LATE = [chat(f"It is 10:{i:02d}. {HANDBOOK}", i) for i in range(8)]


@asynccontextmanager
async def tapped(port: int, wanted: int = 100) -> AsyncIterator[tuple[Tap, int]]:
    """A tap in front of a port, and its own."""
    tap = Tap(Address(id="e", host="127.0.0.1", port=port), wanted)
    async with tap.open("127.0.0.1", 0) as bound:
        yield tap, bound


async def dial(port: int) -> Caller:
    """A client."""
    return Caller(*await asyncio.open_connection("127.0.0.1", port))


async def post(caller: Caller, body: Any, *lines: str, path: str = "/v1/chat/completions") -> bytes:
    """The answer to one request."""
    await caller.post(json.dumps(body).encode(), path, *lines)
    return (await caller.answer()).body


async def test_everything_passes_as_it_came() -> None:
    """Head and body, byte by byte, in both directions, request after request."""
    heads = []

    async def script(conversation: Conversation) -> None:
        while True:
            head, body = await conversation.request()
            heads.append((head, body))
            await conversation.say(reply(b'{"it": 1}', "200 OK", "X-Odd:  1 "))

    async with engine(script) as behind, tapped(behind.port) as (tap, port):
        caller = await dial(port)
        assert await post(caller, LATE[0], "Authorization: Bearer k") == b'{"it": 1}'
        assert await post(caller, {}, path="/v1/embeddings") == b'{"it": 1}'
        caller.hang_up()
    (first, body), _ = heads
    assert "Authorization: Bearer k\r\n" in first
    assert (json.loads(body), [entry.body for entry in tap.entries]) == (LATE[0], [LATE[0]])


async def test_whose_prompt_it_is_is_known() -> None:
    """By the header, else by the body's `user`."""
    async with engine(always(reply())) as behind, tapped(behind.port) as (tap, port):
        caller = await dial(port)
        await post(caller, LATE[0], "X-Paceline-Tenant: a")
        await post(caller, {**LATE[1], "user": "b"})
        caller.hang_up()
    assert [entry.tenant for entry in tap.entries] == ["a", "b"]


async def test_odd_requests_pass_and_are_counted() -> None:
    """Whether they can be read is the engine's business."""
    async with engine(always(reply())) as behind, tapped(behind.port) as (tap, port):
        caller = await dial(port)
        assert await post(caller, {"messages": []}) == b"{}"
        caller.say(b"this is no HTTP\r\n\r\n")
        await caller.answer()
        caller.hang_up()
    assert (tap.entries, tap.skipped) == ([], 1)


async def test_a_stream_ends_before_the_tap_does() -> None:
    """It stops listening, and waits for answers under way."""
    begun, gate = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while "/embeddings" in (await conversation.request())[0]:
            await conversation.say(reply())
        await conversation.say(SSE_HEAD + chunked(b"data: 1\n\n"))
        begun.set()
        await gate.wait()
        await conversation.say(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with engine(script) as behind:
        async with tapped(behind.port, wanted=1) as (tap, port):
            caller = await dial(port)
            idle = await dial(port)
            await post(idle, {}, path="/v1/embeddings")
            await caller.post(json.dumps(LATE[0]).encode())
            await tap.full.wait()
            await begun.wait()
            asyncio.get_running_loop().call_later(0.01, gate.set)
        assert (await caller.answer()).body.endswith(b"0\r\n\r\n")
        assert await idle.rest() == b""
        caller.hang_up()
        idle.hang_up()


async def test_a_client_that_leaves_is_gone_behind_the_tap() -> None:
    """So that the engine stops."""
    asked = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await conversation.until_closed()

    async with engine(script) as behind, tapped(behind.port) as (_, port):
        caller = await dial(port)
        await caller.post(json.dumps(LATE[0]).encode())
        await asked.wait()
        caller.hang_up()
        await behind.conversations[0].closed.wait()


async def test_nobody_behind_it() -> None:
    """A 502, and no word lost about why."""
    async with tapped(free_port()) as (_, port):
        caller = await dial(port)
        assert (await caller.head()).startswith(b"HTTP/1.1 502 ")
        caller.hang_up()


async def test_it_stands_between_the_proxy_and_an_engine() -> None:
    """The proxy finds out what the engine is, and its clients change nothing."""
    emulator = await start_emulator(EmulatorConfig(kind="vllm"), "127.0.0.1", 0)
    async with tapped(int(emulator.url.rpartition(":")[2]), wanted=1) as (tap, port):
        behind = BackendConfig(url=f"http://127.0.0.1:{port}", name="e")
        async with whole(Config(backends=[behind])) as proxy:
            body = {**LATE[0], "model": "emulated"}
            assert (await proxy.ask("POST", "/v1/chat/completions", body)).status == 200
            assert b'"kind":"vllm"' in (await proxy.ask("GET", "/paceline/backends")).body
    await emulator.close()
    assert [entry.body for entry in tap.entries] == [body]


@pytest.mark.parametrize("enough", [True, False])
async def test_the_command_lints_what_it_hears(enough: bool) -> None:
    """After so many requests, or at Ctrl-C: one JSON object, and 1 since there is a finding."""
    async with engine(always(reply())) as behind:
        url = f"http://127.0.0.1:{behind.port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "paceline", "lint", "--live", url, "--json"),
            *("--listen", "127.0.0.1:0", "--requests", str(len(LATE) if enough else 1000)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        told = (await process.stderr.readline()).decode()
        assert told.endswith(f"instead of {url}\n")
        caller = await dial(int(told.split()[3].rpartition(":")[2]))
        for body in LATE:
            await post(caller, body)
        if not enough:
            process.send_signal(signal.SIGINT)
        said, _ = await process.communicate()
        caller.hang_up()
    document = json.loads(said)
    assert [finding["code"] for finding in document["findings"]] == ["PL001"]
    assert (document["requests"], process.returncode) == (len(LATE), 1)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "either FILE or --live URL is needed"),
        (["log.jsonl", "--live", "http://a:1"], "either FILE or --live URL is needed"),
        (["--live", "http://a:1/v2"], "must not have a path"),
        (["--live", "a:1"], "Expected http://HOST:PORT"),
        (["--live", "http://a:1", "--listen", "8001"], "expected HOST:PORT"),
        (["--live", "http://a:1", "--listen", "203.0.113.1:1"], "cannot listen on 203.0.113.1:1"),
    ],
)
def test_what_cannot_be(arguments: list[str], wrong: str) -> None:
    """Exit status 2 and one line."""
    result = CliRunner().invoke(cli, ["lint", *arguments])
    assert result.exit_code == 2
    assert wrong in result.output


def test_nothing_heard_is_nothing_found() -> None:
    """Time is up before anybody asked: 0."""
    arguments = ["--live", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--seconds", "0.01"]
    result = CliRunner().invoke(cli, ["lint", *arguments])
    assert result.exit_code == 0
    assert result.stdout == "0 requests, 0 prompt tokens, 0% shared: nothing breaks prefixes\n"
