"""Tenants cannot find out what others ask: neither from engines nor from the proxy."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.proxy.access.keys import make
from paceline.proxy.access.salts import FIELDS, Salts
from paceline.proxy.config import AdminConfig, AuthConfig, BackendConfig, Config
from tests.proxy.rig import proxied
from tests.proxy.scripted import Conversation, always, reply
from tests.proxy.whole import Whole, whole

CHAT = "/v1/chat/completions"
ACME, ACME_LINE = make("acme")
BLUE, BLUE_LINE = make("blue")
SECRET = "the launch is on the ninth of May; " * 100


def isolating(tmp_path: Path, **more: object) -> Config:
    """Two tenants who do not trust each other."""
    (tmp_path / "keys").write_text(f"{ACME_LINE}\n{BLUE_LINE}")
    auth = AuthConfig(keys_file=str(tmp_path / "keys"), isolate=True)
    return Config(auth=auth, admin=AdminConfig(port=0), **more)  # type: ignore[arg-type]


def salt(body: bytes, path: str = CHAT, tenant: str = "acme") -> str:
    """The salt that an engine reads."""
    found: str = json.loads(Salts().salted(body, path, tenant))[FIELDS[path]]
    return found


@pytest.mark.parametrize("path", FIELDS)
def test_a_salt_is_the_tenants(path: str) -> None:
    """The same for each of its requests, another one for everybody else; the rest stays."""
    body = b'{"model":"m","messages":[]} \n'
    assert salt(body, path) == salt(b'{"model":"n"}', path)
    assert salt(body, path) != salt(body, path, "blue")
    assert Salts().salted(body, path, "acme").startswith(b'{"model":"m","messages":[],"')


@pytest.mark.parametrize(("paths", "status"), [([], 403), (["/v1/messages"], 200)])
async def test_messages_take_no_salt(tmp_path: Path, paths: list[str], status: int) -> None:
    """SGLang reads none there, so they are refused unless they are let pass as they are."""
    config = isolating(tmp_path)
    config.auth.paths = paths
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}'
    sent: list[bytes] = []

    async def keeping(conversation: Conversation) -> None:
        sent.append((await conversation.request())[1])
        await conversation.say(reply(b"{}"))

    async with proxied(keeping, config=config) as proxy:
        caller = await proxy.dial()
        await caller.post(body, "/v1/messages", f"Authorization: Bearer {ACME}")
        assert (await caller.answer()).status == status
    assert sent == ([body] if status == 200 else [])


def test_another_secret_makes_another_salt() -> None:
    """Who reaches an engine directly cannot guess it."""
    body = b'{"model":"m"}'
    assert Salts(b"one").salted(body, CHAT, "a") != Salts(b"two").salted(body, CHAT, "a")
    assert Salts(b"one").salted(body, CHAT, "a") == Salts(b"one").salted(body, CHAT, "a")


def test_a_tenants_own_salt_divides_its_cache_further() -> None:
    """It is mixed in: nobody can choose somebody else's salt."""
    plain, own = b'{"model":"m"}', b'{"cache_salt":"x","model":"m"}'
    assert salt(own) != salt(plain)
    assert salt(own) != salt(own, tenant="blue")
    stolen = msgspec.json.encode({"model": "m", "cache_salt": salt(plain, tenant="blue")})
    assert salt(stolen) != salt(plain, tenant="blue")


@pytest.mark.parametrize("key", ["cache_salt", "cache\\u005fsalt"])
def test_ours_is_the_one_that_counts(key: str) -> None:
    """However the client writes its own: of two equal keys readers take the last."""
    body = b'{"%b":"mine","model":"m"}' % key.encode()
    assert json.loads(Salts().salted(body, CHAT, "acme"))["cache_salt"] != "mine"
    assert msgspec.json.decode(Salts().salted(body, CHAT, "acme"))["cache_salt"] != "mine"


def test_seeds_of_tenants_differ() -> None:
    """So no block key of one is a block key of another; their length is the same."""
    one, two = Salts().seed(b"s" * 16, "a"), Salts().seed(b"s" * 16, "b")
    assert one != two
    assert len(one) == len(two) == 16


async def ask(proxy: Whole, key: str) -> tuple[int, int]:
    """Cached tokens of the prompt: believed by the proxy, reported by the engine."""
    message = {"role": "user", "content": SECRET}
    body = {"model": "emulated", "messages": [message], "max_tokens": 1}
    answer = await proxy.ask("POST", CHAT, body, f"Authorization: Bearer {key}")
    assert answer.status == 200
    details = json.loads(answer.body)["usage"]["prompt_tokens_details"] or {}
    return int(answer.headers("x-paceline-cached-tokens")[0]), details.get("cached_tokens", 0)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_nobody_hits_on_anothers_prompt(
    tmp_path: Path, kind: Literal["vllm", "sglang"]
) -> None:
    """A tenant's second request is cached, another's first is not: neither here nor there."""
    emulator = await start_emulator(EmulatorConfig(kind=kind, speed=100.0), "127.0.0.1", 0)
    config = isolating(tmp_path, backends=[BackendConfig(url=emulator.url, name="e")])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(emulator.close)
        proxy = await stack.enter_async_context(whole(config))
        assert await ask(proxy, ACME) == (0, 0)
        believed, reported = await ask(proxy, ACME)
        assert believed > 500
        assert reported > 500
        assert await ask(proxy, BLUE) == (0, 0)


@pytest.mark.parametrize(
    ("path", "status"), [("/tokenize", 200), ("/v1/messages", 403), ("/v1/responses", 403)]
)
async def test_what_cannot_be_salted_is_not_asked(tmp_path: Path, path: str, status: int) -> None:
    """Prompts that would land in the common part of a cache are refused."""
    async with proxied(always(reply(b"{}")), config=isolating(tmp_path)) as proxy:
        client = await proxy.dial()
        await client.post(b"{}", path, f"Authorization: Bearer {ACME}")
        assert (await client.answer()).status == status
