"""Handles a request from its arrival to its record: the frame that forwarding routes share."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import TypeVar

from msgspec import structs

from paceline.engines import api
from paceline.proxy.access.admission import OPEN, is_for_admins
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.inbound import Handler, Unread
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.serving import models, stored
from paceline.proxy.serving.claim import Scheduled, Unscheduled
from paceline.proxy.serving.forward import Forward
from paceline.proxy.serving.gateway import FullGateway, Gateway
from paceline.proxy.serving.passthrough import model_of, rename
from paceline.proxy.serving.rules import Ask, Shape, choose, renamed
from paceline.proxy.telemetry.record import Record

G = TypeVar("G", bound=Gateway)
Step = Callable[[G, Request, Record], Awaitable[Reply | None]]

UNLIMITED = nullcontext()
LONGEST_NAME = 256
"""Bytes in a tenant's name and in a request id."""


def handler(gateway: G, step: Step[G]) -> Handler:
    """A handler that does `step` for a request, and hands in the record at its end.

    Whatever goes wrong before a reply has begun is answered in the shape of the API asked.
    """
    on_record = gateway.on_record
    if gateway.tracing is not None:
        step, on_record = gateway.tracing.traced(step), gateway.tracing.ending(on_record)
    now = asyncio.get_running_loop().time
    prefix = secrets.token_hex(4)
    count = itertools.count(1)

    async def handle(request: Request) -> Reply | None:
        record = Record(f"{prefix}{next(count):012x}", request.path, now())
        try:
            return await step(gateway, request, record)
        except ApiError as error:
            record.status = error.status
            record.outcome = record.outcome or "rejected"
            record.reason = record.reason or error.reason
            return response(error, _api(record.path), {"x-request-id": name_of(request, record)})
        except asyncio.CancelledError:
            record.outcome = record.outcome or "cancelled"
            raise
        finally:
            record.ended_at = now()
            on_record(record)

    return handle


def unread(gateway: Gateway) -> Unread:
    """What hands in the record of a request whose body did not come or is not wanted."""
    now = asyncio.get_running_loop().time

    def note(request: Request, error: ApiError | None) -> Reply | None:
        record = Record(secrets.token_hex(10), request.path, now())
        record.outcome = "cancelled" if error is None else "rejected"
        reply = None
        if error is not None:
            record.status, record.reason = error.status, error.reason
            headers = {"x-request-id": name_of(request, record)}
            if error.status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            reply = response(error, _api(record.path), headers)
        record.ended_at = now()
        gateway.on_record(record)
        return reply

    return note


def name_of(request: Request, record: Record) -> str:
    """The id that client and engine see: the client's own, if it sent one."""
    if b"x-request-id" not in request.noted:
        return record.id
    given = request.noted[b"x-request-id"]
    if not given or len(given) > LONGEST_NAME or not given.isascii():
        return record.id
    return given.decode()


async def schedule(gateway: Gateway, request: Request, record: Record) -> Reply | None:
    """A request whose turn the scheduler decides; raises ApiError."""
    try:
        call = api.parse(record.path, request.body)
    except api.BadRequest as bad:
        raise ApiError(bad.status, bad.message, reason="bad_request", param=bad.param) from None
    record.tenant = _tenant(request)
    if b"x-paceline-priority" in request.noted:
        record.priority = _priority(request.noted[b"x-paceline-priority"])
    if gateway.config.rules:
        call = _ruled(gateway, request, record, call)
    record.model, record.streaming = call.model, call.streaming
    record.deadline = _deadline(gateway, request, record)
    seed = gateway.seed
    if gateway.salts is not None and request.tenant is not None:
        seed = gateway.salts.seed(seed, request.tenant)
        request.body = gateway.salts.salted(request.body, record.path, request.tenant)
    elif gateway.tokenizers.models:
        call = await gateway.tokenizers.tokenized(call, record.path, request.body)
    ratio = gateway.ratio.bytes_per_token(call.model)
    wanted = call.to_request(
        id=record.id,
        arrived_at=record.arrived_at,
        seed=seed,
        priority=record.priority,
        tenant=record.tenant,
        deadline=record.deadline,
        bytes_per_token=ratio,
    )
    record.prompt_tokens = wanted.prompt_tokens
    transcript = call.transcript(wanted, seed)
    size = 0 if call.prompt.tokens else call.prompt.size  # of nothing but text
    del call  # it has a copy of the prompt, which need not wait
    with _turn(gateway, record):
        driver = gateway.driver
        decision = driver.admit(wanted) or await driver.wait(wanted.id)
        claim = Scheduled(driver, wanted, record, decision, transcript)
        await Forward(gateway, request, record, name_of(request, record)).run(claim)
    if record.usage.prompt_tokens and size:
        gateway.ratio.learn(record.model, size, record.usage.prompt_tokens)
    return None


