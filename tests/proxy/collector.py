"""An OpenTelemetry collector: takes OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came so far."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: asyncio.Queue[Span] = asyncio.Queue()
        self.services: set[str] = set()

    async def take(self, request: web.Request) -> web.Response:
        """Decode one export."""
        assert request.content_type == "application/x-protobuf"
        export = ExportTraceServiceRequest.FromString(await request.read())
        for part in export.resource_spans:
            names = [one.value for one in part.resource.attributes if one.key == "service.name"]
            self.services.update(name.string_value for name in names)
            for scope in part.scope_spans:
                for span in scope.spans:
                    self.spans.put_nowait(span)
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    collector.url = f"http://127.0.0.1:{port}/v1/traces"
    try:
        yield collector
    finally:
        await runner.cleanup()
