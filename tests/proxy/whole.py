"""A whole proxy in this process: its own scheduler and monitor, real sockets, scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.compose import Proxy
from paceline.proxy.process.listen import listening
from paceline.proxy.process.secure import Security, secure
from tests.proxy.rig import CHAT, Answer, Caller
from tests.proxy.scripted import SSE_HEAD, Conversation, Script, chunked, reply

MODELS = reply(b'{"object":"list","data":[{"id":"m"}]}')


class Whole:
    """The proxy and a way to talk to it."""

    def __init__(self, proxy: Proxy, url: str) -> None:
        self.proxy = proxy
        self.port = int(url.rpartition(":")[2])
        self.admin_port = self.port

    async def dial(self, port: int | None = None) -> Caller:
        """A new connection."""
        return Caller(*await asyncio.open_connection("127.0.0.1", port or self.port))

    async def ask(
        self, method: str, path: str, body: object = None, *lines: str, port: int | None = None
    ) -> Answer:
        """The answer to one request on a connection of its own; `body` is sent as JSON."""
        caller = await self.dial(port)
        data = b"" if body is None else msgspec.json.encode(body)
        head = [f"{method} {path} HTTP/1.1", "Host: p", *lines, f"Content-Length: {len(data)}"]
        caller.say("\r\n".join([*head, "", ""]).encode() + data)
        try:
            return await caller.answer()
        finally:
            caller.hang_up()

    async def chat(self, *lines: str) -> Answer:
        """The answer to a chat."""
        return await self.ask("POST", "/v1/chat/completions", msgspec.Raw(CHAT), *lines)


@asynccontextmanager
async def whole(
    config: Config, *, up: bool = True, security: Security | None = None
) -> AsyncIterator[Whole]:
    """The proxy that `config` describes, on a port of its own; waits for its backends if `up`."""
    security = security or secure(config)
    proxy = Proxy(config, security)
    proxy.monitor.start()
    try:
        async with (
            listening(proxy.admin_server, "127.0.0.1", 0) as admin,
            listening(proxy.server, "127.0.0.1", 0, security.tls) as url,
        ):
            made = Whole(proxy, url)
            made.admin_port = int(admin.rpartition(":")[2])
            if up:
                await proxy.settled()
            yield made
    finally:
        await proxy.close()


def backend(port: int, name: str = "e0") -> BackendConfig:
    """A scripted engine in a configuration."""
    return BackendConfig(url=f"http://127.0.0.1:{port}", name=name, kind="openai", models=["m"])


def streaming(gate: asyncio.Event) -> Script:
    """An engine whose streams end once the gate is open; anything else it answers at once."""

    async def script(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            if not head.startswith("POST"):
                await conversation.say(MODELS)
                continue
            await conversation.say(SSE_HEAD + chunked(b"data: 1\n\n"))
            await gate.wait()
            await conversation.say(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    return script
