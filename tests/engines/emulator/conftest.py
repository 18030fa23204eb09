"""Emulators that listen on a free port, closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest_asyncio

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from tests.engines.emulator.wire import Client, Start


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Start an emulator, a hundred times faster than an H100, and give a client of it."""
    async with AsyncExitStack() as stack:

        async def begin(kind: str, **fields: object) -> Client:
            settings = {"kind": kind, "speed": 100.0} | fields
            emulator = await start_emulator(msgspec.convert(settings, EmulatorConfig))
            stack.push_async_callback(emulator.close)
            return await stack.enter_async_context(Client(emulator.url))

        yield begin
