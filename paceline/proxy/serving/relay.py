"""Passes one reply on: an engine's bytes in, the same bytes out, no task in between."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from paceline.engines.answers import BATCH, Transcript
from paceline.proxy.config import UpstreamConfig
from paceline.proxy.http.client import Client
from paceline.proxy.http.errors import ApiError, sse_event
from paceline.proxy.http.framing import BadFraming, Framing, Length, UntilClose
from paceline.proxy.http.replies import BadReply, ReplyHead, framing_of, split_head
from paceline.proxy.upstream.connection import Connection

TAIL = 4096
"""Payload bytes kept from a reply's end: usage stands in the last event or behind the choices."""

STREAM_END = b"data: [DONE]\n\n"
"""The last event of OpenAI's streams, and of SGLang's."""


NOTHING = Length(0)
"""What is known of a body before its head has come."""
NO_REPLY = 0
"""Stands for the status of an engine that was found to hang."""
BUSY = (429, 503)
"""Statuses that come with a Retry-After."""
RETRY_AFTER = b"Retry-After: 1\r\n"
"""Where the engine names no time itself: the shortest that the header can express."""
UNBUFFERED = ((b"x-accel-buffering", b"no"), (b"cache-control", b"no-cache"))
"""What keeps nginx and caches from collecting a stream before they pass it on."""


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


