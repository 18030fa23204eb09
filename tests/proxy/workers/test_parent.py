"""Parent and workers together are one proxy: one truth, whichever worker is asked."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from msgspec import structs

from paceline.proxy.config import Config, LimitsConfig, ServerConfig, TenantLimits
from paceline.proxy.serving.ratio import START
from paceline.proxy.serving.stored import Kept
from paceline.proxy.telemetry import log
from paceline.proxy.workers.parent import portion
from tests.proxy.scripted import Conversation, engine, reply
from tests.proxy.whole import MODELS, backend, streaming
from tests.proxy.workers.crewed import Crewed, crewed

SAID = b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}'


async def answering(conversation: Conversation) -> None:
    """An engine that answers everything at once."""
    while True:
        head, _ = await conversation.request()
        await conversation.say(reply(SAID) if head.startswith("POST") else MODELS)


def config(port: int) -> Config:
    return Config(backends=[backend(port)])


async def state(proxy: Crewed) -> tuple[int, int]:
    """Requests that wait and that run, as any worker tells it."""
    answer = await proxy.ask("GET", "/paceline/state")
    scheduler = json.loads(answer.body)["scheduler"]
    return scheduler["waiting"], scheduler["in_flight"]


def sums(page: bytes, name: str) -> float:
    """The sum over all series of a metric."""
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page.decode(), re.MULTILINE)
    return sum(map(float, values))


def worker_of(request_id: str) -> str:
    """What tells one worker's requests from another's."""
    return request_id[:8]


async def test_whichever_worker_is_asked_tells_the_whole_truth() -> None:
    """Both serve; pages are the parent's; counters are sums; nothing is left in flight."""
    async with engine(answering) as one, crewed(config(one.port)) as proxy:
        answers = await proxy.chats(40)
        assert {answer.status for answer in answers} == {200}
        assert len({worker_of(answer.headers("x-request-id")[0]) for answer in answers}) == 2
        for _ in range(4):
            page = (await proxy.ask("GET", "/metrics")).body
            assert sums(page, "paceline_requests_total") == 40
            assert sums(page, "paceline_decisions_total") == 40
            assert sums(page, "paceline_request_seconds_count") == 40
            assert sums(page, "paceline_output_tokens_total") == 120
        assert await state(proxy) == (0, 0)
        for path, status in (("/ready", 200), ("/health", 200), ("/paceline/nothing", 404)):
            assert (await proxy.ask("GET", path)).status == status
        assert proxy.parent.gateway.ratio.bytes_per_token("m") != START


async def test_the_dashboard_knows_what_ended_in_any_worker() -> None:
    """Workers tell once a second; what was decided the parent knows by itself."""
    async with engine(answering) as one, crewed(config(one.port)) as proxy:
        await proxy.chats(10)
        seen: dict[str, Any] = {"recent": {"ended": 0}}
        while seen["recent"]["ended"] < 10:
            seen = json.loads((await proxy.ask("GET", "/paceline/ui/state")).body)
            await asyncio.sleep(0.05)
        assert {one["outcome"] for one in seen["decisions"]} == {"finished"}
        assert (await proxy.ask("GET", "/paceline/ui")).headers("content-security-policy")


