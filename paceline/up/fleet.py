"""All engines of a file: who starts after whom, and how they end together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import aiohttp

from paceline.proxy.telemetry.state import EngineState
from paceline.up.config import EngineConfig, UpConfig
from paceline.up.keeper import EngineFailed, Keeper
from paceline.up.tell import Log, Starting, Teller

if TYPE_CHECKING:
    from paceline.proxy.process.compose import Proxy


class Fleet:
    """The engines; needs a running loop."""

    def __init__(self, engines: Sequence[EngineConfig], config: UpConfig, teller: Teller) -> None:
        """`teller` hears of the start; from then on it is the log that does."""
        self._session = aiohttp.ClientSession()
        self._teller = teller
        self._keeping: list[asyncio.Task[None]] = []
        self._proxy: Proxy | None = None
        turns = [asyncio.Lock() for _ in engines]
        self._keepers = [
            Keeper(engine, config, turns[group], self._session, teller)
            for engine, group in zip(engines, groups(engines), strict=True)
        ]

    def states(self) -> list[EngineState]:
        """What is shown of them."""
        return [keeper.view() for keeper in self._keepers]

    async def start(self) -> None:
        """Start all; raises EngineFailed by the first that does not. Then they are kept."""
        following = asyncio.create_task(self._teller.follow(self._starting))
        starts = [asyncio.create_task(keeper.start()) for keeper in self._keepers]
        try:
            for start in asyncio.as_completed(starts):
                await start
        except EngineFailed as failure:
            name = next(
                k.engine.name for k, s in zip(self._keepers, starts, strict=True) if _bad(s)
            )
            raise EngineFailed(f"engine {name}: {failure}") from None
        finally:
            for task in (*starts, following):
                task.cancel()
            await asyncio.gather(*starts, following, return_exceptions=True)
        for keeper in self._keepers:
            keeper.teller = Log()
        self._keeping = [asyncio.create_task(keeper.keep(self._lost)) for keeper in self._keepers]

    def attend(self, proxy: Proxy) -> None:
        """Let the proxy show the engines, and hear at once of those that end."""
        proxy.engines = self.states
        self._proxy = proxy

    async def stop(self) -> None:
        """End all of them at once."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers))
        await self._session.close()

    def _lost(self, name: str) -> None:
        if self._proxy is not None:
            self._proxy.backends.lost(name)

    def _starting(self) -> list[Starting]:
        return [one.starting() for one in self._keepers if one.state != "ready"]


def groups(engines: Sequence[EngineConfig]) -> list[int]:
    """For each engine the number of its group: those that share a GPU with one of it.

    One that says nothing of GPUs may use any, and is of one group with all that use some.
    """
    found = list(range(len(engines)))
    for i, engine in enumerate(engines):
        for j in range(i):
            if _share(engine, engines[j]) and found[i] != found[j]:
                old, new = max(found[i], found[j]), min(found[i], found[j])
                found = [new if group == old else group for group in found]
    return found


def _share(one: EngineConfig, other: EngineConfig) -> bool:
    if one.gpus is None or other.gpus is None:
        return one.gpus != [] and other.gpus != []
    return not set(map(str, one.gpus)).isdisjoint(map(str, other.gpus))


def _bad(start: asyncio.Task[None]) -> bool:
    return start.done() and not start.cancelled() and start.exception() is not None
