"""One request as the handlers see it: its head, its body once that was read, and an answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp.http import RawRequestMessage

from paceline.proxy.http.head import Head

if TYPE_CHECKING:
    from paceline.proxy.http.inbound import Inbound
    from paceline.proxy.http.memory import Hold


class Request:
    """A request from a client's connection."""

    __slots__ = (
        "body",
        "credentials",
        "head",
        "hold",
        "inbound",
        "keep_alive",
        "kept",
        "length",
        "method",
        "noted",
        "path",
        "raw_path",
        "remote",
        "tenant",
    )

    def __init__(self, head: Head, inbound: Inbound, remote: str, length: int = 0) -> None:
        """`length`: bytes of the body, 0 for a body in chunks."""
        self.head = head
        self.length = length
        self.method = head.method
        self.raw_path = head.raw_path
        """The target as it came: path and query."""
        self.path = head.path
        """The path alone, unquoted."""
        self.noted = head.noted
        """The values of the headers that are read here, by name in lower case; not to be changed,
        as the lists below: other requests have them, too."""
        self.kept = head.kept
        """The header lines that are passed on as they came."""
        self.credentials = head.credentials
        """The header lines with keys for the engine."""
        self.keep_alive = head.keep_alive
        """Whether the connection may carry another request; whoever answers may turn it off."""
        self.inbound = inbound
        self.remote = remote
        """The client's IP address."""
        self.body = b""
        self.hold: Hold | None = None
        """The body's share of the memory for all of them."""
        self.tenant: str | None = None
        """Whose key came with it; None where keys are not asked for."""

    @property
    def message(self) -> RawRequestMessage:
        """The head as aiohttp's parser read it."""
        return self.head.message


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
        """Head and body; answers to HEAD (`bodiless`) and 304 have a Content-Length alone."""
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            *(() if keep_alive else ("Connection: close",)),
            "\r\n",
        ]
        return "\r\n".join(lines).encode() + (b"" if bodiless or self.status == 304 else self.body)
