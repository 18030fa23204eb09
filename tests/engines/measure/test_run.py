"""A live engine is measured over HTTP, in virtual time; what cannot be measured says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.measure.client import CannotMeasure, live_engine
from paceline.engines.measure.measurement import Measurement
from paceline.engines.measure.plan import Point
from paceline.engines.measure.run import Measured, Progress, measure_engine
from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime, Work
from paceline.sim.calibrate import calibrated
from tests.virtual_loop import run

H100 = PRESETS["llama-3.1-8b-h100"]
FAR_OFF = PRESETS["llama-3.1-8b-a100"]
"""Where the fit starts: half as fast as what it has to find."""
SECONDS = 30.0
"""Virtual seconds: one round of what is not too dear."""


async def measured(seconds: float = SECONDS, **fields: object) -> tuple[Measured, list[int]]:
    """An emulated H100, measured; and the points that progress was shown for."""
    config = msgspec.convert({"kv_tokens": 200_000} | fields, EmulatorConfig)
    emulator = await start_emulator(config)
    shown = [0, 0]

    def begin(points: int) -> Progress:
        shown[0] = points

        def progress() -> None:
            shown[1] += 1

        return progress

    try:
        return await measure_engine(emulator.url, seconds, begin), shown
    finally:
        await emulator.close()


def seconds(time: StepTime, *, batch: int = 0, context: int = 0, new: int = 0) -> float:
    """Of one step."""
    work = Work()
    work.prefill(new, 0)
    for _ in range(batch):
        work.decode(context)
    return time.seconds(work)


def test_the_emulators_coefficients_are_found() -> None:
    """a and g within 10%, k within 6%, c0 + tw within 4%, every step within 5%.

    Its front end takes no time, which the fit, starting from a real one's, does not quite believe.
    """
    found, (points, shown) = run(measured(kind="vllm"))
    assert found.engine.kind == "vllm"
    assert shown == points == 3 * 27
    fitted = calibrated("vllm", found.measurements, FAR_OFF)
    assert set(fitted.errors) == {
        "lone", "burst", "decode", "decode on a shared prefix", "mixed"
    }  # fmt: skip
    assert max(map(abs, fitted.errors.values())) < 0.05
    true, its, busy = H100.vllm, fitted.time, fitted.busy
    assert its.k == pytest.approx(true.s * true.k, rel=0.06)
    assert its.a == pytest.approx(true.s * true.a, rel=0.10)
    assert its.g * busy == pytest.approx(true.s * true.g, rel=0.10)
    assert (its.c0 + its.tw) * busy == pytest.approx(true.s * (true.c0 + true.tw), rel=0.04)
    for batch, context, new in ((0, 0, 1500), (1, 500, 0), (16, 2000, 0), (64, 1000, 1000)):
        there = seconds(true, batch=batch, context=context, new=new)
        here = seconds(its, batch=batch, context=context, new=new)
        assert here * (busy if batch else 1.0) == pytest.approx(there, rel=0.05)


def test_what_does_not_fit_is_left_out() -> None:
    """A small pool and few places: no batch of 8; a pause of decodes is still measured."""
    found, _ = run(measured(kind="sglang", kv_tokens=9000, max_running=4))
    kinds = {(m.kind, m.batch) for m in found.measurements}
    assert kinds == {("lone", 1), ("decode", 1), ("burst", 4), ("stall", 1)}
    assert max(m.prompt for m in found.measurements) < 9000
    (stall,) = (m for m in found.measurements if m.kind == "stall")
    time = H100.sglang
    both = seconds(time, new=stall.new) + seconds(time, batch=1, context=stall.prompt)
    assert stall.seconds == pytest.approx(both, rel=0.01)


def test_no_time_for_all() -> None:
    """What is too dear is left out and counted."""
    found, _ = run(measured(seconds=2.0))
    assert found.left_out["it would take too long"] > 5
    assert {m.kind for m in found.measurements} >= {"lone", "decode"}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
EVENT = b'data: {"choices":[{"text":"x"}]}\n\n'
PROMPT = list(range(100, 400))


def usage(tokens: int, cached: int = 0) -> bytes:
    """The last event of a stream."""
    details = {"cached_tokens": cached}
    end = {"choices": [], "usage": {"completion_tokens": tokens, "prompt_tokens_details": details}}
    return b"data: " + msgspec.json.encode(end) + b"\n\ndata: [DONE]\n\n"


@asynccontextmanager
async def stand_in(owner: str, answer: bytes | web.Response = b"") -> AsyncIterator[str]:
    """Something that lists a model and answers every completion alike."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", "owned_by": owner}]})

    async def completions(request: web.Request) -> web.Response:
        return answer if isinstance(answer, web.Response) else web.Response(body=answer)

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/completions", completions)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (EVENT * 2 + b"data: [DONE]\n\n", "ends its streams without usage"),
        (EVENT + usage(1), r"made 1 tokens instead of 2 \(`ignore_eos`\)"),
        (EVENT + usage(2), "streams 2 tokens in 1 events and does not tell which"),
        (EVENT * 2 + usage(2, cached=290), "had cached 290 of 300 tokens of a prompt that was"),
        (web.Response(status=400, text='{"error":\n"no"}'), r'400: {"error": "no"}'),
        (web.Response(headers={"x-paceline-backend": "a"}), "is a paceline proxy"),
    ],
)
async def test_answers_that_mean_nothing(answer: bytes | web.Response, why: str) -> None:
    """Each says what the engine does that makes its times useless."""
    async with stand_in("vllm", answer) as url, live_engine(url) as engine:
        with pytest.raises(CannotMeasure, match=why):
            await engine.complete(PROMPT, 2)


