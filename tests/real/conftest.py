"""Both engines, started once for the whole stage and side by side."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.real import layout, tiny_llama
from tests.real.engines import Engine

Engines = dict[layout.Kind, Engine]
_ENGINES: pytest.StashKey[Engines] = pytest.StashKey()


@pytest.fixture(scope="session")
def engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engines]:
    """vLLM and SGLang, ready. They are never skipped: without them the stage fails and says why."""
    missing = [str(layout.venv(kind)) for kind in layout.KINDS if not layout.installed(kind)]
    if missing:
        pytest.fail(f"not installed: {missing}; run tests/real/install_engines", pytrace=False)
    folder = tmp_path_factory.mktemp("engines")
    model = tiny_llama.write(folder / "model")
    started: Engines = {kind: Engine(kind, model, folder / f"{kind}.log") for kind in layout.KINDS}
    request.config.stash[_ENGINES] = started
    try:
        for engine in started.values():
            engine.start()
        for engine in started.values():
            engine.wait_ready()
        yield started
    finally:
        for engine in started.values():
            engine.kill()


@pytest.fixture
def vllm(engines: Engines) -> Engine:
    """The vLLM that all tests share."""
    return engines["vllm"]


@pytest.fixture
def sglang(engines: Engines) -> Engine:
    """The SGLang that all tests share."""
    return engines["sglang"]


@pytest.fixture(params=layout.KINDS)
def engine(request: pytest.FixtureRequest, engines: Engines) -> Engine:
    """Each engine in turn."""
    kind: layout.Kind = request.param
    return engines[kind]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the engines' logs with every failure."""
    report = yield
    if report.failed:
        for kind, engine in item.config.stash.get(_ENGINES, {}).items():
            report.sections.append((f"the end of {kind}'s log", engine.log_tail()))
    return report
