"""Engines are looked up in the DNS: SRV records or addresses, asked for again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from paceline.proxy.config import DiscoveryConfig
from paceline.proxy.discovery.sources import Found, source_of

OFTEN = 0.01
"""Seconds between lookups."""


class Nameserver(asyncio.DatagramProtocol):
    """Answers questions with the records that a test gives it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing = False
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(), question.rdtype.name
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        records = self.records.get((name.rstrip("."), kind), [])
        if self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records:
            answer.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *records))
        self._transport.sendto(answer.to_wire(), addr)
        self.asked.put_nowait(kind)


@asynccontextmanager
async def nameserver() -> AsyncIterator[tuple[Nameserver, str]]:
    """A server and where it is."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Nameserver, ("127.0.0.1", 0))
    try:
        yield server, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_the_targets_of_srv_records() -> None:
    """Each is an engine, at the port that its record says."""
    async with nameserver() as (server, at):
        name = "_http._tcp.vllm.example"
        server.records[name, "SRV"] = ["0 0 8001 b.example.", "10 5 8000 a.example."]
        config = DiscoveryConfig(srv=name, resolver=at, seconds=OFTEN)
        async with aclosing(source_of(config)) as source:
            assert await anext(source) == [Found("a.example", 8000), Found("b.example", 8001)]


async def test_the_addresses_of_a_name() -> None:
    """Each is an engine, of either family, at the configured port."""
    async with nameserver() as (server, at):
        server.records["vllm.example", "A"] = ["127.0.0.2", "127.0.0.1"]
        server.records["vllm.example", "AAAA"] = ["::1"]
        config = DiscoveryConfig(host="vllm.example", port=8000, resolver=at, seconds=OFTEN)
        async with aclosing(source_of(config)) as source:
            found = await anext(source)
        assert [one.host for one in found] == ["127.0.0.1", "127.0.0.2", "::1"]
        assert {one.port for one in found} == {8000}


async def test_changes_are_seen_and_failures_are_not_changes() -> None:
    """A failing server and an empty answer keep what was found; the next good answer counts."""
    async with nameserver() as (server, at):
        server.records["e.example", "SRV"] = ["0 0 1 a.example."]
        config = DiscoveryConfig(srv="e.example", resolver=at, seconds=OFTEN)
        async with aclosing(source_of(config)) as source:
            assert await anext(source) == [Found("a.example", 1)]
            following = asyncio.ensure_future(anext(source))
            server.failing = True
            await next_question(server)
            server.failing = False
            server.records["e.example", "SRV"] = []
            await next_question(server)
            assert not following.done()
            server.records["e.example", "SRV"] = ["0 0 2 a.example."]
            assert await following == [Found("a.example", 2)]


async def next_question(server: Nameserver) -> None:
    """Wait until it was asked, and asked again: the first answer has been dealt with by then."""
    while not server.asked.empty():
        server.asked.get_nowait()
    await server.asked.get()
    await server.asked.get()
