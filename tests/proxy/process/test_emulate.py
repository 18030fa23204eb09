"""An emulated engine runs as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys


async def emulate(*args: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "emulate", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_says_where_it_is_and_stops_when_told() -> None:
    """Its address is printed once it can be called; SIGTERM ends it with 0."""
    process = await emulate("--kind", "sglang", "--port", "0")
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("sglang emulator listens on http://127.0.0.1:")
        _, writer = await asyncio.open_connection("127.0.0.1", int(line.rpartition(":")[2]))
        writer.close()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_taken_port_is_one_line() -> None:
    """The address that cannot be had is named, without a traceback."""
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await emulate("--kind", "vllm", "--port", str(port))
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().startswith(f"paceline: cannot listen on 127.0.0.1:{port}: ")
    assert err.count(b"\n") == 1