async def test_tokens_that_come_together() -> None:
    """An event that tells how many tokens there are by now stands for all that are new."""
    told = b'data: {"choices":[{"text":"xyz"}],"usage":{"completion_tokens":4}}\n\n'
    async with stand_in("vllm", EVENT + told + usage(4)) as url, live_engine(url) as engine:
        answer = await engine.complete(PROMPT, 4)
    first, *rest = answer.times
    assert rest == [rest[0]] * 3
    assert answer.sent < first <= rest[0]


async def test_other_servers_are_refused() -> None:
    """Neither engine; nobody there; no URL."""
    async with stand_in("somebody") as url:
        with pytest.raises(CannotMeasure, match="is neither vLLM nor SGLang"):
            async with live_engine(url):
                pass
    with pytest.raises(CannotMeasure, match="cannot be reached"):
        async with live_engine(url):
            pass
    with pytest.raises(CannotMeasure, match="is no URL such as"):
        async with live_engine("10.0.0.7:8000"):
            pass


async def test_a_busy_engine_is_refused() -> None:
    """Its times would be those of others, too."""
    emulator = await start_emulator(EmulatorConfig())
    try:
        async with live_engine(emulator.url) as one:
            begun = asyncio.Event()
            busy = asyncio.ensure_future(one.complete(PROMPT, 500, begun=begun.set))
            await begun.wait()
            with pytest.raises(CannotMeasure, match="serves 1 other requests"):
                async with live_engine(emulator.url):
                    pass
            busy.cancel()
    finally:
        await emulator.close()


def test_a_point_counts_what_it_needs() -> None:
    """A shared prefix once; the prompts beside decodes three times."""
    shared = Point(kind="decode", batch=8, prompt=4160, shared=4096, output=24)
    assert shared.prefill == 4096 + 8 * 64
    mixed = Point(kind="mixed", batch=4, prompt=1024, new=512, output=10)
    assert (mixed.prefill, mixed.held) == (4 * 1024 + 3 * 512, 4 * 1034 + 3 * 512)
    assert Measurement(kind="lone", batch=1, prompt=1, seconds=1.0).shared == 0
