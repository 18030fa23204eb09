"""Builds the heads of requests to engines."""

from __future__ import annotations

from functools import lru_cache

from paceline.proxy.http.request import Request
from paceline.proxy.upstream.address import Address


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


@lru_cache(maxsize=10_000)
def _host_line(host: str, port: int) -> bytes:
    return f"Host: [{host}]:{port}".encode() if ":" in host else f"Host: {host}:{port}".encode()
