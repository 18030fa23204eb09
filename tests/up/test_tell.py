"""What a terminal and a log show of engines that start."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click
import pytest
from structlog.testing import capture_logs

from paceline.up.tell import CLEAR, LOG_SECONDS, Log, Starting, Terminal
from tests.virtual_loop import run

BUSY = [
    Starting("a", "starting", 12.4, "Loading shards: 50%"),
    Starting("b", "waiting", 12.4, ""),
]


async def test_a_terminal_has_one_line_for_what_is_under_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No wider than it is; events go above it, and at the end it is cleared."""
    monkeypatch.setenv("COLUMNS", "20")
    terminal, looked = Terminal(), asyncio.Event()

    def look() -> list[Starting]:
        looked.set()
        return BUSY

    following = asyncio.create_task(terminal.follow(look))
    await looked.wait()
    terminal.event("info", "engine ready", "b", seconds=3.1)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    clear = click.unstyle(CLEAR)  # this is no terminal
    assert capsys.readouterr().err == (
        f"{clear}a 12 s: Loading {clear}{'b':<16} engine ready  seconds 3.1\n{clear}"
    )


def test_a_terminal_tags_what_an_engine_said(capsys: pytest.CaptureFixture[str]) -> None:
    """So that one sees whose words they are."""
    Terminal().line("a", "out of memory")
    assert capsys.readouterr().err == f"{click.unstyle(CLEAR)}a | out of memory\n"


def test_a_log_hears_of_those_that_start_now_and_then() -> None:
    """Each 15 s, of each what it said last; events and an engine's words as they come."""
    log, looks = Log(), iter([BUSY, BUSY[1:]])

    async def follow() -> None:
        log.event("error", "engine ended", "a", why="x")
        log.line("a", "out of memory")
        with suppress(TimeoutError):
            await asyncio.wait_for(log.follow(lambda: next(looks)), 2.5 * LOG_SECONDS)

    with capture_logs() as lines:
        run(follow())
    assert [(line["event"], line.get("engine")) for line in lines] == [
        ("engine ended", "a"),
        ("a | out of memory", None),
        ("engine starting", "a"),
        ("engine waiting", "b"),
        ("engine waiting", "b"),
    ]
    assert (lines[2]["seconds"], lines[2]["says"]) == (12, "Loading shards: 50%")
    assert (lines[0]["log_level"], lines[2]["log_level"]) == ("error", "info")
