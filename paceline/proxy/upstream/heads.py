"""Builds the heads of requests to engines."""

from __future__ import annotations

from paceline.proxy.http.request import Request
from paceline.proxy.upstream.address import Address


def request_head(request: Request, backend: Address, request_id: str, length: int | None) -> bytes:
    """The head that asks `backend` what the client asked us; `length` is the body's, if any."""
    asked = f"{request.method} {backend.base}{request.raw_path} HTTP/1.1"
    forwarded = b"X-Forwarded-For: "
    if b"x-forwarded-for" in request.noted:
        forwarded += request.noted[b"x-forwarded-for"] + b", "
    ours = f"{request.remote}\r\nX-Request-Id: {request_id}\r\n"
    if length is not None:
        ours += f"Content-Length: {length}\r\n"
    lines = [
        asked.encode("utf-8", "surrogateescape"),
        backend.host_line,
        *request.kept,
        *(backend.credentials or request.credentials),
        forwarded + ours.encode(),
        b"",
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
