"""Builds the heads that go out: requests to engines and replies to clients."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from paceline.proxy.address import Address
from paceline.proxy.replies import ReplyHead
from paceline.proxy.request import HOP_BY_HOP, Request, unlisted

Header = tuple[bytes, bytes]

REPLY_REPLACED = HOP_BY_HOP | {
    b"x-paceline-backend",
    b"x-paceline-cached-tokens",
    b"x-paceline-queue-ms",
    b"x-request-id",
}
"""Engine headers that are not passed on as they are."""


def request_head(request: Request, backend: Address, request_id: str, length: int | None) -> bytes:
    """The head that asks `backend` what the client asked us; `length` is the body's, if any."""
    passed = request.noted.get(b"x-forwarded-for")
    peer = request.remote.encode()
    target = (backend.base + request.raw_path).encode("utf-8", "surrogateescape")
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode(), target),
        _host_line(backend.host, backend.port),
        *request.kept,
        *credentials(request, backend),
        b"X-Forwarded-For: " + (peer if passed is None else passed + b", " + peer),
        b"X-Request-Id: " + request_id.encode(),
    ]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def get_head(request: Request, backend: Address, path: str) -> bytes:
    """The head of a GET of our own, with the credentials of the client it is made for."""
    lines = [
        b"GET %b HTTP/1.1" % (backend.base + path).encode(),
        _host_line(backend.host, backend.port),
        *credentials(request, backend),
        b"\r\n",
    ]
    return b"\r\n".join(lines)


def credentials(request: Request, backend: Address) -> list[bytes]:
    """The lines that let a request into an engine: those of its own key, or the client's."""
    if backend.key:
        return [b"Authorization: Bearer " + backend.key.encode()]
    return request.credentials


def reply_head(head: ReplyHead, ours: bytes, *, chunked: bool, close: bool) -> bytes:
    """The head for the client: the engine's, `ours` (whole lines) added, persistence our own."""
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *_kept(head.headers, REPLY_REPLACED)]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n" + ours + b"\r\n"


@lru_cache(maxsize=10_000)
def _host_line(host: str, port: int) -> bytes:
    return f"Host: [{host}]:{port}".encode() if ":" in host else f"Host: {host}:{port}".encode()


def _kept(headers: Iterable[Header], replaced: frozenset[bytes]) -> list[bytes]:
    """The lines of all headers but those in `replaced` and those that Connection lists."""
    lines = []
    listed: set[bytes] = set()
    for name, value in headers:
        key = name.lower()
        if key not in replaced:
            lines.append(name + b": " + value)
        elif key == b"connection":
            listed.update(token.strip() for token in value.lower().split(b","))
    return unlisted(lines, listed)
