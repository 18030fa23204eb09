"""Engines that are found come and go like those that an operator adds and removes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from paceline.proxy.config import BackendConfig, Config, DiscoveryConfig
from paceline.proxy.discovery.sources import Discovery, Finds, Found, backend_of
from tests.proxy.discovery.test_dns import nameserver
from tests.proxy.rig import Answer
from tests.proxy.scripted import always, engine
from tests.proxy.whole import MODELS, Whole, backend, streaming, whole

LOOK = DiscoveryConfig(host="engines", kind="openai")


class Source:
    """Finds what a test tells it to."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[Sequence[Found] | Exception] = asyncio.Queue()

    async def __call__(self, config: DiscoveryConfig) -> Finds:
        while True:
            found = await self._told.get()
            if isinstance(found, Exception):
                raise found
            yield found
            self._told.task_done()

    async def finds(self, *found: Found) -> None:
        """All of this, and waits until it has been applied."""
        self._told.put_nowait(found)
        await self._told.join()

    def fails(self, error: Exception) -> None:
        """It breaks."""
        self._told.put_nowait(error)


def at(port: int, name: str = "") -> Found:
    """An engine on this machine."""
    return Found("127.0.0.1", port, name)


async def until(condition: Callable[[], bool]) -> None:
    """Let the others have their turn until it holds; the test's timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


def names(proxy: Whole) -> list[str]:
    """The backends that the proxy knows."""
    return [entry.id for entry in proxy.proxy.backends.directory]


@asynccontextmanager
async def discovering(*configured: BackendConfig) -> AsyncIterator[tuple[Whole, Source]]:
    """A proxy with these backends, and a source that may find it more."""
    source = Source()
    async with whole(Config(backends=[*configured]), up=bool(configured)) as proxy:
        discovery = Discovery([LOOK], proxy.proxy.backends, source)
        discovery.start()
        yield proxy, source
        await discovery.close()


async def chatting(proxy: Whole, name: str) -> asyncio.Task[Answer]:
    """A request that this backend has begun to answer, once it is up."""
    await until(lambda: bool(proxy.proxy.backends.directory.up()))
    chat = asyncio.create_task(proxy.chat())
    await until(lambda: proxy.proxy.backends.in_flight(name) == 1)
    return chat


async def test_a_found_engine_serves_until_it_is_gone() -> None:
    """It is asked what it serves, gets requests, and is removed."""
    async with engine(always(MODELS)) as scripted, discovering() as (proxy, source):
        await source.finds(at(scripted.port))
        await until(lambda: bool(proxy.proxy.backends.directory.up()))
        assert names(proxy) == [f"127.0.0.1:{scripted.port}"]
        assert (await proxy.chat()).status == 200
        await source.finds()
        await until(lambda: not names(proxy))


async def test_one_that_goes_ends_what_it_has() -> None:
    """A stream runs on after its engine is no longer found, and nothing new is sent there."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as scripted, discovering() as (proxy, source):
        await source.finds(at(scripted.port, "pod"))
        chat = await chatting(proxy, "pod")
        await source.finds()
        assert proxy.proxy.backends.leaving("pod")
        gate.set()
        assert (await chat).body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        await until(lambda: not names(proxy))


async def test_one_that_comes_back_stays() -> None:
    """Found again while it was leaving, it serves again."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as scripted, discovering() as (proxy, source):
        await source.finds(at(scripted.port, "pod"))
        chat = await chatting(proxy, "pod")
        await source.finds()
        await source.finds(at(scripted.port, "pod"))
        assert not proxy.proxy.backends.leaving("pod")
        assert not proxy.proxy.backends.directory["pod"].draining
        gate.set()
        await chat


async def test_configured_backends_are_left_alone() -> None:
    """A source neither takes over nor removes what the configuration names."""
    async with (
        engine(always(MODELS)) as scripted,
        discovering(backend(scripted.port)) as (proxy, source),
    ):
        await source.finds(at(9, "e0"), at(9, "pod"))
        assert names(proxy) == ["e0", "pod"]
        assert proxy.proxy.backends.directory["e0"].config.url.endswith(str(scripted.port))
        await source.finds()
        await until(lambda: names(proxy) == ["e0"])


async def test_what_is_no_engine_changes_nothing() -> None:
    """A host that cannot be in a URL is refused, and the last good answer counts."""
    async with discovering() as (proxy, source):
        await source.finds(at(9, "pod"))
        await source.finds(at(9, "pod"), Found("no host", 80))
        assert names(proxy) == ["pod"]


async def test_a_source_that_breaks_leaves_the_backends() -> None:
    """The log says so; requests go on."""
    async with discovering() as (proxy, source):
        await source.finds(at(9, "pod"))
        with capture_logs() as logs:
            source.fails(RuntimeError("oh"))
            (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "discover engines"]
            await task
        assert names(proxy) == ["pod"]
        assert "discovery ended" in [line["event"] for line in logs]


async def test_serving_with_nothing_but_a_name(tmp_path: Path) -> None:
    """`paceline serve` starts no emulators then, and serves with what the DNS tells."""
    file = tmp_path / "p.toml"
    async with engine(always(MODELS)) as scripted, nameserver() as (server, at):
        server.records["e.example", "SRV"] = [f"0 0 {scripted.port} localhost."]
        where = f'srv = "e.example"\nresolver = "{at}"\nkind = "openai"'
        file.write_text(f"[server]\nport = 0\n[[discovery]]\n{where}\n")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "paceline", "serve", "--config", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while b"backend up" not in (line := await process.stderr.readline()):
                assert line, "it ended"
            assert f"localhost:{scripted.port}".encode() in line
        finally:
            process.terminate()
            said, _ = await process.communicate()
    assert b"emulated" not in said


def test_what_is_said_of_all_counts_for_each() -> None:
    """Scheme, kind and key of the source are the backend's; IPv6 addresses get their brackets."""
    config = DiscoveryConfig(srv="s", scheme="https", kind="vllm", api_key_env="KEY", ca_file="ca")
    found = backend_of(config, Found("fd00::1", 8443))
    assert (found.url, found.name) == ("https://[fd00::1]:8443", "[fd00::1]:8443")
    assert (found.kind, found.api_key_env, found.ca_file) == ("vllm", "KEY", "ca")
