"""Tells the operator how the engines come up: in the log, or live in a terminal."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import click
import structlog
from msgspec import Struct

Level = Literal["info", "error"]
LOG_SECONDS = 15.0
"""How often a log hears of an engine that is still starting."""
LIVE_SECONDS = 0.25
"""How often a terminal does."""
CLEAR = "\r\x1b[K"
"""Back to the line's beginning, and nothing behind it (ECMA-48)."""


class Starting(Struct, frozen=True):
    """An engine that is not ready yet."""

    engine: str
    state: str
    seconds: float
    """For how long it has been in that state."""
    last_line: str
    """What it printed last."""


Look = Callable[[], Sequence[Starting]]


class Teller(Protocol):
    """Who is told."""

    def event(self, level: Level, what: str, engine: str, **fields: Any) -> None:
        """Something happened to an engine."""
        ...

    def line(self, engine: str, text: str) -> None:
        """A line of its output that explains a failure."""
        ...

    async def follow(self, look: Look) -> None:
        """Tell of those that are starting until cancelled."""
        ...


class Log:
    """Tells the proxy's log, for people or machines."""

    def event(self, level: Level, what: str, engine: str, **fields: Any) -> None:
        """One line."""
        structlog.get_logger().log(_LEVELS[level], what, engine=engine, **fields)

    def line(self, engine: str, text: str) -> None:
        """One line, tagged."""
        structlog.get_logger().error(f"{engine} | {text}")

    async def follow(self, look: Look) -> None:
        """A line an engine now and then."""
        while True:
            await asyncio.sleep(LOG_SECONDS)
            for one in look():
                said = {"seconds": round(one.seconds), "says": one.last_line}
                self.event("info", f"engine {one.state}", one.engine, **said)


class Terminal:
    """Keeps one line at the terminal's end up to date, and prints what happens above it."""

    def event(self, level: Level, what: str, engine: str, **fields: Any) -> None:
        """One line, coloured."""
        details = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in fields.items())
        colour = {"info": "green", "error": "red"}[level]
        tag = click.style(f"{engine:<16}", bold=True)
        click.echo(f"{CLEAR}{tag} {click.style(what, fg=colour)}  {details}", err=True)

    def line(self, engine: str, text: str) -> None:
        """One line, tagged."""
        click.echo(f"{CLEAR}{click.style(f'{engine} |', dim=True)} {text}", err=True)

    async def follow(self, look: Look) -> None:
        """All of them in one line, as wide as the terminal."""
        try:
            while True:
                self._show(look())
                await asyncio.sleep(LIVE_SECONDS)
        finally:
            click.echo(CLEAR, nl=False, err=True)

    def _show(self, starting: Sequence[Starting]) -> None:
        busy = [one for one in starting if one.state == "starting"]
        width = shutil.get_terminal_size().columns - 1
        parts = [f"{one.engine} {one.seconds:.0f} s: {one.last_line}" for one in busy]
        share = max(width // max(len(parts), 1) - 3, 1)
        text = " | ".join(part[:share] for part in parts)
        click.echo(CLEAR + click.style(text, dim=True), nl=False, err=True)


_LEVELS = {"info": 20, "error": 40}
