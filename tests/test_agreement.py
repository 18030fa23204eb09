"""Proxy and emulator together take as long as the simulator says.

In virtual time, so that it is the two shells and not this machine that are compared;
`python -m bench.agreement` does it in real time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from bench.agreement import KV_TOKENS, PRESET, PROMISE, SPEED, agreement, line
from bench.load import Prompt, Result, send
from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.model.engine import ModelKind
from paceline.proxy.config import BackendConfig, Config, LogConfig, PolicyConfig
from paceline.proxy.process.compose import Proxy
from paceline.proxy.process.listen import listening
from paceline.proxy.upstream import watch
from tests.virtual_loop import run


def in_virtual_time(kind: ModelKind, policy: str, wanted: Sequence[Prompt]) -> Sequence[Result]:
    """Client, proxy and emulator on one loop, over real sockets."""
    return run(drive(kind, policy, wanted))


async def drive(kind: ModelKind, policy: str, wanted: Sequence[Prompt]) -> Sequence[Result]:
    async with AsyncExitStack() as stack:
        engine = EmulatorConfig(kind=kind, preset=PRESET, kv_tokens=KV_TOKENS, speed=SPEED)
        emulator = await start_emulator(engine)
        stack.push_async_callback(emulator.close)
        config = Config(
            policy=PolicyConfig(name=policy),
            log=LogConfig(level="error"),
            backends=[BackendConfig(url=emulator.url, name="emulated")],
        )
        proxy = Proxy(config)
        proxy.monitor.start()
        stack.push_async_callback(proxy.close)
        base = await stack.enter_async_context(listening(proxy.server, "127.0.0.1", 0))
        await proxy.settled()
        return await send(base, "emulated", wanted)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_ttft_agrees(kind: ModelKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and percentiles of TTFT are within 5%, while requests queue and the pool is short."""
    monkeypatch.setattr(watch, "_jitter", lambda seconds: seconds)  # or each run is another
    found = agreement(kind, "steady", in_virtual_time)
    assert found.worst < PROMISE, line(found)
    assert found.simulated.p99 > 2 * found.simulated.p50, "they queue"
    emulated, simulated = found.hit_rates
    assert emulated == pytest.approx(simulated, abs=0.01)
    assert 0.1 < simulated < 0.5
