"""Asks one backend one question over HTTP; whatever goes wrong is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import aiohttp
import msgspec
from msgspec import Struct

from paceline.proxy.upstream.address import Address

COMPLETIONS = "/v1/completions"


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
        self._headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}

    async def ask(self, path: str) -> Reply | None:
        """The answer, or None when there was none in time."""
        try:
            async with self._request("GET", path, self._timeout) as response:
                return Reply(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def reacts(self, paths: Iterable[str], seconds: float) -> bool:
        """Whether it does anything at all within the time, be it to refuse the connection."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        asks = [asyncio.ensure_future(self._reaction(path, timeout)) for path in set(paths)]
        try:
            for reaction in asyncio.as_completed(asks):
                if await reaction:
                    return True
            return False
        finally:
            for ask in asks:
                ask.cancel()
            await asyncio.gather(*asks, return_exceptions=True)

    async def generate(self, model: str) -> Reply | None:
        """The answer to a request for one token."""
        wanted = {"model": model, "prompt": "ping", "max_tokens": 1}
        body = msgspec.json.encode(wanted)
        try:
            async with self._request("POST", COMPLETIONS, self._timeout, body) as response:
                return Reply(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def _reaction(self, path: str, timeout: aiohttp.ClientTimeout) -> bool:
        try:
            async with self._request("GET", path, timeout):
                return True
        except TimeoutError:
            return False
        except (aiohttp.ClientError, OSError, ValueError):
            return True

    def _request(
        self, method: str, path: str, timeout: aiohttp.ClientTimeout, body: bytes | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self._session.request(
            method,
            self._address.url(path),
            data=body,
            timeout=timeout,
            headers=headers,
            ssl=self._address.context or True,
            allow_redirects=False,  # whoever answers there must not send us elsewhere
        )

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
