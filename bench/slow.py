"""`python -m bench.slow`: slowhttptest's attacks, while a good client asks on.

Each keeps well over a thousand connections busy with next to nothing. The exit status is 0 when the
good client was always answered, and the proxy closed the attackers' connections in time and held
little memory for them. Needs slowhttptest, which Debian has.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from msgspec import Struct

from bench.faults.cases import body
from bench.faults.client import ask
from bench.faults.rig import quiet
from bench.relay.processes import rss_kb
from bench.soak.proxy import ProxyProcess, open_files, proxy, sockets
from paceline.engines.emulator.app import build_emulator
from paceline.engines.emulator.config import EmulatorConfig

SCHEDULED, LARGE = "/v1/chat/completions", "/v1/responses/large"
"""What is scheduled, and what is passed on and answered at length."""
LARGE_BYTES = 1 << 19
PACE = 0.2
"""Seconds between two questions of the good client."""
LONGEST = 2.0
"""Seconds that its slowest answer may take."""
KB_EACH = 320
"""Memory that a connection may cost the proxy: one read of 256 KiB and 64 that wait."""
FEW = 20
"""Sockets that it may have when the attack is over: listeners, engines, the good client."""
LATE = 5.0
"""Seconds that closing may take beyond the limit that closes."""
SAMPLE_SECONDS = 0.25


class Attack(Struct, frozen=True):
    """One of slowhttptest's."""

    name: str
    path: str
    words: tuple[str, ...]
    cut: float
    """Seconds after which the proxy's limit closes its connections."""
    rate: int = 250
    """New connections a second: their slowness is to hurt, not the rush."""


READ = ("-X", "-n", "3", "-w", "10", "-y", "512")
ATTACKS = (
    Attack("slow headers", SCHEDULED, ("-H", "-i", "3"), 10.0),
    Attack("slow body", SCHEDULED, ("-B", "-i", "3", "-s", "8192"), 30.0),
    Attack("slow read of ten pages", "/paceline/ui", (*READ, "-k", "10"), 31.0, rate=100),
    Attack("slow read of an answer", LARGE, READ, 31.0, rate=100),
    Attack("ranges", "/paceline/ui", ("-R",), 1.0),
)
"""The limits: `head_seconds`, `body_seconds` and, with a second for the end, `idle_seconds`; what
the kernel did not take of an engine's answer falls to `idle_seconds` of `[upstream]`, 10 here."""


class Result(Struct):
    """What one attack did."""

    idle_mb: float
    peak_mb: float = 0.0
    connections: int = 0
    """Most sockets that the proxy had."""
    gone: float = 0.0
    """Seconds from its first connection until it had few again."""


class GoodClient:
    """Asks for a short completion a few times a second, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._port = port
        self._asked = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._asked += 1
            seen = await ask(self._port, body(self._asked), f"good-{self._asked}x")
            self.seconds.append(seen.seconds)
            if seen.word != "200":
                self.failures.append(seen.word)
            await asyncio.sleep(PACE)


async def suffer(attack: Attack, process: ProxyProcess, connections: int) -> Result:
    """Play it until the proxy has closed the last connection, or is far too late."""
    loop = asyncio.get_running_loop()
    result = Result(idle_mb=_rss_mb(process))
    began = loop.time()
    attacker = await _attacker(attack, process.port, connections)
    seen = 0
    while loop.time() < began + _longest(attack, connections):
        await asyncio.sleep(SAMPLE_SECONDS)
        count = len(sockets(open_files(process.pid)))
        result.peak_mb = max(result.peak_mb, _rss_mb(process))
        result.connections = max(result.connections, count)
        seen += count > FEW
        result.gone = loop.time() - began
        if count <= FEW and (seen or attacker.returncode is not None):
            break
    with suppress(ProcessLookupError):
        attacker.terminate()
    await attacker.wait()
    return result


async def _attacker(attack: Attack, port: int, connections: int) -> asyncio.subprocess.Process:
    seconds = str(int(_longest(attack, connections)))
    url = f"http://127.0.0.1:{port}{attack.path}"
    words = [
        *attack.words,
        "-c",
        str(connections),
        "-r",
        str(attack.rate),
        "-l",
        seconds,
        "-u",
        url,
    ]
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec("slowhttptest", *words, stdout=quiet, stderr=quiet)


def _longest(attack: Attack, connections: int) -> float:
    """Seconds after which all that is there was not closed, and never will be."""
    return connections / attack.rate + attack.cut + 3 * LATE


def _rss_mb(process: ProxyProcess) -> float:
    return rss_kb([process.pid]) / 1024


async def run(attacks: Sequence[Attack], connections: int) -> bool:
    """Print the table; whether all held."""
    quiet()
    held = True
    async with talkative_engine() as url, proxy([url]) as process:
        print("| attack | connections | closed after | good client p50 | slowest | failed | RSS |")
        print("|---|---|---|---|---|---|---|")
        for attack in attacks:
            good = GoodClient(process.port)
            asking = asyncio.create_task(good.run())
            result = await suffer(attack, process, connections)
            asking.cancel()
            print(_line(attack, result, good), flush=True)
            in_time = result.gone <= connections / attack.rate + attack.cut + LATE
            held = held and in_time and _holds(result, good)
    return held


@asynccontextmanager
async def talkative_engine() -> AsyncIterator[str]:
    """An emulated one that also has a long answer; yields its URL."""

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(LARGE_BYTES)})
        await response.prepare(request)
        for _ in range(LARGE_BYTES >> 14):
            await response.write(bytes(1 << 14))
        return response

    app = build_emulator(EmulatorConfig(speed=20.0))
    app.router.add_get(LARGE, large)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _line(attack: Attack, result: Result, good: GoodClient) -> str:
    seconds = sorted(good.seconds)
    return (
        f"| {attack.name} | {result.connections} | {result.gone:.0f} s"
        f" | {seconds[len(seconds) // 2] * 1000:.0f} ms | {seconds[-1] * 1000:.0f} ms"
        f" | {len(good.failures)} of {len(seconds)}"
        f" | {result.idle_mb:.0f} -> {result.peak_mb:.0f} MB |"
    )


def _holds(result: Result, good: GoodClient) -> bool:
    """Whether the attackers got little memory and the good client all that it wanted."""
    cost = (result.peak_mb - result.idle_mb) * 1024 / max(result.connections, 1)
    return cost <= KB_EACH and not good.failures and max(good.seconds) <= LONGEST


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1500)
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    options = parser.parse_args()
    if shutil.which("slowhttptest") is None:
        print("slowhttptest is not installed", file=sys.stderr)
        return 2
    chosen = [attack for attack in ATTACKS if options.only in attack.name]
    return 0 if asyncio.run(run(chosen, options.connections)) else 1


if __name__ == "__main__":
    sys.exit(main())