class Relay:
    """One reply on its way from a connection to a client."""

    head: ReplyHead | None = None
    outcome: Outcome | None = None
    error: ApiError | None = None
    succeeded = False
    """Whether the engine answered with a 2xx status."""

    _connection: Connection
    _framing: Framing = NOTHING
    _buffer = b""
    _timer: asyncio.TimerHandle | None = None
    _begun = False  # the body's first byte came
    _paused = False
    _clean = True  # nothing followed the reply's end

    def __init__(
        self,
        client: Client,
        method: str,
        config: UpstreamConfig,
        *,
        ours: bytes,
        hold: Callable[[int], bool],
        on_first_byte: Callable[[], None],
        deadline: float | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        """`hold` tells whether a reply with a status is dropped; `deadline` ends all waiting."""
        self._client = client
        self._inbound = client.inbound
        self._method = method
        self._config = config
        self._ours = ours
        self._hold = hold
        self._on_first_byte = on_first_byte
        self._deadline = deadline
        self._transcript = transcript
        self._loop = asyncio.get_running_loop()
        self._wake = self._loop.create_future()
        self._pieces: list[bytes] = []  # the payload that came last,
        self._kept = 0  # the bytes that it came in, at least,
        self._most = BATCH if transcript is not None else 2 * TAIL  # how many there may be,
        self._before = b""  # and what came before that, as far as it may belong to the tail
        self._quiet_since = self._loop.time()
        self._patience = config.first_byte_seconds

    async def run(self, connection: Connection, head: bytes, body: bytes) -> Outcome:
        """Send a request and pass its reply on; returns when that has ended.

        Cancelling it closes the connection at once, and so does every end but a clean one.
        """
        self._connection = connection
        self._arm()
        try:
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
            if self._reusable:
                connection.release()
            else:
                connection.abort()

    def received(self, data: bytes) -> None:
        """The engine sent `data`."""
        if self.outcome is not None:
            self._clean = False
            return
        try:
            if self.head is None:
                self._take_head(data)
            else:
                self._pass_on(data)
        except (BadReply, BadFraming) as error:
            self._break(502, f"The engine sent a malformed reply: {error}.")

    def lost(self, error: Exception | None) -> None:
        """The engine's connection is gone."""
        self._clean = False
        if self.outcome is not None:
            return
        if self.head is None and not self._buffer:
            self._settle(Outcome.DROPPED)
        elif self.head is not None and isinstance(self._framing, UntilClose) and error is None:
            self._client.write(self._client.last)
            self._settle(Outcome.COMPLETE)
        else:
            self._break(502, "The engine closed the connection in the middle of its reply.")

    def stalled(self) -> None:
        """The engine hangs; nothing came of this reply, so it may be asked for elsewhere."""
        if self.outcome is None and self.head is None and not self._buffer and self._hold(NO_REPLY):
            self._settle(Outcome.HELD)

    @property
    def _reusable(self) -> bool:
        return (
            self.outcome is Outcome.COMPLETE
            and self._clean
            and self.head is not None
            and self.head.keep_alive
            and self._connection.sent
        )

    def _take_head(self, data: bytes) -> None:
        head, self._buffer = split_head(self._buffer + data)
        if head is None:
            return
        self._framing = framing_of(head, self._method)
        self.head = head
        self.succeeded = 200 <= head.status < 300
        if not self.succeeded and self._hold(head.status):
            self._settle(Outcome.HELD)
        else:
            ours = self._ours
            if head.status in BUSY or not isinstance(self._framing, Length):
                ours += _additions(head)
            lines = self._client.frame(head, self._framing, ours)
            self._pass_on(self._buffer, lines)

    def _pass_on(self, data: bytes, lines: bytes = b"") -> None:
        """Send body bytes to the client, behind the head's `lines` if it has not gone yet."""
        framing, client = self._framing, self._client
        pieces = framing.feed(data)
        complete = framing.complete
        if complete and framing.end < len(data):
            if lines:
                raise BadReply("bytes behind its end")
            self._clean = False
            data = data[: framing.end]
        if client.reframes:
            data = client.encode(pieces)
        client.write(lines + data if lines else data)
        if pieces:
            self._pieces += pieces
            self._kept += len(data)
            if self._kept > self._most:
                self.hand_over()
            if not self._begun:
                self._begin()
        if complete:
            self._settle(Outcome.COMPLETE)
        elif self._inbound.slow:
            self._wait_for_client()
        elif self._timer is None:
            self._arm()

    def _begin(self) -> None:
        """The payload's first bytes came."""
        self._begun = True
        self._patience = self._config.idle_seconds
        if self.succeeded:
            self._on_first_byte()

    def hand_over(self) -> None:
        """Let the transcript have what was kept for it."""
        payload = b"".join(self._pieces)
        if self._transcript is not None:
            self._transcript.add(payload)
        self._before = payload[-TAIL:] if len(payload) >= TAIL else self._before + payload
        self._pieces, self._kept = [], 0

    @property
    def tail(self) -> bytes:
        """The last `TAIL` bytes of the payload."""
        return b"".join((self._before, *self._pieces))[-TAIL:]

    @property
    def answered(self) -> bool:
        """Whether the client got a whole answer, even if it left before the last framing byte."""
        return self.succeeded and (
            self.outcome is Outcome.COMPLETE
            or (self.outcome is None and self.tail.endswith(STREAM_END))
        )

    def _arm(self) -> None:
        """Watch the time, if there is a limit on it at this stage."""
        limit = self._deadline
        if self._patience is not None and not self._paused:
            silent = self._quiet() + self._patience
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
        if self._paused or self._patience is None:
            return False
        return now >= self._quiet() + self._patience

    def _wait_for_client(self) -> None:
        self._paused = True
        self._connection.pause()
        self._signal()

    async def _drain(self) -> None:
        """Let the engine wait until the client has caught up; give up on one that stops."""
        try:
            async with asyncio.timeout(self._config.idle_seconds):
                await self._inbound.drain()
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
        self._signal()

    def _signal(self) -> None:
        if not self._wake.done():
            self._wake.set_result(None)

    def _break(self, status: int, message: str, reason: str = "engine_failed") -> None:
        """There is no whole reply: cut the client's if it has begun, else others answer it."""
        self.error = ApiError(status, message, reason=reason)
        if self._client.started:
            told = self._framing.at_boundary and self.head is not None and self.head.is_sse
            self._client.cut(self._last_event(self.error) if told else b"")
        self._settle(Outcome.BROKEN)


def _additions(head: ReplyHead) -> bytes:
    """Lines that the engine should have sent."""
    if head.status in BUSY:
        return b"" if b"retry-after" in head.noted else RETRY_AFTER
    if not head.is_sse:
        return b""
    return b"".join(b"%b: %b\r\n" % pair for pair in UNBUFFERED if pair[0] not in head.noted)
