"""Asks one backend one question over HTTP; whatever goes wrong is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
from msgspec import Struct

from paceline.proxy.address import Address


class Reply(Struct, frozen=True):
    """An answer of any status."""

    status: int
    body: bytes

    @property
    def alive(self) -> bool:
        """A server that refuses or does not know the path is still a working server."""
        return self.status < 500


class Probe:
    """A backend and how long to wait for its answers."""

    def __init__(self, session: aiohttp.ClientSession, address: Address, timeout: float) -> None:
        self._session = session
        self._address = address
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._headers = {"Authorization": f"Bearer {address.key}"} if address.key else None

    async def ask(self, path: str) -> Reply | None:
        """The answer, or None when there was none in time."""
        url = self._address.url(path)
        try:
            async with self._session.get(
                url,
                timeout=self._timeout,
                headers=self._headers,
                ssl=self._address.context or True,
                allow_redirects=False,  # whoever answers there must not send us elsewhere
            ) as response:
                return Reply(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def ask_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bodies of those answers that were 200, by path; all are asked at once."""
        asked = list(dict.fromkeys(paths))
        replies = await asyncio.gather(*map(self.ask, asked))
        return {
            path: reply.body
            for path, reply in zip(asked, replies, strict=True)
            if reply is not None and reply.status == 200
        }


def open_session() -> aiohttp.ClientSession:
    """A session for probes: idle connections are dropped before uvicorn's 5 s are over."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
