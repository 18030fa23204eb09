"""Traces requests with OpenTelemetry: a span each, between the client's and the engine's.

Nothing imports this module unless a collector is configured: it needs `paceline[otel]`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from paceline import __version__
from paceline.engines import api
from paceline.proxy.config import TracingConfig
from paceline.proxy.http.head import unlisted
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.telemetry.record import Record

HEADERS = (b"traceparent", b"tracestate")
"""What carries a trace from one process to the next (W3C Trace Context)."""
EXPORT_SECONDS = 5.0
"""Longest wait for the collector, also at the end: a batch that it does not take is lost."""

G = TypeVar("G")
Step = Callable[[G, Request, Record], Awaitable[Reply | None]]


class Tracing:
    """Begins a span as a request arrives, and ends it with its record."""

    def __init__(self, config: TracingConfig) -> None:
        """Starts the thread that exports; needs a running loop."""
        sampler = ParentBased(TraceIdRatioBased(config.sample))
        resource = Resource.create({"service.name": "paceline", "service.version": __version__})
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(config.endpoint, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("paceline", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._offset = time.time() - asyncio.get_running_loop().time()
        self._spans: dict[str, Span] = {}

    def traced(self, step: Step[G]) -> Step[G]:
        """`step`, with a span begun for its request, which the engine hears of."""

        async def run(gateway: G, request: Request, record: Record) -> Reply | None:
            self._begin(request, record)
            return await step(gateway, request, record)

        return run

    def ending(self, on_record: Callable[[Record], None]) -> Callable[[Record], None]:
        """`on_record`, which also ends the span of the record's request."""

        def end(record: Record) -> None:
            on_record(record)
            span = self._spans.pop(record.id, None)
            if span is not None and span.is_recording():
                self._end(span, record)

        return end

    async def close(self) -> None:
        """Export what is left, within `EXPORT_SECONDS`."""
        await asyncio.to_thread(self._provider.shutdown)

    def _begin(self, request: Request, record: Record) -> None:
        known = request.path in api.PATHS
        span = self._spans[record.id] = self._tracer.start_span(
            f"{request.method} {request.path}" if known else request.method,
            self._parent(request),
            SpanKind.SERVER,
            {"http.request.method": request.method, "url.path": request.path},
            start_time=self._at(record.arrived_at),
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        lines = [f"{name}: {value}".encode() for name, value in carrier.items()]
        request.kept = unlisted(request.kept, set(HEADERS)) + lines

    def _parent(self, request: Request) -> Context:
        """The client's span, if it sent one."""
        carrier: dict[str, str] = {}
        for name, value in request.message.raw_headers:
            if (key := name.lower()) in HEADERS:
                known = carrier.get(key.decode())
                text = value.decode("latin-1")
                carrier[key.decode()] = text if known is None else f"{known},{text}"
        return self._propagator.extract(carrier, Context())

    def _end(self, span: Span, record: Record) -> None:
        if record.dispatched_at is not None:
            at = {"paceline.backend": record.backend, "paceline.reason": record.reason}
            span.add_event("dispatched", at, self._at(record.dispatched_at))
        if record.first_byte_at is not None:
            span.add_event("first byte", timestamp=self._at(record.first_byte_at))
        span.set_attributes(_attributes(record))
        if record.outcome == "failed" or record.status >= 500:
            span.set_status(Status(StatusCode.ERROR, record.reason))
        span.end(None if record.ended_at is None else self._at(record.ended_at))

    def _at(self, instant: float) -> int:
        """An instant on the loop's clock as nanoseconds of Unix time."""
        return int((instant + self._offset) * 1e9)


def _attributes(record: Record) -> dict[str, Any]:
    """What the log line says, under OpenTelemetry's names where it has one; None is left out."""
    usage = record.usage
    facts = {
        "http.response.status_code": record.status or None,
        "gen_ai.request.model": record.model or None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens or record.prompt_tokens or None,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "paceline.request_id": record.id,
        "paceline.outcome": record.outcome,
        "paceline.reason": record.reason or None,
        "paceline.backend": record.backend or None,
        "paceline.attempts": record.attempts,
        "paceline.queue_seconds": record.queued,
        "paceline.cached_tokens.predicted": record.cached_tokens,
        "paceline.cached_tokens.reported": usage.cached_tokens,
    }
    return {name: value for name, value in facts.items() if value is not None}
