"""A changed configuration is taken over while requests run, or refused whole."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from paceline.proxy.access.keys import make
from paceline.proxy.process import reload
from paceline.proxy.process.load import load_config
from paceline.proxy.process.reload import Reloader, reloading
from paceline.proxy.upstream import backends
from tests.proxy.rig import CHAT
from tests.proxy.scripted import always, engine
from tests.proxy.whole import MODELS, Whole, streaming, whole

KEY, LINE = make("acme")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOOK_SECONDS", 0.01)


def table(port: int, name: str) -> str:
    """A backend in a configuration file."""
    return (
        f'[[backends]]\nurl = "http://127.0.0.1:{port}"\nname = "{name}"\n'
        'kind = "openai"\nmodels = ["m"]\n'
    )


@asynccontextmanager
async def running(path: Path, text: str) -> AsyncIterator[tuple[Whole, Reloader]]:
    """A proxy with this file, and what reloads it."""
    path.write_text(text)
    config = load_config(path)
    async with whole(config) as proxy:
        yield proxy, Reloader(proxy.proxy, config, lambda: load_config(path), None)


async def test_backends_follow_the_file_and_a_stream_goes_on(tmp_path: Path) -> None:
    """One that left the file finishes what it has; a new one gets what comes next."""
    path, gate = tmp_path / "paceline.toml", asyncio.Event()
    async with (
        engine(streaming(gate)) as one,
        engine(always(MODELS)) as two,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        client = await proxy.dial()
        await client.post(CHAT.replace(b"{", b'{"stream":true,', 1))
        await client.head()
        path.write_text(table(two.port, "two"))
        assert reloader.reload()
        assert (await proxy.chat()).headers("x-paceline-backend") == ["two"]
        gate.set()
        assert b"[DONE]" in await client.reader.readuntil(b"0\r\n\r\n")
        while "one" in proxy.proxy.backends.directory:
            await asyncio.sleep(0.01)
        client.hang_up()


async def test_a_backend_may_move(tmp_path: Path) -> None:
    """The same name at another address is another engine; one that comes back is not forgotten."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        engine(always(MODELS)) as two,
        running(path, table(one.port, "e") + table(two.port, "f")) as (proxy, reloader),
    ):
        await proxy.chat()
        path.write_text(table(two.port, "e"))
        reloader.reload()
        path.write_text(table(two.port, "e") + table(one.port, "f"))
        assert reloader.reload()
        asked = len(one.conversations)
        proxy.proxy.backends.drain("f", True)
        assert (await proxy.chat()).headers("x-paceline-backend") == ["e"]
        views = json.loads((await proxy.ask("GET", "/paceline/backends")).body)["backends"]
    assert [(view["name"], view["leaving"]) for view in views] == [("e", False), ("f", False)]
    assert views[0]["url"].endswith(f":{two.port}")
    assert asked


async def test_what_was_changed_through_the_api_stays(tmp_path: Path) -> None:
    """A reload applies what differs between two versions of the file, and nothing else."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        proxy.proxy.backends.drain("one", True)
        path.write_text(table(one.port, "one") + "[server]\nmax_body_mb = 1.0\n")
        assert reloader.reload()
        assert proxy.proxy.backends.directory["one"].draining


async def test_the_crowd_is_counted_on(tmp_path: Path) -> None:
    """Those who are connected count for the new limits, too."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        client = await proxy.dial()
        await client.post()
        await client.answer()
        path.write_text("[server]\nmax_connections_per_address = 1\n" + table(one.port, "one"))
        assert reloader.reload()
        assert (await proxy.chat()).status == 429
        path.write_text(
            '[server]\nmax_connections_per_address = 1\nload_balancers = ["127.0.0.1"]\n'
            + table(one.port, "one")
        )
        assert reloader.reload()
        assert (await proxy.chat()).status == 200
        client.hang_up()


