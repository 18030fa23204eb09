"""Checks a request before it is read, then reads its body within limits of size and time."""

from __future__ import annotations

import asyncio
from itertools import chain

from aiohttp import web

from paceline.proxy.errors import ApiError

STALL_SECONDS = 30.0
"""Longest silence while a body is uploaded."""


def check(request: web.BaseRequest, max_head: int) -> None:
    """Refuse what aiohttp's parser lets through and must not be forwarded; raises ApiError."""
    headers = request.headers
    if not request.raw_path.startswith("/"):
        raise ApiError(400, "The request target must be a path.", reason="bad_request")
    if headers.get("Upgrade", "").lower() == "websocket":
        raise ApiError(501, "WebSockets are not supported.", reason="not_implemented")
    if request.version < (1, 1) and "Transfer-Encoding" in headers:
        raise ApiError(400, "HTTP/1.0 has no Transfer-Encoding.", reason="bad_request")
    size = len(request.raw_path) + sum(map(len, chain.from_iterable(request.raw_headers)))
    if size > max_head:
        raise ApiError(431, "The request's head is too large.", reason="head_too_large")


async def read(request: web.BaseRequest, max_size: int) -> bytes:
    """The request's body; raises ApiError when it is larger than `max_size` bytes or stalls."""
    announced = request.headers.get("Content-Length")
    if announced is not None and int(announced) > max_size:
        raise _too_large(max_size)
    content = request.content
    if content.is_eof():
        return content.read_nowait()
    pieces = []
    size = 0
    try:
        while not content.at_eof():
            async with asyncio.timeout(STALL_SECONDS):
                piece = await content.readany()
            size += len(piece)
            if size > max_size:
                raise _too_large(max_size)
            pieces.append(piece)
    except TimeoutError:
        raise ApiError(408, "The request's body did not come.", reason="timeout") from None
    return b"".join(pieces)


def _too_large(max_size: int) -> ApiError:
    mib = max_size / 2**20
    return ApiError(413, f"The request's body is larger than {mib:g} MiB.", reason="too_large")
