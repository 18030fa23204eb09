"""Passes one reply on: an engine's bytes in, the same bytes out, no task in between."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING

from paceline.engines.answers import BATCH
from paceline.proxy.http.errors import ApiError, sse_event
from paceline.proxy.http.framing import BadFraming, Framing, Length, UntilClose
from paceline.proxy.http.replies import BadReply, ReplyHead, framing_of, split_head

if TYPE_CHECKING:
    from paceline.proxy.serving.claim import Claim
    from paceline.proxy.serving.forward import Forward
    from paceline.proxy.upstream.connection import Connection

TAIL = 4096
"""Payload bytes kept from a reply's end: usage stands in the last event or behind the choices."""

KEPT = 2 * TAIL
"""Bytes of payload that may gather where nothing but the tail is wanted."""

STREAM_END = b"data: [DONE]\n\n"
"""The last event of OpenAI's streams, and of SGLang's."""

NO_REPLY = 0
"""Stands for the status of an engine that was found to hang."""
BUSY = (429, 503)
"""Statuses that come with a Retry-After."""
RETRY_AFTER = b"Retry-After: 1\r\n"
"""Where the engine names no time itself: the shortest that the header can express."""
UNBUFFERED = (
    (b"x-accel-buffering", b"x-accel-buffering: no\r\n"),
    (b"cache-control", b"cache-control: no-cache\r\n"),
)
"""What keeps nginx and caches from collecting a stream before they pass it on: name and line."""


class Outcome(enum.Enum):
    """How a relay ended."""

    COMPLETE = enum.auto()
    """The whole reply was passed on."""
    HELD = enum.auto()
    """The reply's status was to be held back, or the engine hangs: nothing was passed on."""
    DROPPED = enum.auto()
    """The connection closed before the first byte of a reply."""
    BROKEN = enum.auto()
    """The engine failed otherwise: `error` tells how, `client.started` what the client has seen."""


COMPLETE, HELD, DROPPED, BROKEN = Outcome
"""By themselves: each look into the enumeration takes 70 ns."""


