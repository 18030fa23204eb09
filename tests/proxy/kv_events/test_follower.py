"""The events of a publisher become what the scheduler knows, and their loss too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from paceline.engines.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from paceline.proxy.config import BackendConfig, ModelConfig
from paceline.proxy.kv_events.follower import follower
from paceline.proxy.serving.tokenizing import tokenizers
from paceline.proxy.upstream.address import parse
from paceline.proxy.upstream.directory import Entry
from paceline.scheduler.types import Keys
from tests.proxy.publisher import Publisher
from tests.real.tiny_llama import write_tokenizer

CLEARED = AllBlocksCleared()


def stored(*blocks: int) -> BlockStored:
    """Blocks of 16 equal tokens, each behind the one numbered before it."""
    first = blocks[0]
    return BlockStored(
        block_hashes=list(blocks),
        parent_block_hash=first - 1 if first % 10 else None,
        token_ids=[block for block in blocks for _ in range(16)],
        block_size=16,
    )


def removed(*blocks: int) -> BlockRemoved:
    return BlockRemoved(block_hashes=list(blocks))


class Heard:
    """What the scheduler was told: how many blocks it knows of, None while it is to estimate."""

    def __init__(self) -> None:
        self.keys: set[int] | None = None
        self.resets = 0
        self._changed = asyncio.Event()

    def backend_reset(self, id: str) -> None:
        self.resets += 1

    def cache_reported(
        self, id: str, stored: Keys = (), removed: Keys = (), *, known: bool = True
    ) -> None:
        held = self.keys or set()
        self.keys = (held | set(stored)) - set(removed) if known else None
        self._changed.set()

    async def until(self, count: int | None) -> None:
        """Return when it knows of so many blocks."""
        while (None if self.keys is None else len(self.keys)) != count:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    made = Publisher()
    yield made
    await made.close()


@asynccontextmanager
async def following(
    publisher: Publisher, folder: Path | None, **settings: str
) -> AsyncIterator[Heard]:
    """A follower of the publisher; `folder` is for the tokenizer, None for a model without."""
    heard = Heard()
    urls: dict[str, Any] = publisher.urls | settings
    config = BackendConfig(url="http://127.0.0.1:9", name="e", **urls)
    models = []
    if folder is not None:
        models.append(ModelConfig(name="m", tokenizer=str(write_tokenizer(folder))))
    entry = Entry(parse(config.url, "e"), config, models=("x", "m"), up=True)
    running = follower(entry, sink=heard, models=tokenizers(models), seed=b"seed")
    task = asyncio.create_task(running)
    await publisher.subscribed()
    try:
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_blocks_are_told_as_they_come_and_go(publisher: Publisher, tmp_path: Path) -> None:
    """From the first message on."""
    async with following(publisher, tmp_path) as heard:
        await heard.until(0)
        await publisher.publish(stored(10, 11, 12))
        await heard.until(3)
        await publisher.publish(removed(12), stored(20))
        await heard.until(3)
        await publisher.publish(removed(11))
        await heard.until(2)
    assert heard.keys is None, "who follows no longer knows no longer"


async def test_a_gap_is_replayed(publisher: Publisher, tmp_path: Path) -> None:
    """Nothing is missing then, and nothing counts twice."""
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(10))
        await heard.until(1)
        await publisher.publish(stored(11), lost=True)
        await publisher.publish(stored(12), lost=True)
        await publisher.publish(stored(13))
        await heard.until(4)
        await publisher.publish(stored(14))
        await heard.until(5)
    assert publisher.asked == [0, 1]


async def test_what_was_before_is_replayed(publisher: Publisher, tmp_path: Path) -> None:
    """The proxy may start after its engines."""
    await publisher.publish(stored(10, 11))
    await publisher.publish(removed(11))
    async with following(publisher, tmp_path) as heard:
        await heard.until(1)


async def test_a_gap_without_replay_brings_the_estimate(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Until the cache is empty, when all is known again."""
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(10))
        await heard.until(1)
        await publisher.publish(stored(11), lost=True)
        publisher.kept.clear()
        await publisher.publish(stored(12))
        await heard.until(None)
        await publisher.publish(stored(13), CLEARED, stored(20, 21))
        await heard.until(2)
    assert heard.resets == 1


async def test_no_beginning_no_knowledge(publisher: Publisher, tmp_path: Path) -> None:
    """Where the replay does not reach back, hot blocks would be missing for good."""
    publisher.seq = 7
    await publisher.publish(stored(11))
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(12))
        await publisher.publish(CLEARED)
        await heard.until(0)
        await publisher.publish(stored(20))
        await heard.until(1)


async def test_without_a_replay_the_first_message_is_needed(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Then it goes as far as there is no gap."""
    async with following(publisher, tmp_path, kv_replay="") as heard:
        await publisher.publish(stored(10))
        await heard.until(1)
        await publisher.publish(stored(11), lost=True)
        await publisher.publish(stored(12))
        await heard.until(None)
        await publisher.publish(stored(13))
        await publisher.publish(CLEARED)
        await heard.until(0)


async def test_a_restart_begins_anew(publisher: Publisher, tmp_path: Path) -> None:
    """While nobody is there the estimate counts; the next publisher tells from its beginning."""
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(10, 11))
        await heard.until(2)
        await publisher.close()
        await heard.until(None)
        other = Publisher(*publisher.ports)
        await other.subscribed()
        await other.publish(stored(20))
        await heard.until(1)
        await other.close()


async def test_numbers_that_begin_anew_are_another_publisher(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Even where the connection did not show it, as through a relay."""
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(10, 11))
        await publisher.publish(stored(12))
        await heard.until(3)
        publisher.seq = 0
        publisher.kept.clear()
        await publisher.publish(stored(20))
        await heard.until(1)


async def test_what_is_not_understood_brings_the_estimate(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Another version's events; one that can be read clears it up."""
    async with following(publisher, tmp_path) as heard:
        await publisher.publish(stored(10))
        await heard.until(1)
        await publisher.send(b"\xc1")
        await heard.until(None)
        await publisher.publish(CLEARED)
        await heard.until(0)


async def test_without_a_tokenizer_a_cleared_cache_is_told(publisher: Publisher) -> None:
    """Which blocks there are cannot be; that none are can."""
    async with following(publisher, None) as heard:
        await publisher.publish(stored(10))
        await publisher.publish(CLEARED)
        while not heard.resets:
            await asyncio.sleep(0)
    assert heard.keys is None


async def test_an_address_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log says so, and the estimate goes on."""
    config = BackendConfig(url="http://127.0.0.1:9", name="e", kv_events="nowhere")
    entry = Entry(parse(config.url, "e"), config, models=("m",), up=True)
    await follower(entry, sink=Heard(), models=tokenizers([]), seed=b"seed")
    assert "kv events cannot be followed" in capsys.readouterr().out
