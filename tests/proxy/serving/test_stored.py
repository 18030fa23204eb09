"""Stored responses go to the engine that made them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, AuthConfig, Config, ServerConfig
from paceline.proxy.serving import stored
from paceline.proxy.serving.stored import Kept, Stored, named
from tests.proxy.requests import request
from tests.proxy.rig import Answer, Proxy, proxied
from tests.proxy.scripted import SSE_HEAD, Conversation, Script, chunked, reply

PATH = "/v1/responses"
NONE = reply(b'{"error":{"message":"not found"}}', "404 Not Found")


def keeping(name: str, *known: str, streamed: bool = False) -> Script:
    """An engine that makes `resp_NAME`, and keeps it and those that are `known`."""
    made = json.dumps({"created_at": 1, "id": f"resp_{name}", "model": "m"}).encode()
    event = b'event: response.created\ndata: {"response":' + made + b"}\n\n"
    kept = (f"resp_{name}", *known)

    async def script(conversation: Conversation) -> None:
        while True:
            head, body = await conversation.request()
            method, path, _ = head.split(" ", 2)
            given = json.loads(body).get("previous_response_id") if body else None
            if method == "POST" and path == PATH and given in (None, *kept):
                stream = SSE_HEAD + chunked(event) + b"0\r\n\r\n"
                await conversation.say(stream if streamed else reply(made))
            elif path.split("/")[-1] in kept or path.endswith("/cancel"):
                await conversation.say(reply(json.dumps({"by": name, "did": method}).encode()))
            else:
                await conversation.say(NONE)

    return script


async def ask(proxy: Proxy, method: str, path: str, body: object = None, *lines: str) -> Answer:
    """The answer to one request."""
    caller = await proxy.dial()
    data = b"" if body is None else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: p", *lines, f"Content-Length: {len(data)}", "", ""]
    caller.say("\r\n".join(head).encode() + data)
    return await caller.answer()


async def make_one(proxy: Proxy, *lines: str) -> str:
    """The name of the backend that made a response."""
    answer = await ask(proxy, "POST", PATH, {"model": "m", "input": "a"}, *lines)
    return answer.headers("x-paceline-backend")[0]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_is_found_where_it_was_made(streamed: bool) -> None:
    """Whatever is asked of it, and its continuation, whoever's turn it would be."""
    engines = [keeping(name, streamed=streamed) for name in ("e0", "e1", "e2")]
    async with proxied(*engines) as proxy:
        made = {await make_one(proxy) for _ in engines}
        assert made == {"e0", "e1", "e2"}
        for name in sorted(made):
            id = f"resp_{name}"
            for method, path in (
                ("GET", id),
                ("GET", f"{id}?stream=true"),
                ("DELETE", id),
                ("POST", f"{id}/cancel"),
            ):
                answer = await ask(proxy, method, f"{PATH}/{path}")
                assert answer.headers("x-paceline-backend") == [name]
            after = {"model": "m", "input": "b", "previous_response_id": id}
            answer = await ask(proxy, "POST", PATH, after)
            assert (answer.status, answer.headers("x-paceline-backend")) == (200, [name])


async def test_what_is_not_remembered_is_asked_for() -> None:
    """Once: then it is remembered. What no engine has is a 404 in OpenAI's shape."""
    async with proxied(keeping("e0"), keeping("e1", "resp_old")) as proxy:
        for _ in range(4):
            answer = await ask(proxy, "GET", f"{PATH}/resp_old")
            assert json.loads(answer.body) == {"by": "e1", "did": "GET"}
        assert len(proxy.engines[0].conversations) == 1
        answer = await ask(proxy, "GET", f"{PATH}/resp_none")
    assert (answer.status, answer.headers("x-paceline-reason")) == (404, ["response_not_found"])
    assert json.loads(answer.body)["error"]["code"] == "response_not_found"


async def test_a_single_engine_answers_for_itself() -> None:
    """There is nothing to choose: its own words come through."""
    async with proxied(keeping("e0")) as proxy:
        answer = await ask(proxy, "GET", f"{PATH}/resp_none")
    assert (answer.status, answer.body) == (404, b'{"error":{"message":"not found"}}')


async def test_an_engine_that_is_down_or_gone() -> None:
    """Down: 503, and it may be tried again. Removed: the response is lost, 404."""
    async with proxied(keeping("e0"), keeping("e1")) as proxy:
        name = await make_one(proxy)
        proxy.gateway.directory[name].up = False
        down = await ask(proxy, "GET", f"{PATH}/resp_{name}")
        proxy.gateway.directory.remove(name)
        gone = await ask(proxy, "GET", f"{PATH}/resp_{name}")
    assert (down.status, down.headers("x-paceline-reason")) == (503, ["no_backend"])
    assert down.headers("retry-after") == ["1"]
    assert (gone.status, gone.headers("x-paceline-reason")) == (404, ["response_not_found"])
    assert b"is gone" in gone.body


