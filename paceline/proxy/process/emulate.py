"""`paceline emulate`: one emulated engine as a process of its own."""

from __future__ import annotations

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.proxy.process.listen import CannotListen, run_loop, stop_signal


def run(config: EmulatorConfig, host: str, port: int) -> None:
    """Play until SIGTERM or SIGINT; raises CannotListen."""
    run_loop(_play(config, host, port))


async def _play(config: EmulatorConfig, host: str, port: int) -> None:
    with stop_signal() as stopped:
        try:
            emulator = await start_emulator(config, host, port)
        except OSError as error:
            raise CannotListen(host, port, error) from error
        try:
            print(f"{config.kind} emulator listens on {emulator.url}", flush=True)
            await stopped
        finally:
            await emulator.close()
