"""One request as the handlers see it: parsed by aiohttp, its body read, where its reply goes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp.http import HttpVersion11, RawRequestMessage

if TYPE_CHECKING:
    from paceline.proxy.http.inbound import Inbound
    from paceline.proxy.http.memory import Hold


HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that concern one connection only (RFC 9110 section 7.6.1)."""

REPLACED = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"host",
    b"x-forwarded-for",
    b"x-paceline-key",
    b"x-request-id",
}
"""Client headers that are not passed on as they are: the connection's own, and what we write."""

LISTS = frozenset((b"connection", b"x-forwarded-for"))
"""Headers whose values add up when they come more than once."""

NOTED = frozenset((b"x-paceline-priority", b"x-paceline-tenant", b"x-paceline-timeout"))
"""What is read here and passed on as well."""

CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
"""What is passed on unless it was meant for the proxy, or the engine has a key of its own."""

SPECIAL = REPLACED | NOTED | CREDENTIALS


def unlisted(lines: list[bytes], listed: set[bytes]) -> list[bytes]:
    """The header lines without those whose names, in lower case, a Connection header listed."""
    if listed - {b"keep-alive", b"close", b""}:
        return [line for line in lines if line.partition(b":")[0].lower() not in listed]
    return lines


class Request:
    """A request from a client's connection."""

    __slots__ = (
        "body",
        "credentials",
        "hold",
        "http11",
        "inbound",
        "keep_alive",
        "kept",
        "length",
        "message",
        "method",
        "noted",
        "path",
        "raw_path",
        "remote",
        "tenant",
    )

    def __init__(self, message: RawRequestMessage, inbound: Inbound, remote: str) -> None:
        self.message = message
        """As aiohttp's parser read it."""
        self.method = message.method
        self.raw_path = path = message.path
        """The target as it came: path and query."""
        self.path = path if "?" not in path and "%" not in path else message.url.path
        """The path alone, unquoted."""
        self.http11 = message.version >= HttpVersion11
        self.keep_alive = not message.should_close
        """Whether the connection may carry another request; whoever answers may turn it off."""
        self.inbound = inbound
        self.remote = remote
        """The client's IP address."""
        self.body = b""
        self.hold: Hold | None = None
        """The body's share of the memory for all of them."""
        self.tenant: str | None = None
        """Whose key came with it; None where keys are not asked for."""
        self.credentials: list[bytes] = []
        """The header lines with keys for the engine."""
        self.kept: list[bytes] = []
        """The header lines that are passed on as they came."""
        self.noted: dict[bytes, bytes] = {}
        """The values of the headers in `SPECIAL`, by name in lower case."""
        self._sort(message.raw_headers)
        self.length = int(self.noted.get(b"content-length", 0))
        """Bytes of the body, as far as the head tells: the parser checked that they are digits."""

    def _sort(self, headers: RawHeaders) -> None:
        """Look at every header once: most are only passed on."""
        kept, noted = self.kept, self.noted
        for name, value in headers:
            key = name.lower()
            if key not in SPECIAL:
                kept.append(name + b": " + value)
                continue
            if key not in REPLACED:
                (kept if key in NOTED else self.credentials).append(name + b": " + value)
            if key not in noted:
                noted[key] = value
            elif key in LISTS:
                noted[key] += b", " + value
        if b"connection" in noted:
            tokens = noted[b"connection"].lower().split(b",")
            listed = {token.strip() for token in tokens}
            self.kept = unlisted(kept, listed)
            self.credentials = unlisted(self.credentials, listed)


RawHeaders = tuple[tuple[bytes, bytes], ...]
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
