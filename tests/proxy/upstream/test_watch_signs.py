"""One watch: signs of load, of hanging and of life."""

from __future__ import annotations

import pytest

from tests.engines.replies import SGLANG, VLLM
from tests.proxy.upstream.watched import Watched, restarted


async def test_load_is_reported_with_the_time_of_asking(watched: Watched) -> None:
    """What is sent while the answer is under way is not in it."""
    metrics = VLLM["/metrics"].replace(
        b'num_requests_running{engine="0",model_name="tiny"} 0.0',
        b'num_requests_running{engine="0",model_name="tiny"} 5.0',
    )
    watched.engine.become(VLLM | {"/metrics": metrics})
    await watched.check()
    await watched.watch.poll_load()
    assert watched.proxy.loads == [("b", 5, 0, 100.0)]


async def test_an_older_sglang_tells_its_load_in_metrics(watched: Watched) -> None:
    """Where `/v1/loads` does not exist, `/metrics` is asked."""
    older = {path: body for path, body in SGLANG.items() if not path.startswith("/v1/loads")}
    watched.engine.become(older)
    await watched.check()
    await watched.watch.poll_load()
    assert watched.proxy.loads == [("b", 0, 0, 100.0)]
    assert watched.engine.asked[-2:] == ["/v1/loads?include=core", "/metrics"]


async def test_load_that_stands_still_is_noticed(watched: Watched) -> None:
    """Counted from the last change; a backend that tells no load is never frozen."""
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.watch.frozen_seconds(1e9) == 0.0
    await watched.watch.poll_load()
    watched.proxy.time += 5.0
    await watched.watch.poll_load()
    assert watched.watch.frozen_seconds(watched.proxy.time) == 5.0
    metrics = VLLM["/metrics"].replace(
        b'num_requests_running{engine="0",model_name="tiny"} 0.0',
        b'num_requests_running{engine="0",model_name="tiny"} 5.0',
    )
    watched.engine.become(VLLM | {"/metrics": metrics})
    await watched.watch.poll_load()
    assert watched.watch.frozen_seconds(watched.proxy.time) == 0.0


async def test_failures_of_requests_are_told(watched: Watched) -> None:
    """A breaker that opens takes the backend out at once, while others can serve."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.breaker.again(100.0)
    watched.entry.standing.changed()
    assert watched.up == [True], "it is the last one that has the model"
    other = watched.with_another()
    watched.watch.refresh()
    assert watched.up == [True, False]
    other.up = False
    watched.watch.refresh()
    assert watched.up == [True, False, True]


async def test_refusals_are_told(watched: Watched) -> None:
    """The limit and the load that follow from a 429 reach the scheduler, and go again."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.answered(429, 100.0, 3, b"2")
    assert (watched.proxy.specs[-1].max_running, watched.proxy.specs[-1].load_tokens) == (3, 16_384)
    watched.proxy.time += 20.0
    watched.watch.refresh()
    assert (watched.proxy.specs[-1].max_running, watched.proxy.specs[-1].load_tokens) == (None, 0)


async def test_a_backend_that_hung_is_looked_at_anew(watched: Watched) -> None:
    """It may be another process now; it is up again once it tells its facts."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.entry.standing.hung = True
    watched.watch.refresh()
    watched.engine.become(restarted(VLLM))
    await watched.check()
    assert watched.up == [True, False, True]
    assert watched.proxy.resets == ["b"]
    assert watched.proxy.specs[-1].max_running == 1


async def test_any_reaction_is_one(watched: Watched) -> None:
    """Errors and a refused connection too: only silence is none."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    assert await watched.watch.reacts(5.0)
    assert not await watched.watch.reacts(0.0001)
    await watched.engine.server.close()
    assert await watched.watch.reacts(5.0)
    assert not await watched.watch.generates()


@pytest.mark.parametrize(("status", "generates"), [(404, True), (401, True), (500, False)])
async def test_generation_is_tried(watched: Watched, status: int, generates: bool) -> None:
    """A server that does not want the request is not broken."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/v1/completions"] = status
    assert await watched.watch.generates() is generates
    assert watched.engine.asked[-1] == "/v1/completions"
