"""`python -m bench.faults.peers`: the same probes put to Paceline and to other proxies.

Each is started as `bench.relay` starts it, anew for each probe, but that all spread requests evenly
and that HAProxy checks its servers: half of the requests shall meet the engine that is bad.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import structs

import paceline
from bench.faults.probes import PROBES, Place, warmed
from bench.faults.rig import quiet
from bench.faults.scripted import ScriptedEngine
from bench.processes import free_port
from bench.relay.processes import running, wait_until_ready
from bench.relay.targets import TARGETS, Target, debian, urls

CORES = "0,1"
NAMES = ("nginx", "haproxy", "sglang-router", "smg", "vllm-router", "litellm", "paceline")
HARDENED = """global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  option abortonclose
  option redispatch
  option httpchk GET /health
  http-reuse always
listen l
  bind 127.0.0.1:{port}
  balance roundrobin
{servers}
"""


def targets(names: Sequence[str]) -> list[Target]:
    """Those of these names that can be started, installed where that is still to be done."""
    by_name = {target.name: target for target in TARGETS}
    found = [by_name[name] for name in NAMES if name in names and by_name[name].available]
    for target in found:
        target.install()
    return [_spreading(target) for target in found]


def _spreading(target: Target) -> Target:
    """The same, but that it asks its engines in turn."""
    if target.name == "haproxy":
        return structs.replace(target, command=_hardened)

    def command(port: int, engines: Sequence[int], folder: Path) -> list[str]:
        words = target.command(port, engines, folder)
        return ["round_robin" if word == "cache_aware" else word for word in words]

    return structs.replace(target, command=command)


def _hardened(port: int, engines: Sequence[int], folder: Path) -> list[str]:
    config = folder / "haproxy.cfg"
    servers = "\n".join(f"  server e{engine} 127.0.0.1:{engine} check" for engine in engines)
    config.write_text(HARDENED.format(port=port, servers=servers))
    return [debian("haproxy") or "haproxy", "-db", "-f", str(config)]


def version(target: Target) -> str:
    """Name and version."""
    if target.ours:
        return f"paceline {paceline.__version__}"
    if target.package:
        return target.package.replace("[proxy]", "").replace("==", " ")
    told = subprocess.run(
        [debian(target.name) or target.name, "-v"], capture_output=True, text=True
    )
    words = (told.stdout + told.stderr).replace("nginx/", "").replace("HAProxy", "").split()
    number = next(word for word in words if word[0].isdigit())
    return f"{target.name} {number.partition('-')[0]}"


async def put(name: str, target: Target) -> str:
    """One probe's answer, of a fresh proxy before fresh engines."""
    async with AsyncExitStack() as stack:
        engines = [ScriptedEngine() for _ in range(2)]
        for engine in engines:
            await engine.start()
            stack.push_async_callback(engine.close)
        folder = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        port = free_port()
        command = target.command(port, [engine.port for engine in engines], Path(folder))
        process = running(command, CORES)
        await asyncio.to_thread(process.__enter__)
        stack.push_async_callback(asyncio.to_thread, process.__exit__, None, None, None)
        await asyncio.to_thread(wait_until_ready, urls([port])[0])
        place = Place(port, engines)
        await warmed(place)
        return await PROBES[name](place)


async def run(chosen: Sequence[Target], only: str) -> None:
    """Print the table, a row as soon as it is known."""
    quiet()
    print(f"| the same probes | {' | '.join(map(version, chosen))} |")
    print(f"|---{'|---' * len(chosen)}|")
    for name in PROBES:
        if only in name:
            answers = [await _put_or_say_why(name, target) for target in chosen]
            print(f"| {name} | {' | '.join(answers)} |", flush=True)


async def _put_or_say_why(name: str, target: Target) -> str:
    try:
        return await put(name, target)
    except (TimeoutError, OSError) as error:
        print(f"{target.name}, {name}: {error!r}", file=sys.stderr)
        return "-"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.peers", description=__doc__)
    parser.add_argument("--peers", default=",".join(NAMES), help="of these, with commas between")
    parser.add_argument("--only", default="", help="probes whose name contains this")
    options = parser.parse_args()
    asyncio.run(run(targets(options.peers.split(",")), options.only))


if __name__ == "__main__":
    main()
