"""One request as the handlers see it: parsed by aiohttp, its body read, where its reply goes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp.http import HttpVersion11, RawRequestMessage

if TYPE_CHECKING:
    from paceline.proxy.inbound import Inbound


class Request:
    """A request from a client's connection."""

    __slots__ = (
        "body",
        "headers",
        "http11",
        "inbound",
        "keep_alive",
        "method",
        "path",
        "raw_headers",
        "raw_path",
        "remote",
        "url",
    )

    def __init__(self, message: RawRequestMessage, inbound: Inbound, remote: str) -> None:
        self.method = message.method
        self.raw_path = message.path
        """The target as it came: path and query."""
        self.url = message.url
        plain = "?" not in message.path and "%" not in message.path
        self.path = message.path if plain else message.url.path
        """The path alone, unquoted."""
        self.headers = message.headers
        self.raw_headers = message.raw_headers
        self.http11 = message.version >= HttpVersion11
        self.keep_alive = not message.should_close
        """Whether the connection may carry another request; whoever answers may turn it off."""
        self.inbound = inbound
        self.remote = remote
        """The client's IP address."""
        self.body = b""


REASONS = {status.value: status.phrase for status in HTTPStatus}


class Reply:
    """An answer of the proxy's own."""

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers or {}

    def encode(self, *, keep_alive: bool, bodiless: bool) -> bytes:
        """Head and body; `bodiless` for HEAD, whose answers have a Content-Length alone."""
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            *(() if keep_alive else ("Connection: close",)),
            "\r\n",
        ]
        return "\r\n".join(lines).encode() + (b"" if bodiless else self.body)
