"""Builds the heads of requests to engines."""

from __future__ import annotations

from paceline.proxy.http.request import Request
from paceline.proxy.upstream.address import Address


def request_head(request: Request, backend: Address, request_id: str, length: int | None) -> bytes:
    """The head that asks `backend` what the client asked us; `length` is the body's, if any."""
    target = (backend.base + request.raw_path).encode("utf-8", "surrogateescape")
    peer = request.remote.encode()
    if b"x-forwarded-for" in request.noted:
        peer = request.noted[b"x-forwarded-for"] + b", " + peer
    lines = [
        request.method.encode() + b" " + target + b" HTTP/1.1",
        backend.host_line,
        *request.kept,
        *(backend.credentials or request.credentials),
        b"X-Forwarded-For: " + peer,
        b"X-Request-Id: " + request_id.encode(),
        b"\r\n" if length is None else b"Content-Length: %d\r\n\r\n" % length,
    ]
    return b"\r\n".join(lines)


def get_head(request: Request, backend: Address, path: str) -> bytes:
    """The head of a GET of our own, with the credentials of the client it is made for."""
    lines = [
        b"GET %b HTTP/1.1" % (backend.base + path).encode(),
        backend.host_line,
        *(backend.credentials or request.credentials),
        b"\r\n",
    ]
    return b"\r\n".join(lines)
