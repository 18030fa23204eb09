"""The proxy's own pages: whichever worker is asked, the parent answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from paceline.proxy.http.head import Head
from paceline.proxy.http.inbound import Inbound
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.workers.messages import Answered, Asked, ToParent


class Pages:
    """In a worker: asks the parent."""

    def __init__(self, send: Callable[[ToParent], None]) -> None:
        self._send = send
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._alone = False

    def answered(self, answer: Answered) -> None:
        """The parent's answer came."""
        future = self._asked.get(answer.number)
        if future is not None and not future.done():
            future.set_result(
                Reply(answer.status, answer.body, answer.content_type, answer.headers)
            )

    def abandon(self) -> None:
        """The parent is gone: nobody answers any more."""
        self._alone = True
        for future in self._asked.values():
            if not future.done():
                future.set_result(_gone())

    async def ask(self, request: Request) -> Reply:
        """The parent's answer."""
        if self._alone:
            return _gone()
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        name = request.noted.get(b"x-request-id", b"")
        self._send(Asked(number, request.method, request.raw_path, name, request.body))
        try:
            return await future
        finally:
            del self._asked[number]


def rebuilt(asked: Asked) -> Request:
    """The request that a worker was sent, without its connection: pages do not use that."""
    loop = asyncio.get_running_loop()
    head = b"%b %b HTTP/1.1\r\nHost: parent\r\n" % (asked.method.encode(), asked.target.encode())
    name = b"x-request-id: %b\r\n" % asked.request_id if asked.request_id else b""
    longest = len(head) + len(name)
    parser = HttpRequestParser(
        BaseProtocol(loop), loop, 2**16, max_line_size=longest, max_field_size=longest
    )
    messages, _, _ = parser.feed_data(head + name + b"\r\n")
    request = Request(Head(messages[0][0]), cast(Inbound, None), "worker")
    request.body = asked.body
    return request


def _gone() -> Reply:
    return Reply(503, b'{"status":"restarting"}')