async def test_a_worker_that_is_gone_leaves_nothing_behind() -> None:
    """Its requests leave the scheduler, the other's run on; without a parent it ends its streams
    and then itself."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as one, crewed(config(one.port)) as proxy:
        streams = [await proxy.stream() for _ in range(24)]
        assert await state(proxy) == (0, 24)
        lost = len(proxy.known[0].desk)
        assert 0 < lost < 24
        proxy.known[0].link.close()
        await proxy.known[0].gone.wait()
        assert proxy.parent.snapshot().in_flight == 24 - lost  # its port may be open for a moment
        gate.set()
        for caller, _ in streams:
            assert b"[DONE]" in await caller.reader.readuntil(b"0\r\n\r\n")
            caller.hang_up()
        await proxy.lives[0]
        assert await state(proxy) == (0, 0)
        assert {answer.status for answer in await proxy.chats(8)} == {200}


async def test_workers_follow_changes_of_the_fleet() -> None:
    """What is drained gets nothing more from any of them, what is removed is forgotten."""
    async with engine(answering) as one, engine(answering) as two:
        both = Config(backends=[backend(one.port, "e0"), backend(two.port, "e1")])
        async with crewed(both) as proxy:
            proxy.parent.backends.drain("e0", True)
            await proxy.parent.hub.gather_counts()
            asked = [proxy.ask("POST", "/v1/embeddings", {"model": "m"}) for _ in range(16)]
            answers = [*await proxy.chats(16), *await asyncio.gather(*asked)]
            assert {answer.headers("x-paceline-backend")[0] for answer in answers} == {"e1"}
            proxy.parent.backends.remove("e0")
            while "e0" in proxy.parent.gateway.directory:
                await asyncio.sleep(0)
            await proxy.parent.hub.gather_counts()
            assert all("e0" not in worker.part.gateway.directory for worker in proxy.workers)


async def test_every_worker_knows_where_a_response_is() -> None:
    """Whichever was asked for it: the next one may be asked what follows."""

    async def responding(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            made = head.startswith("POST")
            await conversation.say(reply(b'{"id":"resp_1"}') if made else MODELS)

    async with engine(responding) as one, crewed(config(one.port)) as proxy:
        await proxy.ask("POST", "/v1/responses", {"model": "m", "input": "a"})
        for _ in range(2):  # to the parent, and from there
            await proxy.parent.hub.gather_counts()
        known = [worker.part.gateway.stored.find("resp_1") for worker in proxy.workers]
        assert known == [Kept("resp_1", "e0", None)] * 2


async def test_workers_follow_a_reload() -> None:
    """A limit that changes holds in all of them."""
    async with engine(answering) as one, crewed(config(one.port)) as proxy:
        gateway = proxy.parent.gateway
        server = structs.replace(gateway.config.server, max_body_mb=0.00001)
        gateway.config = structs.replace(gateway.config, server=server)
        proxy.parent.reloaded("taken")
        await proxy.parent.hub.gather_counts()
        assert {answer.status for answer in await proxy.chats(8)} == {413}


async def test_a_page_that_fails_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """The client is not left waiting for what the parent cannot say."""
    async with engine(answering) as one, crewed(config(one.port)) as proxy:
        proxy.parent.gateway.state = lambda: 1 // 0  # type: ignore[assignment,return-value]
        assert (await proxy.ask("GET", "/paceline/state")).status == 500
        assert log.stderr().drain(5.0)
        assert "ZeroDivisionError" in capsys.readouterr().err


async def test_failures_in_all_workers_add_up() -> None:
    """The parent's breaker counts what requests in any worker met."""

    async def failing(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            await conversation.say(reply(b"{}", "500 Oops") if head.startswith("POST") else MODELS)

    async with engine(failing) as one, crewed(config(one.port)) as proxy:
        breaker = proxy.parent.gateway.directory["e0"].standing.breaker
        assert {answer.status for answer in await proxy.chats(16)} == {500}
        await proxy.parent.hub.gather_counts()
        assert breaker.open


def test_limits_are_divided() -> None:
    """All workers together take as much as one process would."""
    a = TenantLimits(max_requests=7, prompt_tokens_per_second=300.0)
    whole = Config(
        server=ServerConfig(
            workers=3, max_connections=1000, max_buffered_mb=300.0, load_balancers=["::1"]
        ),
        limits=LimitsConfig(requests_per_second=6.0, tenants={"a": a}),
    )
    part = portion(whole)
    assert part.server.max_connections == 334
    assert part.server.max_connections_per_address == 1334
    assert part.server.load_balancers == ["::1"]
    assert part.server.max_buffered_mb == 100.0
    assert part.limits == LimitsConfig(
        requests_per_second=2.0,
        tenants={"a": TenantLimits(max_requests=3, prompt_tokens_per_second=100.0)},
    )
