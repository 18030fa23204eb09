"""Refuses what aiohttp's parser lets through and must not be forwarded, and what is too large."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.head import Head
from paceline.proxy.http.head_reader import VERSIONS
from paceline.proxy.http.memory import Memory
from paceline.proxy.http.request import Request

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""RFC 3986 section 3.2, without user and without commas, which could make it a list."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a connection may send: bytes, and seconds for them."""

    head: int
    body: int
    memory: Memory | None = None
    """Of all bodies together; None for any number."""
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    """Longest silence in a body."""
    body_rate: float = 4096.0
    """Bytes a second that a body must bring on average."""
    idle_seconds: float = 30.0
    """Longest wait for the next request."""


def check(head: Head) -> None:
    """Whether requests with this head may be forwarded; raises ApiError."""
    if not head.raw_path.startswith("/") or "#" in head.raw_path:
        raise ApiError(400, "The request target must be a path.", reason="bad_request")
    if head.message.version not in VERSIONS:
        raise ApiError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken.", reason="bad_request")
    if not _is_host(head.noted.get(b"host")):
        raise ApiError(400, "The Host header is malformed.", reason="bad_request")
    if head.method == "TRACE":
        raise ApiError(501, "TRACE is not supported.", reason="not_implemented")
    _check_framing(head)
    head.checked = True


def _check_framing(head: Head) -> None:
    noted = head.noted
    if b"upgrade" in noted and noted[b"upgrade"].lower() == b"websocket":
        raise ApiError(501, "WebSockets are not supported.", reason="not_implemented")
    if b"transfer-encoding" in noted:
        if not head.http11:
            raise ApiError(400, "HTTP/1.0 has no Transfer-Encoding.", reason="bad_request")
        if not head.message.chunked:  # RFC 9112 section 6.3
            raise ApiError(400, "The last coding must be chunked.", reason="bad_request")
        if noted[b"transfer-encoding"].lower() != b"chunked":
            raise ApiError(501, "Only chunked is understood.", reason="not_implemented")
    if b"expect" in noted and noted[b"expect"].lower() != b"100-continue":
        raise ApiError(417, "Only 100-continue is understood.", reason="bad_request")


def take_in(request: Request, size: int, limits: Limits) -> None:
    """The body has, or is to have, so many bytes; raises ApiError."""
    if size > limits.body:
        raise too_large(limits)
    if size and limits.memory is not None:
        if request.hold is None:
            request.hold = limits.memory.hold(size)
        else:
            request.hold.grow(size)


@lru_cache(maxsize=1000)
def _is_host(value: bytes | None) -> bool:
    """Whether this can be a Host header; HTTP/1.0 needs none, and the parser sees that 1.1 has one.

    It is not passed on, but a request that names two hosts means two things to two readers.
    """
    return value is None or _HOST.fullmatch(value) is not None


def too_large(limits: Limits) -> ApiError:
    """The answer to a body above its limit."""
    mib = limits.body / 2**20
    return ApiError(413, f"The request's body is larger than {mib:g} MiB.", reason="too_large")