async def pass_through(gateway: Gateway, request: Request, record: Record) -> Reply | None:
    """Any other request: to a backend that has its model; raises ApiError."""
    _look_at(gateway, request, record)
    with _turn(gateway, record):
        claim = Unscheduled(gateway.directory, record.model, record)
        await Forward(gateway, request, record, name_of(request, record)).run(claim)
    return None


async def respond(gateway: Gateway, request: Request, record: Record) -> Reply | None:
    """OpenAI's Responses: what names one that an engine keeps goes to that engine; raises
    ApiError."""
    _look_at(gateway, request, record)
    with _turn(gateway, record):
        claim = await stored.claim(gateway, request, record)
        client = stored.Watching(gateway, request, record)
        await Forward(gateway, request, record, name_of(request, record), client).run(claim)
    return None


async def list_models(gateway: Gateway, request: Request, record: Record) -> Reply | None:
    """The models of all backends; raises ApiError."""
    reply = await models.merged(gateway, request)
    record.status, record.outcome = reply.status, "finished"
    reply.headers["x-request-id"] = name_of(request, record)
    return reply


async def administer(gateway: FullGateway, request: Request, record: Record) -> Reply | None:
    """The backends, shown or changed; raises ApiError."""
    reply = gateway.admin.answer(request)
    record.status, record.outcome = reply.status, "finished"
    return reply


async def refuse(gateway: Gateway, request: Request, record: Record) -> Reply | None:
    """A path of the proxy's own that does not exist."""
    raise ApiError(404, f"There is no {record.path}.", reason="not_found")


def _look_at(gateway: Gateway, request: Request, record: Record) -> None:
    """Note what a request that is not scheduled says; rules may give it another model."""
    record.model, record.tenant = model_of(request), _tenant(request)
    if request.body and record.model and gateway.config.rules:
        asked, record.model = record.model, _chosen(gateway, request, record, record.model)
        if record.model != asked:
            rename(request, record.model)
    record.deadline = _deadline(gateway, request, record)


def _ruled(gateway: Gateway, request: Request, record: Record, call: api.Call) -> api.Call:
    """The call with the model that the rules give it, which then stands in the body, too."""
    shape = Shape(
        streaming=call.streaming,
        prompt_tokens=call.prompt_tokens(gateway.ratio.bytes_per_token(call.model)),
        max_tokens=call.max_tokens,
    )
    model = _chosen(gateway, request, record, call.model, shape)
    if model == call.model:
        return call
    request.body = renamed(request.body, model)
    return structs.replace(call, model=model)


def _chosen(
    gateway: Gateway, request: Request, record: Record, model: str, shape: Shape | None = None
) -> str:
    ask = Ask(
        model=model,
        path=record.path,
        tenant=record.tenant,
        headers=request.message.headers,
        shape=shape,
    )
    return choose(gateway.config.rules, ask)


def _api(path: str) -> str:
    """The path whose API words an error: OpenAI's for the proxy's own."""
    return "/v1/" if path in OPEN or is_for_admins(path) else path


def _turn(gateway: Gateway, record: Record) -> AbstractContextManager[None]:
    """Its tenant's leave for as long as it waits and runs; raises ApiError."""
    if gateway.quotas is None:
        return UNLIMITED
    return gateway.quotas.enter(record.tenant, record.prompt_tokens, record.arrived_at)


def _priority(given: bytes) -> int:
    try:
        return max(-(2**31), min(int(given), 2**31 - 1))
    except ValueError:
        message = "x-paceline-priority must be an integer."
        raise ApiError(400, message, reason="bad_request", param="x-paceline-priority") from None


def _deadline(gateway: Gateway, request: Request, record: Record) -> float | None:
    """Until when the client, or the configuration, wants an answer."""
    seconds = gateway.config.upstream.total_seconds
    given = request.noted.get(b"x-paceline-timeout")
    if given is not None:
        asked = _seconds(given)
        seconds = asked if seconds is None else min(asked, seconds)
    return None if seconds is None else record.arrived_at + seconds


def _seconds(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if 0.0 < seconds < inf:
        return seconds
    message = "x-paceline-timeout must be a number of seconds."
    raise ApiError(400, message, reason="bad_request", param="x-paceline-timeout")


def _tenant(request: Request) -> str:
    """Whose key it came with; where keys are not asked for, whoever the client says it is."""
    if request.tenant is not None:
        return request.tenant
    if b"x-paceline-tenant" not in request.noted:
        return ""
    return request.noted[b"x-paceline-tenant"].decode("utf-8", "replace")[:LONGEST_NAME]
