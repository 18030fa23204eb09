"""One watch: what it finds out about an engine, and when the engine is up."""

from __future__ import annotations

from paceline.scheduler.types import BackendSpec
from tests.engines.replies import OTHER, SGLANG, VLLM
from tests.proxy.upstream.watched import Watched


async def test_a_vllm_is_found_out(watched: Watched) -> None:
    """Its models and its pool are told once; its cache needs no leader."""
    watched.engine.become(VLLM)
    await watched.check(2)
    expected = BackendSpec(id="b", models=("tiny",), kv_tokens=1_048_576)
    assert watched.proxy.specs == [expected]
    assert (watched.entry.kind, watched.entry.models, watched.entry.up) == ("vllm", ("tiny",), True)


async def test_an_sglang_is_found_out(watched: Watched) -> None:
    """Its chunk and its limit are told too, and that leaders go first."""
    watched.engine.become(SGLANG)
    await watched.check()
    (spec,) = watched.proxy.specs
    assert (spec.kv_tokens, spec.chunk_tokens, spec.max_running) == (20_000, 4096, 2048)
    assert spec.leader_first


async def test_the_configuration_goes_before_what_is_found(watched: Watched) -> None:
    """What the operator wrote is believed."""
    watched.with_config(models=["x"], kv_tokens=7, max_running=3, leader_first=False)
    watched.engine.become(SGLANG)
    await watched.check()
    (spec,) = watched.proxy.specs
    assert (spec.models, spec.apis) == (("x",), ("/generate", "/generate x"))
    assert (spec.kv_tokens, spec.max_running) == (7, 3)
    assert not spec.leader_first


async def test_metrics_may_be_off(watched: Watched) -> None:
    """A vLLM that tells only its models serves, and its load is not known."""
    watched.engine.become({path: VLLM[path] for path in ("/v1/models", "/health", "/version")})
    await watched.check(2)
    await watched.watch.poll_load()
    assert watched.proxy.specs == [BackendSpec(id="b", models=("tiny",))]
    assert watched.proxy.loads == []


async def test_a_configured_kind_is_not_asked_for(watched: Watched) -> None:
    """A server of a kind that is given is asked only what that kind answers."""
    watched.with_config(kind="openai")
    watched.engine.become(OTHER)
    await watched.check()
    assert watched.engine.asked == ["/v1/models"]
    assert watched.proxy.specs[0].models == ("a", "b")


async def test_a_backend_may_come_later(watched: Watched) -> None:
    """Until it lists its models it is asked again, one question at a time."""
    watched.watch.introduce()
    watched.engine.stop()
    await watched.check(5)
    assert watched.proxy.specs == [BackendSpec(id="b", models=None, up=False)]
    assert watched.engine.asked == ["/v1/models"] * 5
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.up == [False, True]


async def test_three_failures_are_down_and_one_success_is_up(watched: Watched) -> None:
    """One failed check alone changes nothing."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    await watched.check(2)
    assert watched.up == [True]
    assert watched.proxy.abandoned == []
    await watched.check(2)
    assert watched.up == [True, False]
    assert not watched.entry.up
    assert watched.proxy.abandoned == ["b"], "what waits there need not wait for ever"
    watched.engine.become(VLLM)
    await watched.check()
    assert watched.up == [True, False, True]
    assert watched.proxy.resets == []
    assert watched.proxy.specs[-1].max_running == 1, "its cache may be cold: slow start"


async def test_failures_must_follow_each_other(watched: Watched) -> None:
    """A success in between starts the count anew."""
    watched.engine.become(VLLM)
    await watched.check()
    for _ in range(3):
        watched.engine.stop()
        await watched.check(2)
        watched.engine.become(VLLM)
        await watched.check()
    assert watched.up == [True]


async def test_a_streaming_backend_is_alive(watched: Watched) -> None:
    """Bytes that flow say more than a failed check; silence lets it fall."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.stop()
    watched.proxy.last_byte = watched.proxy.time - 0.5
    await watched.check(9)
    assert watched.up == [True]
    watched.proxy.time += 60.0
    await watched.check()
    assert watched.up == [True, False]


async def test_a_client_error_is_a_sign_of_life(watched: Watched) -> None:
    """A server that wants a key for the path is up."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/health"] = 401
    await watched.check(3)
    assert watched.up == [True]
