"""`paceline emulate`: one emulated engine as a process of its own."""

from __future__ import annotations

from paceline.engines.emulator import EmulatorConfig, start_emulator
from paceline.proxy.listen import run_loop, termination


def run(config: EmulatorConfig, host: str, port: int) -> None:
    """Play until SIGTERM or SIGINT; raises CannotListen."""
    run_loop(_play(config, host, port))


async def _play(config: EmulatorConfig, host: str, port: int) -> None:
    emulator = await start_emulator(config, host, port)
    try:
        print(f"{config.kind} emulator listens on {emulator.url}", flush=True)
        await termination()
    finally:
        await emulator.close()