async def test_limits_and_keys_are_taken_over(tmp_path: Path) -> None:
    """New connections have the new limits; keys count on those that are open, too."""
    path, keys = tmp_path / "paceline.toml", tmp_path / "keys"
    keys.write_text(LINE)
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        client = await proxy.dial()
        await client.post()
        assert (await client.answer()).status == 200
        path.write_text(
            f'[server]\nmax_body_mb = 0.00001\n[auth]\nkeys_file = "{keys}"\n'
            f'[admin]\nkeys_file = "{keys}"\n[scheduler]\nmax_waiting = 7\n'
            "[upstream]\nidle_seconds = 9\n" + table(one.port, "one")
        )
        assert reloader.reload()
        await client.post()
        assert (await client.answer()).status == 401
        assert (await proxy.chat(f"Authorization: Bearer {KEY}")).status == 413
        assert proxy.proxy.scheduling.max_waiting == 7
        assert proxy.proxy.gateway.config.upstream.idle_seconds == 9
        client.hang_up()


async def test_what_tenants_and_bodies_may_have_is_taken_over(tmp_path: Path) -> None:
    """Limits that the file sets, changes and drops hold from the next request on."""
    path = tmp_path / "paceline.toml"
    async with engine(always(MODELS)) as one:
        backend = table(one.port, "one")
        async with running(path, backend) as (proxy, reloader):
            path.write_text("[limits]\nrequests_per_second = 0.01\n" + backend)
            assert reloader.reload()
            assert [(await proxy.chat()).status for _ in range(2)] == [200, 429]
            path.write_text("[server]\nmax_buffered_mb = 0.00001\n" + backend)
            assert reloader.reload()
            refused = await proxy.chat()
            assert (refused.status, refused.headers("x-paceline-reason")) == (503, ["memory"])
            path.write_text(backend)
            assert reloader.reload()
            assert (await proxy.chat()).status == 200


async def test_another_policy_takes_over(tmp_path: Path) -> None:
    """It is shown in the state."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        path.write_text('[policy]\nname = "lpm"\n' + table(one.port, "one"))
        assert reloader.reload()
        assert json.loads((await proxy.ask("GET", "/paceline/state")).body)["policy"] == "lpm"
        assert (await proxy.chat()).status == 200


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[server", "Expected ']'"),
        ("[server]\nprot = 1\n", "$.server.prot: unknown key"),
        ('[policy]\nname = "fcsf"\n', "$.policy.name: no policy `fcsf`"),
        ('[auth]\nkeys_file = "/none"\n', "$.auth: /none: No such file"),
        ("", "$.backends: there are none left"),
        ('[tls]\ncert_file = "/none"\n', "$.tls: /none: No such file"),
    ],
)
async def test_a_bad_file_changes_nothing(tmp_path: Path, text: str, error: str) -> None:
    """The error is logged and counted, and the old configuration goes on."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
    ):
        path.write_text(text)
        with capture_logs() as logs:
            assert not reloader.reload()
        assert (await proxy.chat()).status == 200
        page = (await proxy.ask("GET", "/metrics")).body
    assert [log["event"] for log in logs] == ["reload refused"]
    assert error in logs[0]["error"]
    assert b'paceline_reloads_total{result="refused"} 1.0' in page


async def test_what_takes_a_restart_is_said(tmp_path: Path) -> None:
    """The rest is taken over all the same."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (_, reloader),
    ):
        path.write_text("[server]\nport = 1\nmax_header_kb = 1\n" + table(one.port, "one"))
        with capture_logs() as logs:
            assert reloader.reload()
    assert logs[0]["settings"] == ["server.port"]
    assert logs[1]["changed"] == ["server.max_header_kb"]


async def test_sighup_reloads(tmp_path: Path) -> None:
    """And does not end the process."""
    path = tmp_path / "paceline.toml"
    async with (
        engine(always(MODELS)) as one,
        running(path, table(one.port, "one")) as (proxy, reloader),
        reloading(reloader, str(path)),
    ):
        path.write_text("[scheduler]\nmax_waiting = 7\n" + table(one.port, "one"))
        os.kill(os.getpid(), signal.SIGHUP)
        while proxy.proxy.scheduling.max_waiting != 7:
            await asyncio.sleep(0.001)


async def test_a_changed_file_reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configuration says so: once its writer is done."""
    monkeypatch.setattr(reload, "WATCH_SECONDS", 0.01)
    path = tmp_path / "paceline.toml"
    async with engine(always(MODELS)) as one:
        watched = "[server]\nwatch_files = true\n" + table(one.port, "one")
        async with running(path, watched) as (proxy, reloader), reloading(reloader, str(path)):
            path.write_text("[scheduler]\nmax_waiting = 7\n" + watched)
            while proxy.proxy.scheduling.max_waiting != 7:
                await asyncio.sleep(0.001)
