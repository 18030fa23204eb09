"""Handles a request from its arrival to its record: the frame that forwarding routes share."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from paceline.engines import api
from paceline.proxy import body, models
from paceline.proxy.claim import Scheduled, Unscheduled
from paceline.proxy.errors import ApiError, response
from paceline.proxy.forward import Forward
from paceline.proxy.gateway import Gateway
from paceline.proxy.passthrough import model_of
from paceline.proxy.record import Record

Step = Callable[[Gateway, web.Request, bytes, Record], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LONGEST_NAME = 256
"""Bytes in a tenant's name and in a request id."""


def handler(gateway: Gateway, step: Step) -> Handler:
    """A handler that checks and reads a request, does `step`, and hands in the record at its end.

    Whatever goes wrong before a reply has begun is answered in the shape of the API asked.
    """
    loop = asyncio.get_running_loop()
    max_head = gateway.config.server.max_header_kb * 1024
    max_body = int(gateway.config.server.max_body_mb * 2**20)
    prefix = secrets.token_hex(4)
    count = itertools.count(1)

    async def handle(request: web.Request) -> web.StreamResponse:
        record = Record(id=f"{prefix}{next(count):012x}", path=request.path, arrived_at=loop.time())
        whole = False
        try:
            body.check(request, max_head)
            content = await body.read(request, max_body)
            whole = True
            return await step(gateway, request, content, record)
        except ApiError as error:
            record.status = error.status
            record.outcome = record.outcome or "rejected"
            record.reason = record.reason or error.reason
            reply = response(error, record.path, {"x-request-id": name_of(request, record)})
            if not whole:
                reply.force_close()  # what is left of the request must not be read as another
            return reply
        except asyncio.CancelledError:
            record.outcome = record.outcome or "cancelled"
            raise
        finally:
            record.ended_at = loop.time()
            gateway.on_record(record)

    return handle


def name_of(request: web.Request, record: Record) -> str:
    """The id that client and engine see: the client's own, if it sent one."""
    given = request.headers.get("x-request-id", "")
    return given if given and len(given) <= LONGEST_NAME and given.isascii() else record.id


async def schedule(
    gateway: Gateway, request: web.Request, content: bytes, record: Record
) -> web.StreamResponse:
    """A request whose turn the scheduler decides; raises ApiError."""
    try:
        call = api.parse(record.path, content)
    except api.BadRequest as bad:
        raise ApiError(bad.status, bad.message, reason="bad_request", param=bad.param) from None
    record.model, record.streaming = call.model, call.streaming
    record.priority, record.tenant = _priority(request), _tenant(request)
    ratio = gateway.ratio.bytes_per_token(call.model)
    wanted = call.to_request(
        id=record.id,
        arrived_at=record.arrived_at,
        seed=gateway.seed,
        priority=record.priority,
        tenant=record.tenant,
        bytes_per_token=ratio,
    )
    record.prompt_tokens = wanted.prompt_tokens
    claim = Scheduled(gateway.driver, wanted, record)
    await claim.admit()
    reply = await Forward(gateway, request, content, record, name_of(request, record)).run(claim)
    if record.usage.prompt_tokens:
        gateway.ratio.learn(call.model, wanted.prompt_tokens * ratio, record.usage.prompt_tokens)
    return reply


async def pass_through(
    gateway: Gateway, request: web.Request, content: bytes, record: Record
) -> web.StreamResponse:
    """Any other request: to a backend that has its model; raises ApiError."""
    record.model = model_of(request, content)
    claim = Unscheduled(gateway.directory, record.model, record)
    return await Forward(gateway, request, content, record, name_of(request, record)).run(claim)


async def list_models(
    gateway: Gateway, request: web.Request, content: bytes, record: Record
) -> web.StreamResponse:
    """The models of all backends; raises ApiError."""
    reply = await models.merged(gateway, request)
    record.status, record.outcome = reply.status, "finished"
    reply.headers["x-request-id"] = name_of(request, record)
    return reply


async def refuse(
    gateway: Gateway, request: web.Request, content: bytes, record: Record
) -> web.StreamResponse:
    """A path of the proxy's own that does not exist."""
    raise ApiError(404, f"There is no {record.path}.", reason="not_found")


def _priority(request: web.Request) -> int:
    given = request.headers.get("x-paceline-priority")
    if given is None:
        return 0
    try:
        return max(-(2**31), min(int(given), 2**31 - 1))
    except ValueError:
        message = "x-paceline-priority must be an integer."
        raise ApiError(400, message, reason="bad_request", param="x-paceline-priority") from None


def _tenant(request: web.Request) -> str:
    return request.headers.get("x-paceline-tenant", "")[:LONGEST_NAME]