async def test_an_engine_that_fails_is_not_replaced() -> None:
    """It is asked twice, like any other; then what it says is passed on."""

    async def busy(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(reply(b"busy", "503 Busy", "Connection: close"))

    async with proxied(busy, keeping("e1")) as proxy:
        proxy.gateway.stored.made(Kept("resp_x", "e0", None))
        answer = await ask(proxy, "GET", f"{PATH}/resp_x")
        assert (answer.status, answer.body) == (503, b"busy")
        assert len(proxy.engines[0].conversations) == 2
        assert proxy.engines[1].conversations == []


async def test_tenants_keep_to_their_own(tmp_path: Path) -> None:
    """A tenant may ask for its responses and for nobody else's, nor for anything beside them."""
    keys = [make(name) for name in ("acme", "bolt")]
    (tmp_path / "keys").write_text("\n".join(line for _, line in keys))
    config = Config(
        server=ServerConfig(cors_origins=["*"]),
        auth=AuthConfig(keys_file=str(tmp_path / "keys")),
        admin=AdminConfig(port=0),
    )
    acme, bolt = (f"Authorization: Bearer {key}" for key, _ in keys)
    async with proxied(keeping("e0"), keeping("e1"), config=config) as proxy:
        name = await make_one(proxy, acme)
        mine = await ask(proxy, "GET", f"{PATH}/resp_{name}", None, acme)
        theirs = await ask(proxy, "GET", f"{PATH}/resp_{name}", None, bolt)
        beside = await ask(proxy, "GET", f"{PATH}/resp_{name}/../../flush_cache", None, acme)
    assert [one.status for one in (mine, theirs, beside)] == [200, 404, 403]
    assert mine.headers("access-control-allow-origin") == ["*"]


async def test_an_id_may_come_in_parts() -> None:
    """Engines send a stream's head before the first event, and networks cut anywhere."""
    event = chunked(b'data: {"response":{"id":"resp_slow"}}\n\n')
    parts = [event[:30], event[30:36], event[36:]]
    read = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD)
        for part in parts:
            await read.wait()
            read.clear()
            await conversation.say(part)

    async with proxied(engine) as proxy:
        caller = await proxy.dial()
        await caller.post(b'{"model":"m","input":"a","stream":true}', PATH)
        await caller.head()
        for part in parts:
            read.set()
            await caller.reader.readexactly(len(part))
        assert proxy.gateway.stored.find("resp_slow") is not None


async def test_an_id_is_looked_for_at_the_beginning_only() -> None:
    """What a text quotes is no id, nor is one that comes late."""
    text = json.dumps({"text": '{"id":"resp_no"}', "fill": "." * stored.LOOK, "id": "resp_late"})
    read = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        answer = reply(text.encode())
        await conversation.say(answer[:-30])
        await read.wait()
        await conversation.say(answer[-30:])

    async with proxied(engine) as proxy:
        caller = await proxy.dial()
        await caller.post(b'{"model":"m","input":"a"}', PATH)
        await caller.head()
        await caller.reader.readexactly(len(text) - 30)
        read.set()
        await caller.reader.readexactly(30)
        assert proxy.gateway.stored.find("resp_no") is None
        assert proxy.gateway.stored.find("resp_late") is None


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those asked for lately are not the oldest; an id keeps its owner."""
    monkeypatch.setattr(stored, "MOST", 2)
    known = Stored()
    for id in ("a", "b"):
        known.made(Kept(id, "e0", "acme"))
    assert known.find("a") == Kept("a", "e0", "acme")
    known.learn(Kept("c", "e0", None))
    assert known.find("b") is None
    known.learn(Kept("a", "e1", "bolt"))
    assert known.find("a") == Kept("a", "e0", "acme")


@pytest.mark.parametrize(
    ("target", "body", "id"),
    [
        (PATH, b'{"previous_response_id":"resp_1"}', "resp_1"),
        (PATH, b'{"previous_response_id":"chat_1"}', None),
        (PATH, b'{"previous_response_id":null}', None),
        (PATH, b'{"previous_response_id":7}', None),
        (PATH, b"", None),
        (f"{PATH}/resp_1", b"", "resp_1"),
        (f"{PATH}/resp_1/input_items?limit=2", b"", "resp_1"),
        (f"{PATH}/resp_1/else", b"", None),
        (f"{PATH}/resp_%2e", b"", None),
    ],
)
async def test_what_a_request_is_about(target: str, body: bytes, id: str | None) -> None:
    """By its path or its body; what no engine takes for an id is left to the engines."""
    assert named(await request("POST", target, body)) == id
