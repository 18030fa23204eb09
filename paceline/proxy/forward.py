"""Forwards one request: connects, relays the reply, and tries once more where that is safe."""

from __future__ import annotations

import asyncio

from paceline.proxy.claim import Claim
from paceline.proxy.client import Client
from paceline.proxy.errors import ApiError
from paceline.proxy.gateway import Gateway
from paceline.proxy.heads import request_head
from paceline.proxy.record import Record
from paceline.proxy.relay import Outcome, Relay
from paceline.proxy.request import Request
from paceline.proxy.upstream import ConnectFailed, Connection
from paceline.proxy.usage import read_usage

UNAVAILABLE = (502, 503)
"""Statuses of engines that did not take the request: another engine may."""
BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE")
"""Methods without a Content-Length when there is no body."""


class Forward:
    """One request on its way to an engine and back.

    It is sent at most twice, and again only while the client has no byte of a reply: to the same
    engine if that closed a kept connection without a word (its idle limit had come), to another if
    the engine cannot be reached or says that it is unavailable.
    """

    def __init__(self, gateway: Gateway, request: Request, record: Record, request_id: str) -> None:
        self._gateway = gateway
        self._request = request
        self._body = request.body
        self._record = record
        self._request_id = request_id
        self._client = Client(request)
        self._relay: Relay | None = None
        self._moved = False

    async def run(self, claim: Claim) -> None:
        """Forward by `claim`, and end it; raises ApiError if the client got nothing of a reply."""
        self._gateway.retries.earn()
        try:
            try:
                while not await self._attempt(claim):
                    self._moved = True
                    await claim.move()
            except asyncio.CancelledError:
                self._record.outcome = "cancelled"
                raise
            finally:
                self._end(claim)
                self._relay = None  # it refers back to here: leave no cycle to the collector
        except Exception:
            if self._client.started:
                self._client.cut(b"")  # whatever went wrong, nothing may follow these bytes
            raise

    async def _attempt(self, claim: Claim) -> bool:
        """Whether the claimed backend's reply was passed on; if not, another is to be tried."""
        pool = self._gateway.pool
        try:
            backend = self._gateway.directory.get(claim.backend)
            if backend is None:
                raise ConnectFailed("it was removed")
            connection = pool.reuse(backend) or await pool.connect(backend)
            outcome = await self._send(connection, claim)
            if outcome is Outcome.DROPPED and connection.reused and self._record.attempts < 2:
                outcome = await self._send(await pool.connect(backend), claim)
        except ConnectFailed as failure:
            if self._may_move():
                return False
            message = f"The engine {claim.backend} cannot be reached: {failure}."
            raise ApiError(502, message, reason="engine_unreachable") from None
        return self._judge(outcome)

    def _judge(self, outcome: Outcome) -> bool:
        if outcome is Outcome.HELD:
            return False
        if outcome is Outcome.DROPPED:
            message = "The engine closed the connection without a reply."
            raise ApiError(502, message, reason="engine_failed")
        if not self._client.started and self._relay is not None and self._relay.error is not None:
            raise self._relay.error
        return True

    async def _send(self, connection: Connection, claim: Claim) -> Outcome:
        record = self._record
        record.attempts += 1

        def first_byte() -> None:
            record.first_byte_at = asyncio.get_running_loop().time()
            claim.first_byte()

        self._relay = Relay(
            self._client,
            self._request.method,
            self._gateway.config.upstream,
            ours=self._our_lines(),
            hold=self._hold,
            on_first_byte=first_byte,
            transcript=claim.transcript,
        )
        attempt_id = self._request_id
        if record.attempts > 1:
            attempt_id += f"-{record.attempts}"  # engines refuse an id that they know already
        length = None if not self._body and self._request.method in BODILESS else len(self._body)
        head = request_head(self._request, connection.backend, attempt_id, length)
        return await self._relay.run(connection, head, self._body)

    def _our_lines(self) -> bytes:
        record = self._record
        lines = f"x-request-id: {self._request_id}\r\nx-paceline-backend: {record.backend}\r\n"
        if record.dispatched_at is not None:
            lines += (
                f"x-paceline-queue-ms: {record.queued * 1000:.1f}\r\n"
                f"x-paceline-cached-tokens: {record.cached_tokens}\r\n"
            )
        return lines.encode()

    def _hold(self, status: int) -> bool:
        """Whether a reply with this status is dropped in favour of another engine's."""
        if status not in UNAVAILABLE:
            return False
        here = self._record.backend
        other = self._gateway.directory.pick(self._record.model, here, self._record.path)
        return other is not None and other.id != here and self._may_move()

    def _may_move(self) -> bool:
        if self._moved or self._record.attempts > 1:
            return False
        return self._gateway.retries.spend(asyncio.get_running_loop().time())

    def _end(self, claim: Claim) -> None:
        """Tell the claim and the record how it ended."""
        record, relay = self._record, self._relay
        if relay is not None and relay.head is not None:
            record.status = relay.head.status
        broken = relay is not None and relay.outcome is Outcome.BROKEN
        if relay is not None and relay.answered:
            record.outcome = "finished"
            record.usage = read_usage(relay.tail)
            claim.finished(record.usage)
        elif record.outcome == "cancelled" and not broken:
            claim.cancelled()
        else:
            record.outcome = "rejected" if record.outcome == "rejected" else "failed"
            claim.failed()
