"""Proxies for the clients to talk to, and the clients that have to be installed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real import layout
from tests.real.clients.embedder import Embedder
from tests.real.clients.run import Run
from tests.real.clients.venvs import Client, NotInstalled
from tests.real.conftest import Engines
from tests.real.proxy import Proxy, serving

Install = Callable[[Client], Client]


@pytest.fixture(scope="package")
def proxies(
    engines: Engines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Proxy]]:
    """A proxy in front of each engine, and `both` in front of the two."""
    folder = tmp_path_factory.mktemp("proxies")
    fleets = {kind: [engines[kind]] for kind in layout.KINDS} | {"both": list(engines.values())}
    loop = asyncio.new_event_loop()
    stack = contextlib.AsyncExitStack()
    try:
        yield {
            name: loop.run_until_complete(stack.enter_async_context(serving(fleet, folder)))
            for name, fleet in fleets.items()
        }
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


@pytest.fixture(params=layout.KINDS)
def url(request: pytest.FixtureRequest, proxies: dict[str, Proxy]) -> str:
    """The proxy in front of each engine in turn."""
    return proxies[request.param].url


@pytest.fixture
def both(proxies: dict[str, Proxy]) -> str:
    """The proxy in front of both engines."""
    return proxies["both"].url


@pytest.fixture
def model(engines: Engines) -> Path:
    """The folder with the model's tokenizer."""
    return engines["vllm"].model


@pytest.fixture
def install() -> Install:
    """Installs a client if it is missing; the test fails with the reason if that cannot be done."""

    def ensure(client: Client) -> Client:
        try:
            client.install()
        except NotInstalled as error:
            pytest.fail(str(error), pytrace=False)
        return client

    return ensure


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a client's command to its end."""
    return Run(tmp_path / "client.log")


@pytest.fixture(scope="package")
def embedder(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy in front of SGLang, which generates, and of a vLLM that makes embeddings."""
    folder = tmp_path_factory.mktemp("embedder")
    engine = Embedder(engines["vllm"].model, folder / "vllm.log")
    loop = asyncio.new_event_loop()
    stack = contextlib.AsyncExitStack()
    try:
        engine.start()
        engine.wait_ready()
        fleet = serving([engines["sglang"], engine], folder)
        yield loop.run_until_complete(stack.enter_async_context(fleet)).url
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()
        engine.kill()
