"""The real-time step loop against a loop whose clock the test moves."""

from __future__ import annotations

import asyncio

import pytest

from paceline.engines.emulator.player import Aborted, Player
from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import SequenceRequest
from tests.engines.model.dialogue import ask, config


def player(speed: float) -> Player:
    """Plays a vLLM whose steps take one second of its own time."""
    return Player(build_engine(config("vllm")), speed)


async def collect(play: Player, request: SequenceRequest) -> tuple[int, float]:
    """Tokens that came, and the seconds they took."""
    loop = asyncio.get_running_loop()
    start, tokens = loop.time(), 0
    with play.play([request]) as inbox:
        while tokens < request.output_tokens:
            tokens += len(await inbox.take())
    return tokens, loop.time() - start


async def test_short_steps_do_not_drift() -> None:
    """500 steps of 0.2 ms, far below a timer's resolution, take 0.1 s and not a timer each."""
    tokens, seconds = await collect(player(speed=5000), ask("a", range(10), 500))
    assert tokens == 500
    assert 0.099 <= seconds < 0.3


async def test_it_rests_when_there_is_nothing_to_do() -> None:
    """After the last request no timer is left; the next request starts it again."""
    play = player(speed=5000)
    await collect(play, ask("a", range(10), 3))
    await collect(play, ask("b", range(10), 3))
    while play._timer is not None:
        await asyncio.sleep(0)
    assert play.load().running == 0


async def test_leaving_aborts() -> None:
    """Who leaves before the end takes the request along."""
    play = player(speed=1)
    with play.play([ask("a", range(10), 50), ask("b", range(10), 50)]):
        assert play.load().waiting == 2
    assert play.load().waiting == 0
    play.close()


async def test_abort_by_prefix_wakes_the_waiting() -> None:
    """Aborting `a1` also ends `a10`, as in SGLang, and whoever waits learns it."""
    play = player(speed=1)
    with play.play([ask("a10", range(10), 50)]) as inbox, play.play([ask("b", range(10))]):
        play.abort("a1")
        with pytest.raises(Aborted):
            await inbox.take()
        assert play.load().waiting == 1
    play.close()


async def test_a_refused_batch_leaves_nothing() -> None:
    """When the engine refuses one prompt of a batch, the others are taken back."""
    play = player(speed=1)
    with (
        pytest.raises(ValueError, match="fit"),
        play.play([ask("a", range(10)), ask("b", range(2000))]),
    ):
        pass
    assert play.load().waiting == 0
    play.close()
