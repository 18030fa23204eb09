"""Forwards one request: connects, relays the reply, and tries once more where that is safe."""

from __future__ import annotations

import asyncio

from paceline.engines import api
from paceline.proxy.http.client import Client
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.request import Request
from paceline.proxy.http.splice import with_member
from paceline.proxy.serving.claim import Claim
from paceline.proxy.serving.gateway import Gateway
from paceline.proxy.serving.relay import BROKEN, COMPLETE, DROPPED, HELD, NO_REPLY, Relay
from paceline.proxy.serving.usage import read_usage
from paceline.proxy.telemetry.record import Record
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.connection import Connection
from paceline.proxy.upstream.heads import request_head
from paceline.proxy.upstream.pool import ConnectFailed
from paceline.proxy.upstream.standing import Standing

UNAVAILABLE = (429, 502, 503, NO_REPLY)
"""Statuses of engines that did not take the request, or hang: another engine may take it."""
BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE")
"""Methods without a Content-Length when there is no body."""


class Forward:
    """One request on its way to an engine and back.

    It is sent at most twice, and again only while the client has no byte of a reply: to the same
    engine if that closed a kept connection without a word (its idle limit had come), to another if
    the engine cannot be reached, says that it is busy or unavailable, or hangs altogether.
    """

    _relay: Relay | None = None
    _moved = False

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        record: Record,
        request_id: str,
        client: Client | None = None,
    ) -> None:
        """`client`: one that does more than pass on what it is told."""
        self.gateway = gateway
        self.request = request
        self.record = record
        if client is None:
            client = Client(request) if gateway.cors is None else gateway.cors.client(request)
        self.client = client
        self._request_id = request_id

    async def run(self, claim: Claim) -> None:
        """Forward by `claim`, and end it; raises ApiError if the client got nothing of a reply."""
        self.gateway.retries.earn()
        try:
            try:
                while not await self._attempt(claim):
                    self._moved = True
                    await claim.move()
            except asyncio.CancelledError:
                self.record.outcome = "cancelled"
                raise
            finally:
                self._end(claim)
                self._relay = None  # it refers back to here: leave no cycle to the collector
        except Exception:
            if self.client.started:
                self.client.cut(b"")  # whatever went wrong, nothing may follow these bytes
            raise

    async def _attempt(self, claim: Claim) -> bool:
        """Whether the claimed backend's reply was passed on; if not, another is to be tried.

        A kept connection that was dropped is no failure: then it is sent there once more.
        """
        entry = self.gateway.directory.entry(claim.backend)
        if entry is None:
            return self._unreachable(claim.backend, "it was removed")
        pool, backend = self.gateway.pool, entry.address
        try:
            connection = pool.reuse(backend) or await pool.connect(backend)
            relay = self._relay = Relay(self, connection, claim)
            outcome = await relay.run()
            if outcome is DROPPED and connection.reused and self._may_retry():
                connection = await pool.connect(backend)
                relay = self._relay = Relay(self, connection, claim)
                outcome = await relay.run()
        except ConnectFailed as failure:
            entry.standing.failed(pool.now())
            return self._unreachable(claim.backend, str(failure))
        if outcome is COMPLETE and relay.succeeded:
            entry.standing.breaker.succeeded()
            return True
        self._report(entry.standing, relay, connection)
        return self._judge(relay)

    def _unreachable(self, backend: str, why: str) -> bool:
        """Have another one tried, if that may be; else raises ApiError."""
        if self._may_move():
            return False
        message = f"The engine {backend} cannot be reached: {why}."
        raise ApiError(502, message, reason="engine_unreachable") from None

    def _report(self, standing: Standing, relay: Relay, connection: Connection) -> None:
        """Tell how the backend failed; not when it was a client that ended the reply."""
        pool = self.gateway.pool
        if relay.outcome is BROKEN:
            if relay.error is not None and relay.error.reason == "engine_failed":
                standing.failed(pool.now())
        elif relay.head is not None:
            in_flight = pool.in_flight(connection.backend.id)
            advice = relay.head.noted.get(b"retry-after", (None,))
            standing.answered(relay.head.status, pool.now(), in_flight, advice[0])
        elif relay.outcome is DROPPED and not connection.reused:
            standing.failed(pool.now())

    def _judge(self, relay: Relay) -> bool:
        """Whether a reply that was no success was passed on; raises ApiError if there is none."""
        if relay.outcome is HELD:
            return False
        if relay.outcome is DROPPED:
            message = "The engine closed the connection without a reply."
            raise ApiError(502, message, reason="engine_failed")
        if not self.client.started and relay.error is not None:
            raise relay.error
        return True

    def message(self, backend: Address) -> tuple[bytes, bytes]:
        """Head and body of the next attempt."""
        record, request = self.record, self.request
        record.attempts += 1
        attempt_id = self._request_id
        if record.attempts > 1:
            attempt_id += f"-{record.attempts}"  # engines refuse an id that they know already
        body = request.body
        if record.priority and backend.priority:
            body = self._ranked(backend.priority)
        length = None if not body and request.method in BODILESS else len(body)
        return request_head(request, backend, attempt_id, length), body

    def _ranked(self, polarity: int) -> bytes:
        """The body, with the request's priority for an engine that ranks by it."""
        body = self.request.body
        if self.record.path not in api.RANKED:
            return body
        return with_member(body, "priority", b"%d" % (self.record.priority * polarity))

    def lines(self) -> bytes:
        """What the proxy adds to the reply's head."""
        record = self.record
        names = f"x-request-id: {self._request_id}\r\nx-paceline-backend: {record.backend}\r\n"
        if record.dispatched_at is None:
            return names.encode()
        queued = f"{record.queued * 1000:.1f}" if record.queued else "0.0"
        cached = f"x-paceline-cached-tokens: {record.cached_tokens}\r\n"
        return f"{names}x-paceline-queue-ms: {queued}\r\n{cached}".encode()

    def holds(self, status: int) -> bool:
        """Whether a reply with this status is dropped in favour of another engine's."""
        if status not in UNAVAILABLE:
            return False
        here = self.record.backend
        other = self.gateway.directory.pick(self.record.model, here, self.record.path)
        return other is not None and other.id != here and self._may_move()

    def _may_move(self) -> bool:
        return not self._moved and self._may_retry()

    def _may_retry(self) -> bool:
        return self.record.attempts < 2 and self.gateway.retries.spend(self.gateway.pool.now())

    def _end(self, claim: Claim) -> None:
        """Tell the claim and the record how it ended."""
        record, relay = self.record, self._relay
        if relay is not None:
            if relay.head is not None:
                record.status = relay.head.status
            if relay.answered:
                record.outcome = "finished"
                record.usage = read_usage(relay.hand_over())
                claim.finished(record.usage)
                return
            relay.error = None  # what is raised refers to here, too
        broken = relay is not None and relay.outcome is BROKEN
        if record.outcome == "cancelled" and not broken:
            claim.cancelled()
        else:
            record.outcome = "rejected" if record.outcome == "rejected" else "failed"
            claim.failed()