class Relay:
    """One reply on its way from a connection to a client."""

    head: ReplyHead | None = None
    error: ApiError | None = None
    succeeded = False
    """Whether the engine answered with a 2xx status."""

    _buffer = b""
    _timer: asyncio.TimerHandle | None = None
    _paused = False
    _keep = False  # the connection may carry another request once the reply is complete
    _quiet_since = 0.0
    _before = b""  # the end of what came before them, as far as it may belong to the tail

    def __init__(self, forward: Forward, connection: Connection, claim: Claim) -> None:
        self.outcome: Outcome | None = None
        self._forward = forward
        self._client = forward.client
        self._connection = connection
        self._claim = claim
        self._transcript = transcript = claim.transcript
        self._config = forward.gateway.config.upstream
        self._loop = forward.gateway.pool.loop
        self._wake = self._loop.create_future()
        self._framing: Framing | None = None  # until the head has come
        self._begun = False  # the body's first byte came
        self._pieces: list[bytes] = []  # the payload that came last
        self._room = KEPT if transcript is None else BATCH  # how many more bytes of it are kept
        self._deadline = forward.record.deadline

    async def run(self) -> Outcome:
        """Send the request and pass its reply on; returns when that has ended.

        Cancelling it closes the connection at once, and so does every end but a clean one.
        """
        connection = self._connection
        if self._deadline is not None or self._config.first_byte_seconds is not None:
            self._quiet_since = self._loop.time()
            self._arm()
        try:
            head, body = self._forward.message(connection.backend)
            connection.send(head, body, self)
            while True:
                await self._wake
                if self.outcome is not None:
                    return self.outcome
                self._wake = self._loop.create_future()
                await self._drain()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self.outcome is COMPLETE and self._keep and connection.sent:
                connection.release()
            else:
                connection.abort()

    def received(self, data: bytes) -> None:
        """The engine sent `data`: pass it on, behind the reply's head if that has not gone yet."""
        if self.outcome is not None:
            self._keep = False
            return
        lines, framing = b"", self._framing
        try:
            if framing is None:
                lines, data = self._take_head(data)
                framing = self._framing
                if framing is None or not lines:
                    return
            pieces = framing.feed(data)
            complete = framing.complete
            if complete and framing.end < len(data):
                data = self._cut_off(data, framing.end, lines)
        except (BadReply, BadFraming) as error:
            self._break(502, f"The engine sent a malformed reply: {error}.")
            return
        client = self._client
        if client.reframes:
            data = client.encode(pieces)
        client.write(lines + data if lines else data)
        if pieces:
            self._pieces += pieces
            room = self._room = self._room - len(data)
            if room < 0:
                self.hand_over()
            if not self._begun:
                self._begin(complete)
        if complete:
            self._settle(COMPLETE)
        elif client.inbound.slow:
            self._wait_for_client()

    def lost(self, error: Exception | None) -> None:
        """The engine's connection is gone."""
        self._keep = False
        if self.outcome is not None:
            return
        if self.head is None and not self._buffer:
            self._settle(DROPPED)
        elif isinstance(self._framing, UntilClose) and error is None:
            self._client.write(self._client.last)
            self._settle(COMPLETE)
        else:
            self._break(502, "The engine closed the connection in the middle of its reply.")

    def stalled(self) -> None:
        """The engine hangs; nothing came of this reply, so it may be asked for elsewhere."""
        silent = self.outcome is None and self.head is None and not self._buffer
        if silent and self._forward.holds(NO_REPLY):
            self._settle(HELD)

    def _take_head(self, data: bytes) -> tuple[bytes, bytes]:
        """The head to send and what came behind it; empty until it is whole, or if it is held."""
        head, data = split_head(self._buffer + data)
        if head is None:
            self._buffer = data
            return b"", b""
        forward = self._forward
        framing = self._framing = framing_of(head, forward.request.method)
        self.head = head
        self._keep = head.keep_alive
        self.succeeded = 200 <= head.status < 300
        if not self.succeeded and forward.holds(head.status):
            self._settle(HELD)
            return b"", b""
        ours = forward.lines()
        if head.status in BUSY or not isinstance(framing, Length):
            ours += _additions(head)
        return self._client.frame(head, framing, ours), data

    def _cut_off(self, data: bytes, end: int, lines: bytes) -> bytes:
        """The part of `data` that belongs to the reply; raises BadReply if none of it has gone."""
        if lines:
            raise BadReply("bytes behind its end")
        self._keep = False
        return data[:end]

    def _begin(self, complete: bool) -> None:
        """The payload's first bytes came, if not all of it."""
        self._begun = True
        if self._timer is None and not complete:
            self._arm()
        if self.succeeded:
            self._forward.record.first_byte_at = self._connection.heard_at
            self._claim.first_byte()

    def hand_over(self) -> bytes:
        """Let the transcript have what was kept for it; returns the tail."""
        payload = b"".join(self._pieces)
        self._room = KEPT
        if self._transcript is not None:
            self._transcript.add(payload)
            self._room = BATCH
        self._pieces = []
        self._before = (self._before + payload)[-TAIL:]
        return self._before

    @property
    def tail(self) -> bytes:
        """The last `TAIL` bytes of the payload."""
        return b"".join((self._before, *self._pieces))[-TAIL:]

    @property
    def answered(self) -> bool:
        """Whether the client got a whole answer, even if it left before the last framing byte."""
        return self.succeeded and (
            self.outcome is COMPLETE or (self.outcome is None and self.tail.endswith(STREAM_END))
        )

    @property
    def _patience(self) -> float | None:
        """How long the engine may be silent at this stage."""
        return self._config.idle_seconds if self._begun else self._config.first_byte_seconds

    def _arm(self) -> None:
        """Watch the time, if there is a limit on it at this stage."""
        limit, patience = self._deadline, self._patience
        if patience is not None and not self._paused:
            silent = self._quiet() + patience
            limit = silent if limit is None else min(silent, limit)
        if limit is not None:
            self._timer = self._loop.call_at(limit, self._check)

    def _quiet(self) -> float:
        """Since when the engine has been silent; a head alone is no sign of an answer."""
        heard_at = self._connection.heard_at if self._begun else 0.0
        return max(heard_at, self._quiet_since)

    def _check(self) -> None:
        """The limit may have passed: one timer looks at the last read, instead of one a read."""
        self._timer = None
        if self.outcome is not None:
            return
        now = self._loop.time()
        if self._deadline is not None and now >= self._deadline:
            self._break(504, "The request's time was up.", "timeout")
        elif self._silent(now):
            self._break(504, f"The engine was silent for {self._patience:g} s.")
        else:
            self._arm()

    def _silent(self, now: float) -> bool:
        """Whether the engine has been silent for too long."""
        patience = self._patience
        return patience is not None and not self._paused and now >= self._quiet() + patience

    def _wait_for_client(self) -> None:
        self._paused = True
        self._connection.pause()
        if not self._wake.done():
            self._wake.set_result(None)

    async def _drain(self) -> None:
        """Let the engine wait until the client has caught up; give up on one that stops."""
        try:
            async with asyncio.timeout(self._config.idle_seconds):
                await self._client.inbound.drain()
        except TimeoutError:
            self._client.abort()  # aiohttp then cancels the handler, as for any client that left
            return
        self._paused = False
        self._quiet_since = self._loop.time()
        self._connection.resume()
        if self._timer is not None:
            self._timer.cancel()
        self._arm()

    def _last_event(self, error: ApiError) -> bytes:
        """An event that tells of `error`, after the end of one that was cut short."""
        tail = self.tail
        unfinished = tail and not tail.endswith((b"\n\n", b"\r\n\r\n"))
        return (b"\n\n" if unfinished else b"") + sse_event(error, self._client.path)

    def _settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if not self._wake.done():
            self._wake.set_result(None)

    def _break(self, status: int, message: str, reason: str = "engine_failed") -> None:
        """There is no whole reply: cut the client's if it has begun, else others answer it."""
        self.error = ApiError(status, message, reason=reason)
        if self._client.started:
            head, framing = self.head, self._framing
            told = head is not None and head.is_sse and framing is not None and framing.at_boundary
            self._client.cut(self._last_event(self.error) if told else b"")
        self._settle(BROKEN)


def _additions(head: ReplyHead) -> bytes:
    """Lines that the engine should have sent."""
    if head.status in BUSY:
        return b"" if b"retry-after" in head.noted else RETRY_AFTER
    lines = b""
    if head.is_sse:
        for name, line in UNBUFFERED:
            if name not in head.noted:
                lines += line
    return lines
