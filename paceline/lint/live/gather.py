"""Gathers the prompts of a running service through a tap, for so long or so many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from paceline.lint.errors import LintError
from paceline.lint.live.tap import Tap
from paceline.lint.log import Entry
from paceline.proxy.process.listen import base_url, stop_signal
from paceline.proxy.upstream.address import Address, BadAddress, parse


class Live(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    url: str
    """Whom the prompts are for."""
    listen: str
    """HOST:PORT for clients; port 0 for a free one."""
    seconds: float
    requests: int


def gather(live: Live, announce: Callable[[str], None]) -> tuple[list[Entry], int]:
    """Requests until there are enough, time is up, or SIGINT or SIGTERM; and how many were odd.

    `announce` is told the tap's own address. Raises LintError about either address.
    """
    return asyncio.run(_gather(live, announce))


async def _gather(live: Live, announce: Callable[[str], None]) -> tuple[list[Entry], int]:
    host, port = _place(live.listen)
    tap = Tap(_target(live.url), live.requests)
    with stop_signal() as stopped:
        try:
            async with tap.open(host, port) as bound:
                announce(base_url(host, bound))
                full = asyncio.ensure_future(tap.full.wait())
                ends: list[asyncio.Future[Any]] = [full, stopped]
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(ends, timeout=live.seconds, return_when=first)
                full.cancel()
        except OSError as error:
            raise LintError(f"cannot listen on {live.listen}: {error.strerror or error}") from None
    return tap.entries, tap.skipped


def _target(url: str) -> Address:
    try:
        address = parse(url, "")
    except BadAddress as error:
        raise LintError(f"{url}: {error}") from None
    if address.base:
        raise LintError(f"{url}: must not have a path: bytes are passed on as they are")
    return address


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise LintError(f"{listen}: expected HOST:PORT")
    return host.strip("[]"), int(port)
