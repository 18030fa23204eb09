"""Sends what is asked of a stored response (OpenAI's Responses) to the engine that made it.

An engine keeps responses for itself, so `previous_response_id` and `/v1/responses/ID` mean
something to one engine of a fleet only. Which one is learned from the replies as they pass. What
was forgotten, or was made before the proxy started, is found by asking the engines.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from paceline.proxy.access.admission import RESPONSES, STORED
from paceline.proxy.access.cors import MarkedClient
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.request import Request
from paceline.proxy.serving.claim import Unscheduled
from paceline.proxy.telemetry.record import Record
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.fetch import FetchFailed, fetch
from paceline.proxy.upstream.heads import get_head

if TYPE_CHECKING:
    from paceline.proxy.serving.gateway import Gateway

MOST = 50_000
"""Responses remembered, some 300 bytes each; the one unheard of for longest goes first."""
LOOK = 8192
"""Bytes of a reply in which its id is looked for; engines write it first."""
_ID = re.compile(rb'"id"\s*:\s*"(resp_[A-Za-z0-9_-]{1,128})"')
"""In text and in arguments of calls the quotes would be escaped."""


class Kept(Struct, frozen=True, tag=True):
    """A response and where it is."""

    id: str
    backend: str
    tenant: str | None
    """Whose key it was made with; None where keys are not asked for."""


class Stored:
    """Where the last responses are."""

    def __init__(self, tell: Callable[[Kept], None] = lambda kept: None) -> None:
        """`tell` hears of each that was made here."""
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._tell = tell

    def made(self, kept: Kept) -> None:
        """A reply that passed here has this id."""
        self.learn(kept)
        self._tell(kept)

    def learn(self, kept: Kept) -> None:
        """Remember it. An id that somebody else has remains theirs: clients may choose ids."""
        known = self._kept.setdefault(kept.id, kept)
        if known.tenant == kept.tenant:
            self._kept[kept.id] = kept
            self._kept.move_to_end(kept.id)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, id: str) -> Kept | None:
        """The response, if it is known."""
        kept = self._kept.get(id)
        if kept is not None:
            self._kept.move_to_end(id)
        return kept

    def forget(self, id: str) -> None:
        """It is not where it was said to be."""
        self._kept.pop(id, None)


class Pinned(Unscheduled):
    """The one backend that has the response."""

    def _pick(self) -> None:
        """The same, for as long as it is up; raises ApiError."""
        entry = self._directory.entry(self.backend)
        if entry is None or not entry.up:
            message = f"The engine {self.backend}, which has the response, is not up."
            raise ApiError(503, message, reason="no_backend", retry_after=1.0)
        self._record.backend = self.backend


class Watching(MarkedClient):
    """A client whose reply's id is noted as it passes."""

    def __init__(self, gateway: Gateway, request: Request, record: Record) -> None:
        cors = gateway.cors
        super().__init__(request, None if cors is None else cors.lines(request))
        self._made = gateway.stored.made
        self._tenant = request.tenant
        self._record = record
        self._begun: bytes | None = b""

    def write(self, data: bytes) -> None:
        """Send; look at the beginning."""
        super().write(data)
        if self._begun is None:
            return
        self._begun += data
        match = _ID.search(self._begun)
        if match is not None:
            self._made(Kept(match[1].decode(), self._record.backend, self._tenant))
        if match is not None or len(self._begun) > LOOK:
            self._begun = None


class _Body(Struct):
    previous_response_id: str | None = None


_body = msgspec.json.Decoder(_Body)


async def claim(gateway: Gateway, request: Request, record: Record) -> Unscheduled:
    """The claim of a request to `/v1/responses` or below; raises ApiError."""
    id = named(request)
    if id is None or not any(entry.serves(record.model) for entry in gateway.directory):
        return Unscheduled(gateway.directory, record.model, record)
    backend = await _backend(gateway, request, record.model, id)
    return Pinned(gateway.directory, record.model, record, backend)


def named(request: Request) -> str | None:
    """The response that a request is about, by its path or as the one before; None for none, and
    for what no engine takes for an id."""
    if request.path != RESPONSES:
        match = STORED.fullmatch(request.path)
        return None if match is None else match["id"]
    try:
        given = _body.decode(request.body).previous_response_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the engine knows better what is wrong with it
    return given if given and STORED.fullmatch(f"{RESPONSES}/{given}") else None


async def _backend(gateway: Gateway, request: Request, model: str, id: str) -> str:
    """The backend that has it; raises ApiError."""
    stored = gateway.stored
    kept = stored.find(id)
    if kept is not None and kept.backend not in gateway.directory:
        stored.forget(id)
        message = f"The engine that made the response {id!r} is gone, and the response with it."
        raise ApiError(404, message, reason="response_not_found")
    if kept is None:
        kept = await _searched(gateway, request, model, id)
    if kept is None or kept.tenant != request.tenant:
        message = f"No engine here has a response {id!r}."
        raise ApiError(404, message, reason="response_not_found")
    return kept.backend


async def _searched(gateway: Gateway, request: Request, model: str, id: str) -> Kept | None:
    """Ask the engines. Ids are random (122 bits of uuid4): who knows one may ask for it."""
    able = [entry.address for entry in gateway.directory if entry.serves(model)]
    if len(able) == 1:  # it has the response, or says best what is wrong
        return Kept(id, able[0].id, request.tenant)
    found = await asyncio.gather(*(_has(gateway, request, one, id) for one in able))
    for backend, has in zip(able, found, strict=True):
        if has:
            kept = Kept(id, backend.id, request.tenant)
            gateway.stored.learn(kept)
            return kept
    return None


async def _has(gateway: Gateway, request: Request, backend: Address, id: str) -> bool:
    head = get_head(request, backend, f"{RESPONSES}/{id}")
    try:
        async with asyncio.timeout(gateway.config.upstream.probe_timeout_seconds):
            return (await fetch(gateway.pool, backend, head)).status == 200
    except (FetchFailed, TimeoutError):
        return False
