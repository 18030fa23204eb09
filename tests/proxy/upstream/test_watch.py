"""One watch against a fake engine with real engines' replies; the clock is in the test's hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from paceline.proxy.config import BackendConfig, UpstreamConfig
from paceline.proxy.upstream.directory import Directory, Entry
from paceline.proxy.upstream.probe import Probe, open_session
from paceline.proxy.upstream.watch import FACTS_SECONDS, Watch
from paceline.scheduler.types import BackendSpec
from tests.engines.replies import OTHER, SGLANG, VLLM


class Engine:
    """Answers every GET from `replies`, 404 for other paths; a status instead of bytes is given."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes | int] = {}
        self.asked: list[str] = []
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        app.router.add_post("/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        reply = self.replies.get(request.path_qs, 404)
        if isinstance(reply, int):
            return web.Response(status=reply)
        return web.Response(body=reply)

    def become(self, replies: dict[str, bytes]) -> None:
        """Serve as this engine from now on."""
        self.replies = dict(replies)

    def stop(self) -> None:
        """Answer nothing but errors."""
        self.replies = dict.fromkeys([*VLLM, *SGLANG], 503)


class Proxy:
    """The driver's and the requests' side, with a clock that stands still."""

    def __init__(self) -> None:
        self.time = 100.0
        self.specs: list[BackendSpec] = []
        self.resets: list[str] = []
        self.loads: list[tuple[str, int, int, float]] = []
        self.last_byte: float | None = None
        self.abandoned: list[str] = []
        self.broken = 0.0

    def now(self) -> float:
        return self.time

    def backend_changed(self, spec: BackendSpec) -> None:
        self.specs.append(spec)

    def backend_reset(self, id: str) -> None:
        self.resets.append(id)

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        self.loads.append((id, running, waiting, asked_at))

    def in_flight(self, backend: str) -> int:
        return 1

    def last_byte_at(self, backend: str) -> float | None:
        return self.last_byte

    def broken_at(self, backend: str) -> float:
        return self.broken

    def silence(self, backend: str) -> float:
        return 0.0

    def abandon(self, backend: str) -> None:
        self.abandoned.append(backend)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    fake = Engine()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


class Watched:
    """A watch, its entry, and all that it talks to."""

    def __init__(self, engine: Engine, session: ClientSession, proxy: Proxy) -> None:
        self.engine, self.proxy, self._session = engine, proxy, session
        self.entry, self.watch = self.with_config()

    def with_config(self, **fields: object) -> tuple[Entry, Watch]:
        url = str(self.engine.server.make_url("/"))
        config = BackendConfig(url=url, name="b", **fields)  # type: ignore[arg-type]
        self.directory = Directory([config, BackendConfig(url="http://other", name="other")])
        self.entry = self.directory["b"]
        probe = Probe(self._session, self.entry.address, timeout=5.0)
        upstream, alone = UpstreamConfig(), self.directory.alone
        self.watch = Watch(self.entry, probe, self.proxy, self.proxy, upstream, alone)
        return self.entry, self.watch

    def with_another(self) -> Entry:
        """Another backend that serves the same."""
        other = self.directory["other"]
        other.up, other.models = True, self.entry.models
        return other

    async def check(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watch.check()

    @property
    def up(self) -> list[bool]:
        return [spec.up for spec in self.proxy.specs]


@pytest.fixture
def watched(engine: Engine, session: ClientSession, proxy: Proxy) -> Watched:
    return Watched(engine, session, proxy)


async def test_a_vllm_is_found_out(watched: Watched) -> None:
    """Its models and its pool are told once; its cache needs no leader."""
    watched.engine.become(VLLM)
    await watched.check(2)
    expected = BackendSpec(id="b", models=("tiny",), kv_tokens=1_048_576)
    assert watched.proxy.specs == [expected]
    assert (watched.entry.kind, watched.entry.models, watched.entry.up) == ("vllm", ("tiny",), True)


async def test_an_sglang_is_found_out(watched: Watched) -> None:
    """Its chunk and its limit are told too, and that leaders go first."""
    watched.engine.become(SGLANG)
    await watched.check()
    (spec,) = watched.proxy.specs
    assert (spec.kv_tokens, spec.chunk_tokens, spec.max_running) == (20_000, 4096, 2048)
    assert spec.leader_first


async def test_the_configuration_goes_before_what_is_found(watched: Watched) -> None:
    """What the operator wrote is believed."""
    watched.with_config(models=["x"], kv_tokens=7, max_running=3, leader_first=False)
    watched.engine.become(SGLANG)
    await watched.check()
    (spec,) = watched.proxy.specs
    assert (spec.models, spec.apis) == (("x",), ("/generate", "/generate x"))
    assert (spec.kv_tokens, spec.max_running) == (7, 3)
    assert not spec.leader_first


async def test_metrics_may_be_off(watched: Watched) -> None:
    """A vLLM that tells only its models serves, and its load is not known."""
    watched.engine.become({path: VLLM[path] for path in ("/v1/models", "/health", "/version")})
    await watched.check(2)
    await watched.watch.poll_load()
    assert watched.proxy.specs == [BackendSpec(id="b", models=("tiny",))]
    assert watched.proxy.loads == []


async def test_a_configured_kind_is_not_asked_for(watched: Watched) -> None:
    """A server of a kind that is given is asked only what that kind answers."""
    watched.with_config(kind="openai")
    watched.engine.become(OTHER)
    await watched.check()
    assert watched.engine.asked == ["/v1/models"]
    assert watched.proxy.specs[0].models == ("a", "b")


async def test_a_backend_may_come_later(watched: Watched) -> None:
    """Until it lists its models it is asked again, one question at a time."""
    watched.watch.introduce()
    watched.engine.stop()
    await watched.check(5)
    assert watched.proxy.specs == [BackendSpec(id="b", models=None, up=False)]
    assert watched.engine.asked == ["/v1/models"] * 5
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.up == [False, True]


async def test_three_failures_are_down_and_one_success_is_up(watched: Watched) -> None:
    """One failed check alone changes nothing."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    await watched.check(2)
    assert watched.up == [True]
    assert watched.proxy.abandoned == []
    await watched.check(2)
    assert watched.up == [True, False]
    assert not watched.entry.up
    assert watched.proxy.abandoned == ["b"], "what waits there need not wait for ever"
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.up == [True, False, True]
    assert watched.proxy.resets == []
    assert watched.proxy.specs[-1].max_running == 1, "its cache may be cold: slow start"


async def test_failures_must_follow_each_other(watched: Watched) -> None:
    """A success in between starts the count anew."""
    watched.engine.become(VLLM)
    await watched.check()
    for _ in range(3):
        watched.engine.stop()
        await watched.check(2)
        watched.engine.become(VLLM)
        await watched.check()
    assert watched.up == [True]


async def test_a_streaming_backend_is_alive(watched: Watched) -> None:
    """Bytes that flow say more than a failed check; silence lets it fall."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    watched.proxy.last_byte = watched.proxy.time - 0.5
    await watched.check(9)
    assert watched.up == [True]
    watched.proxy.time += 60.0
    await watched.check()
    assert watched.up == [True, False]


async def test_a_client_error_is_a_sign_of_life(watched: Watched) -> None:
    """A server that wants a key for the path is up."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/health"] = 401
    await watched.check(3)
    assert watched.up == [True]


def restarted(replies: dict[str, bytes]) -> dict[str, bytes]:
    """The replies after another start."""
    metrics = replies["/metrics"].replace(b"1.79535617075e+09", b"1.79535700000e+09")
    changed = replies | {"/metrics": metrics}
    if "/server_info" in replies:
        info = json.loads(replies["/server_info"]) | {"random_seed": 1}
        changed["/server_info"] = json.dumps(info).encode()
    return changed


@pytest.mark.parametrize("replies", [VLLM, SGLANG])
async def test_a_restart_is_noticed_after_a_failure(
    watched: Watched, replies: dict[str, bytes]
) -> None:
    """Even one that was over before three checks could fail."""
    watched.engine.become(replies)
    await watched.check()
    watched.engine.stop()
    await watched.check()
    watched.engine.become(restarted(replies))
    await watched.check()
    assert watched.proxy.resets == ["b"]
    assert watched.up == [True, True]
    assert watched.proxy.specs[-1].max_running == 1


@pytest.mark.parametrize("replies", [VLLM, SGLANG])
async def test_a_restart_between_two_checks_is_noticed(
    watched: Watched, replies: dict[str, bytes]
) -> None:
    """The replies that are asked for anyway tell it."""
    watched.engine.become(replies)
    await watched.check()
    watched.engine.become(restarted(replies))
    await watched.watch.poll_load()
    await watched.check(2)
    assert watched.proxy.resets == ["b"]


async def test_a_backend_without_a_start_time_is_reset_when_it_comes_back(
    watched: Watched,
) -> None:
    """Having been down for long is taken for a restart."""
    watched.engine.become(OTHER)
    await watched.check()
    watched.engine.stop()
    await watched.check(3)
    watched.engine.become(OTHER)
    await watched.check()
    assert watched.proxy.resets == ["b"]


async def test_missing_metrics_do_not_forget_the_pool(watched: Watched) -> None:
    """One reply that did not come is no news."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/metrics"] = 500
    watched.proxy.time += FACTS_SECONDS
    await watched.check()
    assert len(watched.proxy.specs) == 1


async def test_new_models_are_noticed(watched: Watched) -> None:
    """An adapter that was loaded at run time is served from the next look on."""
    watched.engine.become(VLLM)
    await watched.check()
    listed = b'{"data": [{"id": "tiny", "owned_by": "vllm"}, {"id": "lora"}]}'
    watched.engine.replies["/v1/models"] = listed
    await watched.check()
    assert len(watched.proxy.specs) == 1
    watched.proxy.time += FACTS_SECONDS
    await watched.check()
    assert watched.proxy.specs[-1].models == ("tiny", "lora")


async def test_load_is_reported_with_the_time_of_asking(watched: Watched) -> None:
    """What is sent while the answer is under way is not in it."""
    metrics = VLLM["/metrics"].replace(
        b'num_requests_running{engine="0",model_name="tiny"} 0.0',
        b'num_requests_running{engine="0",model_name="tiny"} 5.0',
    )
    watched.engine.become(VLLM | {"/metrics": metrics})
    await watched.check()
    await watched.watch.poll_load()
    assert watched.proxy.loads == [("b", 5, 0, 100.0)]


async def test_an_older_sglang_tells_its_load_in_metrics(watched: Watched) -> None:
    """Where `/v1/loads` does not exist, `/metrics` is asked."""
    older = {path: body for path, body in SGLANG.items() if not path.startswith("/v1/loads")}
    watched.engine.become(older)
    await watched.check()
    await watched.watch.poll_load()
    assert watched.proxy.loads == [("b", 0, 0, 100.0)]
    assert watched.engine.asked[-2:] == ["/v1/loads?include=core", "/metrics"]


async def test_failures_of_requests_are_told(watched: Watched) -> None:
    """A breaker that opens takes the backend out at once, while others can serve."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.breaker.again(100.0)
    watched.entry.standing.changed()
    assert watched.up == [True], "it is the last one that has the model"
    other = watched.with_another()
    watched.watch.refresh()
    assert watched.up == [True, False]
    other.up = False
    watched.watch.refresh()
    assert watched.up == [True, False, True]


async def test_refusals_are_told(watched: Watched) -> None:
    """The limit and the load that follow from a 429 reach the scheduler, and go again."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.answered(429, 100.0, 3, b"2")
    assert (watched.proxy.specs[-1].max_running, watched.proxy.specs[-1].load_tokens) == (3, 16_384)
    watched.proxy.time += 20.0
    watched.watch.refresh()
    assert (watched.proxy.specs[-1].max_running, watched.proxy.specs[-1].load_tokens) == (None, 0)


async def test_a_backend_that_hung_is_looked_at_anew(watched: Watched) -> None:
    """It may be another process now; it is up again once it tells its facts."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.hung = True
    watched.watch.refresh()
    watched.engine.become(restarted(VLLM))
    await watched.check()
    assert watched.up == [True, False, True]
    assert watched.proxy.resets == ["b"]
    assert watched.proxy.specs[-1].max_running == 1


async def test_load_that_stands_still_is_noticed(watched: Watched) -> None:
    """Counted from the last change; a backend that tells no load is never frozen."""
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.watch.frozen_seconds(1e9) == 0.0
    await watched.watch.poll_load()
    watched.proxy.time += 5.0
    await watched.watch.poll_load()
    assert watched.watch.frozen_seconds(watched.proxy.time) == 5.0
    metrics = VLLM["/metrics"].replace(
        b'num_requests_running{engine="0",model_name="tiny"} 0.0',
        b'num_requests_running{engine="0",model_name="tiny"} 5.0',
    )
    watched.engine.become(VLLM | {"/metrics": metrics})
    await watched.watch.poll_load()
    assert watched.watch.frozen_seconds(watched.proxy.time) == 0.0


async def test_any_reaction_is_one(watched: Watched) -> None:
    """Errors and a refused connection too: only silence is none."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    assert await watched.watch.reacts(5.0)
    assert not await watched.watch.reacts(0.0001)
    await watched.engine.server.close()
    assert await watched.watch.reacts(5.0)
    assert not await watched.watch.generates()


@pytest.mark.parametrize(("status", "generates"), [(404, True), (401, True), (500, False)])
async def test_generation_is_tried(watched: Watched, status: int, generates: bool) -> None:
    """A server that does not want the request is not broken."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/v1/completions"] = status
    assert await watched.watch.generates() is generates
    assert watched.engine.asked[-1] == "/v1/completions"


async def test_a_restart_while_idle_is_noticed(watched: Watched) -> None:
    """Connections that it closes are reason enough to ask for everything again, once."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.become(restarted(VLLM))
    await watched.check()
    assert watched.proxy.resets == [], "an idle vLLM tells nothing of it by itself"
    watched.proxy.time += 1.0
    watched.proxy.broken = watched.proxy.time
    watched.proxy.time += 1.0
    await watched.check()
    assert watched.proxy.resets == ["b"]
    asked = len(watched.engine.asked)
    await watched.check()
    assert len(watched.engine.asked) == asked + 1
