"""Backends are shown, added, drained and removed over HTTP, and nobody loses a stream by it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, Config
from paceline.proxy.upstream import backends
from tests.proxy.rig import CHAT, Answer
from tests.proxy.scripted import always, engine
from tests.proxy.whole import MODELS, Whole, backend, streaming, whole

KEY, LINE = make("ops")
AUTH = f"Authorization: Bearer {KEY}"
PATH = "/paceline/backends"


@pytest.fixture
def admin(tmp_path: Path) -> AdminConfig:
    """A key for changes, and this machine as the place of new backends."""
    (tmp_path / "admins").write_text(LINE)
    return AdminConfig(keys_file=str(tmp_path / "admins"), backend_hosts=["127.0.0.1/32"])


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOOK_SECONDS", 0.01)


def views(answer: Answer) -> dict[str, dict[str, object]]:
    """What a list of backends says, by name."""
    return {one["name"]: one for one in json.loads(answer.body)["backends"]}


async def until(proxy: Whole, names: set[str]) -> None:
    """Wait for these backends to be all there are."""
    while set(views(await proxy.ask("GET", PATH, None, AUTH))) != names:
        await asyncio.sleep(0.01)


async def test_backends_are_shown(admin: AdminConfig) -> None:
    """Name, address, kind, models, health and load of each; one can be asked for by name."""
    async with (
        engine(always(MODELS)) as one,
        whole(Config(backends=[backend(one.port)], admin=admin)) as proxy,
    ):
        listed = views(await proxy.ask("GET", PATH, None, AUTH))["e0"]
        alone = json.loads((await proxy.ask("GET", f"{PATH}/e0", None, AUTH)).body)
    assert listed == alone
    assert listed == {
        "name": "e0",
        "url": f"http://127.0.0.1:{one.port}",
        "kind": "openai",
        "models": ["m"],
        "up": True,
        "draining": False,
        "leaving": False,
        "in_flight": 0,
    }


async def test_a_backend_is_added_and_serves(admin: AdminConfig) -> None:
    """It is watched, recognised and sent requests."""
    async with engine(always(MODELS)) as one, whole(Config(admin=admin), up=False) as proxy:
        new = {"url": f"http://127.0.0.1:{one.port}/", "kind": "openai", "models": ["m"]}
        added = await proxy.ask("POST", PATH, new, AUTH)
        answer = await proxy.chat()
    name = f"127.0.0.1:{one.port}"
    assert added.status == 201
    assert json.loads(added.body)["name"] == name
    assert answer.headers("x-paceline-backend") == [name]


async def test_removing_lets_streams_finish(admin: AdminConfig) -> None:
    """Nothing new goes there; it is forgotten when its last stream has ended."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as one, engine(always(MODELS)) as two:
        config = Config(backends=[backend(one.port), backend(two.port, "e1")], admin=admin)
        async with whole(config) as proxy:
            await proxy.ask("PATCH", f"{PATH}/e1", {"draining": True}, AUTH)
            client = await proxy.dial()
            await client.post(CHAT.replace(b"{", b'{"stream":true,', 1))
            assert b"x-paceline-backend: e0" in await client.head()
            await proxy.ask("PATCH", f"{PATH}/e1", {"draining": False}, AUTH)
            removed = await proxy.ask("DELETE", f"{PATH}/e0", None, AUTH)
            view = json.loads(removed.body)
            assert (removed.status, view["leaving"], view["in_flight"]) == (202, True, 1)
            assert (await proxy.chat()).headers("x-paceline-backend") == ["e1"]
            gate.set()
            assert (await client.reader.readuntil(b"0\r\n\r\n")).endswith(
                b"[DONE]\n\n\r\n0\r\n\r\n"
            )
            await until(proxy, {"e1"})
            client.hang_up()


async def test_a_drained_backend_comes_back(admin: AdminConfig) -> None:
    """Draining and being removed are both taken back by `draining: false`."""
    gate = asyncio.Event()
    async with (
        engine(streaming(gate)) as one,
        whole(Config(backends=[backend(one.port)], admin=admin)) as proxy,
    ):
        client = await proxy.dial()
        await client.post(CHAT.replace(b"{", b'{"stream":true,', 1))
        await client.head()
        await proxy.ask("DELETE", f"{PATH}/e0", None, AUTH)
        assert (await proxy.ask("GET", "/ready")).status == 503
        await proxy.ask("PATCH", f"{PATH}/e0", {"draining": False}, AUTH)
        assert (await proxy.ask("GET", "/ready")).status == 200
        gate.set()
        await client.reader.readuntil(b"0\r\n\r\n")
        client.hang_up()
        assert views(await proxy.ask("GET", PATH, None, AUTH))["e0"]["leaving"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", PATH, {"url": "http://10.0.0.1:80"}, 403, "forbidden"),
        ("POST", PATH, {"url": "http://metadata.internal"}, 403, "forbidden"),
        ("POST", PATH, {"url": "file:///etc/passwd"}, 400, "bad_request"),
        ("POST", PATH, {"url": "http://u:p@127.0.0.1:80"}, 400, "bad_request"),
        ("POST", PATH, {"url": "http://127.0.0.1:1", "ca_file": "/x"}, 400, "bad_request"),
        ("POST", PATH, {"url": "http://127.0.0.1:1", "kv_tokens": -1}, 400, "bad_request"),
        ("POST", PATH, {"url": "http://127.0.0.1:1", "name": "a\nb"}, 400, "bad_request"),
        ("POST", PATH, {"url": "http://127.0.0.1:9", "name": "e0"}, 409, "exists"),
        ("POST", PATH, None, 400, "bad_request"),
        ("PATCH", f"{PATH}/e0", {"up": True}, 400, "bad_request"),
        ("PATCH", f"{PATH}/nobody", {"draining": True}, 404, "not_found"),
        ("DELETE", f"{PATH}/nobody", None, 404, "not_found"),
        ("PUT", PATH, {}, 405, "method_not_allowed"),
        ("POST", f"{PATH}/e0", {}, 405, "method_not_allowed"),
    ],
)
async def test_refusals(
    admin: AdminConfig, method: str, path: str, body: object, status: int, reason: str
) -> None:
    """In OpenAI's shape, and nothing is changed."""
    async with whole(Config(backends=[backend(9)], admin=admin), up=False) as proxy:
        before = (await proxy.ask("GET", PATH, None, AUTH)).body
        answer = await proxy.ask(method, path, body, AUTH)
        assert (await proxy.ask("GET", PATH, None, AUTH)).body == before
    assert answer.status == status
    assert json.loads(answer.body)["error"]["code"] == reason
    assert len(answer.headers("allow")) == (status == 405)


async def test_changes_take_a_key(tmp_path: Path) -> None:
    """Without one configured nobody may change anything: a browser's page could be asking."""
    async with whole(Config(backends=[backend(9)]), up=False) as proxy:
        assert (await proxy.ask("GET", PATH)).status == 200
        assert (await proxy.ask("DELETE", f"{PATH}/e0")).status == 403
        assert (await proxy.ask("POST", PATH, {"url": "http://127.0.0.1:1"})).status == 403
