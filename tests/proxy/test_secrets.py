"""Prompts and keys stay out of logs, errors and state, whatever goes wrong."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest

from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, AuthConfig, Config, LogConfig
from paceline.proxy.serving import serve
from paceline.proxy.telemetry import log
from tests.proxy.scripted import Conversation, engine
from tests.proxy.whole import MODELS, Whole, backend, whole

PROMPT = "the-launch-is-on-the-ninth"
ANSWER = "so-it-shall-be"
KEY, LINE = make("acme")
AUTH = f"Authorization: Bearer {KEY}"


async def breaks(conversation: Conversation) -> None:
    """An engine whose answers end in the middle."""
    while True:
        head, _ = await conversation.request()
        if head.startswith("GET"):
            await conversation.say(MODELS)
        else:
            await conversation.say(
                b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + ANSWER.encode()
            )
            conversation.hang_up()


async def ask(proxy: Whole, **more: object) -> None:
    """A chat that may go wrong."""
    chat = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], **more}
    caller = await proxy.dial()
    await caller.post(msgspec.json.encode(chat), "/v1/chat/completions", AUTH, "Connection: close")
    await caller.rest()
    caller.hang_up()


@pytest.mark.parametrize("format", ["console", "json"])
async def test_nothing_is_told_of_prompts_and_keys(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even at level debug, with a traceback, or about a body that cannot be read."""
    (tmp_path / "keys").write_text(LINE)
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    keys = str(tmp_path / "keys")
    config = Config(
        log=msgspec.convert({"format": format, "level": "debug"}, LogConfig),
        auth=AuthConfig(keys_file=keys),
        admin=AdminConfig(keys_file=keys),
    )
    log.configure(config.log)
    async with engine(breaks) as one:
        config.backends = [backend(one.port)]
        async with whole(config) as proxy:
            await ask(proxy)
            await ask(proxy, n=PROMPT)
            monkeypatch.setattr(serve, "_turn", fail)
            await ask(proxy, stop=PROMPT)
            state = await proxy.ask("GET", "/paceline/state", None, AUTH)
            page = await proxy.ask("GET", "/metrics", None, AUTH)
    assert log.stderr().drain(5.0)
    told = err.getvalue() + state.raw_head + (state.body + page.body).decode()
    assert "a defect" in told
    assert len(re.findall("failed|rejected", told)) >= 2
    for secret in (PROMPT, ANSWER, KEY, LINE.rpartition(":")[2]):
        assert secret not in told


def fail(gateway: object, record: object) -> int:
    """A defect, with the prompt at hand in the caller's frame."""
    raise RuntimeError("a defect")
