"""What tenants may have, with the clock in hand."""

from __future__ import annotations

import asyncio

import pytest

from paceline.proxy.access import quotas as module
from paceline.proxy.access.quotas import Quotas, Rate, Turn, quotas
from paceline.proxy.config import LimitsConfig, TenantLimits
from paceline.proxy.http.errors import ApiError
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import Conversation, reply


def entered(limits: Quotas, now: float, tokens: int = 0, tenant: str = "t") -> Turn | ApiError:
    """Let in, or why not."""
    try:
        return limits.enter(tenant, tokens, now)
    except ApiError as error:
        return error


def many(limits: Quotas, now: float, tokens: int = 0, tenant: str = "t") -> int:
    """How many are let in at this moment."""
    count = 0
    while isinstance(entered(limits, now, tokens, tenant), Turn):
        count += 1
    return count


def test_nobody_is_limited_by_default() -> None:
    """And then nothing is kept."""
    assert quotas(LimitsConfig()) is None
    assert quotas(LimitsConfig(max_requests=1)) is not None
    assert quotas(LimitsConfig(tenants={"t": TenantLimits()})) is not None


def test_requests_a_second() -> None:
    """Ten seconds' worth at once, then one at a time; tenants do not share."""
    limits = Quotas(LimitsConfig(requests_per_second=2.0))
    assert many(limits, 100.0) == 20
    assert many(limits, 100.5) == 1
    assert many(limits, 100.5, tenant="other") == 20
    assert many(limits, 1000.0) == 20


def test_advice_is_when_the_next_is_let_in() -> None:
    """Rounded up to the least that the header can say."""
    limits = Quotas(LimitsConfig(requests_per_second=0.1))
    many(limits, 0.0)
    error = entered(limits, 4.0)
    assert isinstance(error, ApiError)
    assert (error.status, error.reason) == (429, "tenant_rate")
    assert error.retry_after == pytest.approx(6.0)
    assert isinstance(entered(limits, 10.0), Turn)


def test_tokens_a_second() -> None:
    """A prompt above the burst is let in when nothing else was, and paid for afterwards."""
    limits = Quotas(LimitsConfig(prompt_tokens_per_second=100.0, burst_seconds=2.0))
    assert many(limits, 0.0, tokens=50) == 4
    assert isinstance(entered(limits, 2.0, tokens=1000), Turn)
    error = entered(limits, 3.0, tokens=1)
    assert isinstance(error, ApiError)
    assert error.reason == "tenant_tokens"
    assert error.retry_after == pytest.approx(7.01)
    assert isinstance(entered(limits, 10.1, tokens=1), Turn)


def test_requests_at_once() -> None:
    """An ended request makes room; the advice is how often one ends."""
    limits = Quotas(LimitsConfig(max_requests=2))
    first, second = limits.enter("t", 0, 0.0), limits.enter("t", 0, 0.0)
    error = entered(limits, 1.0)
    assert isinstance(error, ApiError)
    assert (error.reason, error.retry_after) == ("tenant_requests", 1.0)
    first.end(10.0)
    third = limits.enter("t", 0, 10.0)
    second.end(15.0)
    fourth = limits.enter("t", 0, 15.0)
    error = entered(limits, 15.0)
    assert isinstance(error, ApiError)
    assert error.retry_after == pytest.approx(5.0)
    third.end(16.0)
    fourth.end(16.0)
    assert many(limits, 16.0) == 2


def test_a_tenant_may_have_limits_of_its_own() -> None:
    """They replace the common ones."""
    tenants = {"big": TenantLimits(max_requests=5)}
    limits = Quotas(LimitsConfig(max_requests=1, tenants=tenants))
    assert (many(limits, 0.0, tenant="t"), many(limits, 0.0, tenant="big")) == (1, 5)


def test_names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that invent names do not fill the memory."""
    monkeypatch.setattr(module, "MOST_TENANTS", 3)
    limits = Quotas(LimitsConfig(requests_per_second=0.1, burst_seconds=1.0))
    for name in "abcab":
        entered(limits, 0.0, tenant=name)
    entered(limits, 0.0, tenant="d")
    assert isinstance(entered(limits, 0.0, tenant="a"), ApiError)
    assert isinstance(entered(limits, 0.0, tenant="c"), Turn)


def test_a_rate_never_saves_more_than_its_burst() -> None:
    """However long nothing was taken."""
    rate = Rate()
    assert [rate.wait(1.0, 1.0, 2.0, 1e6) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_a_tenant_is_answered_with_429(path: str) -> None:
    """Over the wire: the second at once is refused, the next one after it is not."""
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            asked.set()
            await goes_on.wait()
            await conversation.say(reply(b"{}"))

    limited = Quotas(LimitsConfig(max_requests=1))
    async with proxied(engine, quotas=limited) as proxy:
        first, second = await proxy.dial(), await proxy.dial()
        await first.post(CHAT, path, "x-paceline-tenant: t")
        await asked.wait()
        await second.post(CHAT, path, "x-paceline-tenant: t")
        refused = await second.answer()
        assert (refused.status, refused.headers("retry-after")) == (429, ["1"])
        assert refused.headers("x-paceline-reason") == ["tenant_requests"]
        goes_on.set()
        assert (await first.answer()).status == 200
        assert [(await proxy.records.get()).status for _ in range(2)] == [429, 200]
        await second.post(CHAT, path, "x-paceline-tenant: t")
        assert (await second.answer()).status == 200
