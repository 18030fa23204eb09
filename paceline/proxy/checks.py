"""Refuses what aiohttp's parser lets through and must not be forwarded, and what is too large."""

from __future__ import annotations

from itertools import chain

from aiohttp.http import RawRequestMessage
from msgspec import Struct

from paceline.proxy.errors import ApiError
from paceline.proxy.request import Request


class Limits(Struct, frozen=True, kw_only=True):
    """What a connection may send: bytes, and seconds for them."""

    head: int
    body: int
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    """Longest silence in a body."""
    body_rate: float = 4096.0
    """Bytes a second that a body must bring on average."""
    idle_seconds: float = 30.0
    """Longest wait for the next request."""


def check(request: Request, limits: Limits) -> None:
    """Look at a head before the body is read; raises ApiError."""
    noted = request.noted
    if not request.raw_path.startswith("/"):
        raise ApiError(400, "The request target must be a path.", reason="bad_request")
    if noted.get(b"upgrade", b"").lower() == b"websocket":
        raise ApiError(501, "WebSockets are not supported.", reason="not_implemented")
    if not request.http11 and b"transfer-encoding" in noted:
        raise ApiError(400, "HTTP/1.0 has no Transfer-Encoding.", reason="bad_request")
    announced = noted.get(b"content-length")
    if announced is not None and int(announced) > limits.body:
        raise too_large(limits)


def head_size(message: RawRequestMessage) -> int:
    """The bytes of a request's target and headers."""
    return len(message.path) + sum(map(len, chain.from_iterable(message.raw_headers)))


def head_too_large() -> ApiError:
    """The answer to a head above its limit."""
    return ApiError(431, "The request's head is too large.", reason="head_too_large")


def too_many_connections() -> ApiError:
    """The answer to a connection above their number."""
    message = "Too many connections are open."
    return ApiError(503, message, reason="connections", retry_after=1.0)


def too_large(limits: Limits) -> ApiError:
    """The answer to a body above its limit."""
    mib = limits.body / 2**20
    return ApiError(413, f"The request's body is larger than {mib:g} MiB.", reason="too_large")
