"""One watch: engines that start again, and what is forgotten then."""

from __future__ import annotations

import pytest

from paceline.proxy.upstream.watch import FACTS_SECONDS
from tests.engines.replies import OTHER, SGLANG, VLLM
from tests.proxy.upstream.watched import Watched, restarted


@pytest.mark.parametrize("replies", [VLLM, SGLANG])
async def test_a_restart_is_noticed_after_a_failure(
    watched: Watched, replies: dict[str, bytes]
) -> None:
    """Even one that was over before three checks could fail."""
    watched.engine.become(replies)
    await watched.check()
    watched.engine.stop()
    await watched.check()
    watched.engine.become(restarted(replies))
    await watched.check()
    assert watched.proxy.resets == ["b"]
    assert watched.up == [True, True]
    assert watched.proxy.specs[-1].max_running == 1


@pytest.mark.parametrize("replies", [VLLM, SGLANG])
async def test_a_restart_between_two_checks_is_noticed(
    watched: Watched, replies: dict[str, bytes]
) -> None:
    """The replies that are asked for anyway tell it."""
    watched.engine.become(replies)
    await watched.check()
    watched.engine.become(restarted(replies))
    await watched.watch.poll_load()
    await watched.check(2)
    assert watched.proxy.resets == ["b"]


async def test_a_backend_without_a_start_time_is_reset_when_it_comes_back(
    watched: Watched,
) -> None:
    """Having been down for long is taken for a restart."""
    watched.engine.become(OTHER)
    await watched.check()
    watched.engine.stop()
    await watched.check(3)
    watched.engine.become(OTHER)
    await watched.check()
    assert watched.proxy.resets == ["b"]


async def test_missing_metrics_do_not_forget_the_pool(watched: Watched) -> None:
    """One reply that did not come is no news."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.replies["/metrics"] = 500
    watched.proxy.time += FACTS_SECONDS
    await watched.check()
    assert len(watched.proxy.specs) == 1


async def test_new_models_are_noticed(watched: Watched) -> None:
    """An adapter that was loaded at run time is served from the next look on."""
    watched.engine.become(VLLM)
    await watched.check()
    listed = b'{"data": [{"id": "tiny", "owned_by": "vllm"}, {"id": "lora"}]}'
    watched.engine.replies["/v1/models"] = listed
    await watched.check()
    assert len(watched.proxy.specs) == 1
    watched.proxy.time += FACTS_SECONDS
    await watched.check()
    assert watched.proxy.specs[-1].models == ("tiny", "lora")


async def test_a_restart_while_idle_is_noticed(watched: Watched) -> None:
    """Connections that it closes are reason enough to ask for everything again, once."""
    watched.engine.become(VLLM)
    await watched.check()
    watched.engine.become(restarted(VLLM))
    await watched.check()
    assert watched.proxy.resets == [], "an idle vLLM tells nothing of it by itself"
    watched.proxy.time += 1.0
    watched.proxy.broken = watched.proxy.time
    watched.proxy.time += 1.0
    await watched.check()
    assert watched.proxy.resets == ["b"]
    asked = len(watched.engine.asked)
    await watched.check()
    assert len(watched.engine.asked) == asked + 1
