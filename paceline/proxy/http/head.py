"""A request's head, its headers sorted: passed on as they came, read here, or replaced."""

from __future__ import annotations

from aiohttp.http import HttpVersion11, RawRequestMessage

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


class Head:
    """What a head says; requests of one connection that repeat it share it."""

    __slots__ = (
        "checked",
        "credentials",
        "http11",
        "keep_alive",
        "kept",
        "length",
        "message",
        "method",
        "noted",
        "path",
        "raw_path",
    )

    def __init__(self, message: RawRequestMessage) -> None:
        self.message = message
        """As aiohttp's parser read it; the Content-Length in it is that of the first one."""
        self.method = message.method
        self.raw_path = path = message.path
        """The target as it came: path and query."""
        self.path = path if "?" not in path and "%" not in path else message.url.path
        """The path alone, unquoted."""
        self.http11 = message.version >= HttpVersion11
        self.keep_alive = not message.should_close
        """Whether the connection may carry another request."""
        self.credentials: list[bytes] = []
        """The header lines with keys for the engine."""
        self.kept: list[bytes] = []
        """The header lines that are passed on as they came."""
        self.noted: dict[bytes, bytes] = {}
        """The values of the headers in `SPECIAL`, by name in lower case."""
        self._sort(message.raw_headers)
        self.length = int(self.noted.pop(b"content-length", b"").lstrip(b"0") or 0)
        """Bytes of the body, as far as the head tells: the parser saw to it that these are digits
        of at most 64 bits, behind any number of zeros."""
        self.checked = False
        """Whether it was found to be one that may be forwarded."""

    def _sort(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
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
