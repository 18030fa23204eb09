"""Picks the prompts out of what passes on one connection; changes and keeps nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

from paceline.engines.api import BadRequest, parse
from paceline.lint.log import Body, Entry

PATHS = ("/v1/chat/completions", "/v1/completions")
"""What is linted; everything else passes unread."""
MAX_BODY = 64 * 2**20
"""Bytes of a body that are read at most, as the proxy's own limit."""

_decoder = msgspec.json.Decoder(Body)


class Ear:
    """Hears both directions; hands every readable request to `heard`, and None for an odd one."""

    def __init__(self, heard: Callable[[Entry | None], None]) -> None:
        self.owed = 0
        """Requests on this connection that have no whole answer yet."""
        self._heard = heard
        self._asking = httptools.HttpRequestParser(self)
        self._answering = httptools.HttpResponseParser(_Answers(self))
        self._deaf = False
        self._url = b""
        self._tenant = ""
        self._body: list[bytes] = []
        self._size = 0

    def asked(self, data: bytes) -> None:
        """The client sent this."""
        self._feed(self._asking, data)

    def answered(self, data: bytes) -> None:
        """The other side did."""
        self._feed(self._answering, data)

    def complete(self) -> None:
        """An answer has ended, or an interim one, which ends nothing."""
        if self._answering.get_status_code() >= 200:
            self.owed -= 1

    def _feed(self, parser: Any, data: bytes) -> None:
        """What is no HTTP, or no longer, passes unheard."""
        if self._deaf:
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._deaf, self.owed = True, 0

    # What httptools calls as a request comes in

    def on_message_begin(self) -> None:
        self.owed += 1
        self._url, self._tenant, self._body, self._size = b"", "", [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-paceline-tenant":
            self._tenant = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY:
            self._body.append(body)

    def on_message_complete(self) -> None:
        path = urlsplit(self._url).path.decode("latin-1")
        if path in PATHS and self._asking.get_method() == b"POST":
            self._heard(self._entry(path, b"".join(self._body)))
        self._body = []

    def _entry(self, path: str, data: bytes) -> Entry | None:
        if self._size > MAX_BODY:
            return None
        try:
            parse(path, data)
            body = _decoder.decode(data)
        except (BadRequest, msgspec.DecodeError):
            return None
        return Entry(0, body, self._tenant or str(body.get("user") or ""))


class _Answers:
    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def on_message_complete(self) -> None:
        self._ear.complete()
