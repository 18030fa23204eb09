"""Time limits on what clients send."""

from __future__ import annotations

import pytest

from paceline.proxy import inbound
from tests.proxy.rig import proxied
from tests.proxy.scripted import always, reply


async def test_body_that_stalls_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops uploading does not hold its connection for ever."""
    monkeypatch.setattr(inbound, "STALL_SECONDS", 0.05)
    async with proxied(always(reply())) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 100\r\n\r\n{")
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (408, ["close"])


async def test_head_that_dribbles_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not end is given up, however regularly a line of it comes."""
    monkeypatch.setattr(inbound, "KEEPALIVE_SECONDS", 0.1)
    async with proxied(always(reply())) as proxy:
        client = await proxy.dial()
        client.say(b"GET /health HTTP/1.1\r\nHost: p\r\n")
        assert await client.rest() == b""
