"""Requests as a client's connection makes them, without the connection."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from paceline.proxy.http.head import Head
from paceline.proxy.http.inbound import Inbound
from paceline.proxy.http.request import Request


async def request(method: str, target: str, body: bytes = b"", **headers: str) -> Request:
    """What the parser makes of this head; underscores in header names stand for hyphens."""
    loop = asyncio.get_running_loop()
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
    messages, _, _ = parser.feed_data(
        f"{method} {target} HTTP/1.1\r\nHost: proxy\r\n{''.join(lines)}\r\n".encode()
    )
    made = Request(Head(messages[0][0]), cast(Inbound, None), "127.0.0.1")
    made.body = body
    return made
