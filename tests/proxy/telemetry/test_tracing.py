"""Requests leave spans that join the client's trace with the engine's."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from paceline.proxy.config import Config, TracingConfig
from tests.proxy.collector import collecting
from tests.proxy.scripted import SSE_HEAD, Conversation, chunked, engine, reply
from tests.proxy.whole import MODELS, backend, whole
from tests.proxy.workers.crewed import crewed

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-00"
USAGE = b'{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}'
STREAM = SSE_HEAD + chunked(b'data: {"usage":' + USAGE + b"}\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"


class Engine:
    """A script that notes the heads of the chats it is sent."""

    def __init__(self, answer: bytes = STREAM) -> None:
        self.heads: list[str] = []
        self._answer = answer

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            if head.startswith("POST"):
                self.heads.append(head)
                await conversation.say(self._answer)
            else:
                await conversation.say(MODELS)

    def headers(self, name: str) -> list[str]:
        """All values of a header that the only chat came with."""
        (head,) = self.heads
        return re.findall(rf"^{name}: (.*?)\r$", head, re.M | re.I)


async def spans(
    script: Engine, *lines: str, sample: float = 1.0, times: int = 1
) -> tuple[list[Span], set[str]]:
    """What a collector has once a proxy with some chats has ended, and whose spans these are."""
    async with collecting() as collector, engine(script) as scripted:
        tracing = TracingConfig(endpoint=collector.url, sample=sample)
        async with whole(Config(backends=[backend(scripted.port)], tracing=tracing)) as proxy:
            for _ in range(times):
                await proxy.chat(*lines)
        return [collector.spans.get_nowait() for _ in range(collector.spans.qsize())], (
            collector.services
        )


def attributes(span: Span) -> dict[str, Any]:
    """The span's attributes, as they are."""
    found = {}
    for one in span.attributes:
        found[one.key] = getattr(one.value, one.value.WhichOneof("value") or "string_value")
    return found


async def test_the_span_stands_between_the_clients_and_the_engines() -> None:
    """Same trace: the client's span is its parent, and it is the parent of the engine's."""
    script = Engine()
    (span,), services = await spans(script, SAMPLED, "tracestate: a=b", sample=0.0)
    assert services == {"paceline"}
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert script.headers("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]
    assert script.headers("tracestate") == ["a=b"]


async def test_the_span_tells_what_the_log_line_does() -> None:
    """Queue, first byte and end are instants in order; tokens, reason and backend attributes."""
    (span,), _ = await spans(Engine())
    assert span.name == "POST /v1/chat/completions"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert [event.name for event in span.events] == ["dispatched", "first byte"]
    instants = [event.time_unix_nano for event in span.events]
    assert span.start_time_unix_nano <= instants[0] <= instants[1] <= span.end_time_unix_nano
    told = attributes(span)
    assert told["paceline.backend"] == "e0"
    assert told["paceline.reason"] == "direct"
    assert told["gen_ai.request.model"] == "m"
    assert told["gen_ai.usage.input_tokens"] == 9
    assert told["gen_ai.usage.output_tokens"] == 2
    assert told["paceline.cached_tokens.reported"] == 4
    assert told["http.response.status_code"] == 200
    assert span.status.code == Status.STATUS_CODE_UNSET


async def test_a_failure_is_an_error() -> None:
    """An engine's 500 makes an error of the span."""
    (span,), _ = await spans(Engine(reply(b"{}", "500 Oh")))
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["http.response.status_code"] == 500


async def test_whoever_began_the_trace_decides_whether_it_is_kept() -> None:
    """A client's trace that is not sampled stays so, and the engine hears of it."""
    script = Engine()
    kept, _ = await spans(script, NOT_SAMPLED)
    assert kept == []
    (parent,) = script.headers("traceparent")
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", parent)


async def test_only_a_part_is_sampled() -> None:
    """Nothing at 0, and the engine does not begin traces of its own then."""
    script = Engine()
    kept, _ = await spans(script, sample=0.0)
    assert kept == []
    (parent,) = script.headers("traceparent")
    assert int(parent.rpartition("-")[2], 16) & 1 == 0


async def test_every_span_has_a_trace_of_its_own() -> None:
    """Requests without a parent do not share a trace."""
    kept, _ = await spans(Engine(), times=3)
    assert len({span.trace_id for span in kept}) == 3


async def test_workers_trace_what_they_serve() -> None:
    """Each exports its own spans, the last of them as it ends."""
    async with collecting() as collector, engine(Engine()) as scripted:
        tracing = TracingConfig(endpoint=collector.url, sample=1.0)
        async with crewed(Config(backends=[backend(scripted.port)], tracing=tracing)) as proxy:
            await proxy.chats(4)
        assert collector.spans.qsize() == 4


async def test_without_a_collector_requests_go_on() -> None:
    """Nobody listens there: answers come all the same, and the proxy ends."""
    async with engine(Engine()) as scripted:
        tracing = TracingConfig(endpoint="http://127.0.0.1:9/v1/traces", sample=1.0)
        async with whole(Config(backends=[backend(scripted.port)], tracing=tracing)) as proxy:
            assert (await proxy.chat()).status == 200


async def test_off_it_touches_nothing() -> None:
    """By default the client's header goes to the engine as it came."""
    script = Engine()
    async with (
        engine(script) as scripted,
        whole(Config(backends=[backend(scripted.port)])) as proxy,
    ):
        await proxy.chat(SAMPLED)
    assert script.headers("traceparent") == [f"00-{TRACE}-{PARENT}-01"]


def test_off_it_is_not_even_imported() -> None:
    """The proxy's modules leave OpenTelemetry alone."""
    code = "import sys, paceline.proxy.process.life; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
