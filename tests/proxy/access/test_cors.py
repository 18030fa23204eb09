"""Web pages of other origins: preflights, and what answers say of who may read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.proxy.access.cors import BadOrigins, Cors
from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, AuthConfig, Config, ServerConfig
from paceline.proxy.process.load import ConfigError
from paceline.proxy.process.secure import secure
from tests.proxy.rig import CHAT, Answer, Proxy, free_port, proxied
from tests.proxy.scripted import SSE_HEAD, Conversation, always, chunked, reply

KEY, LINE = make("acme")
CHAT_PATH = "/v1/chat/completions"
HERE = "https://chat.example"
ELSEWHERE = "https://evil.example"
ALLOW = "access-control-allow-origin"
STARLETTE = "access-control-allow-origin: *", "access-control-allow-credentials: true"
"""What engines say of themselves."""
ENGINE = always(reply(b'{"data":[{"id":"m"}]}', "200 OK", *STARLETTE))


def allowing(*origins: str) -> Config:
    """A configuration without keys."""
    return Config(server=ServerConfig(cors_origins=list(origins)))


def locked(tmp_path: Path, *origins: str) -> Config:
    """One with a tenant's key, whose pages for admins are for admins."""
    (tmp_path / "keys").write_text(LINE)
    auth = AuthConfig(keys_file=str(tmp_path / "keys"))
    admin = AdminConfig(keys_file=str(tmp_path / "keys"))
    return Config(server=ServerConfig(cors_origins=list(origins)), auth=auth, admin=admin)


async def ask(
    proxy: Proxy, line: str, *lines: str, origin: str = HERE, body: bytes = b""
) -> Answer:
    """The answer to a request that a page of `origin` makes."""
    caller = await proxy.dial()
    length = f"Content-Length: {len(body)}"
    head = [f"{line} HTTP/1.1", "Host: p", f"Origin: {origin}", *lines, length, "", ""]
    caller.say("\r\n".join(head).encode("latin-1") + body)
    return await caller.answer()


async def preflight(proxy: Proxy, path: str = CHAT_PATH, origin: str = HERE) -> Answer:
    """What Chrome asks before a page's first POST with a key."""
    names = "Access-Control-Request-Headers: authorization,content-type,x-stainless-lang"
    method = "Access-Control-Request-Method: POST"
    return await ask(proxy, f"OPTIONS {path}", method, names, origin=origin)


async def test_a_preflight_needs_no_key(tmp_path: Path) -> None:
    """The proxy answers it, with the headers that were asked for; no engine hears of it."""
    async with proxied(ENGINE, config=locked(tmp_path, HERE)) as proxy:
        answer = await preflight(proxy)
        assert proxy.engines[0].conversations == []
    assert answer.status == 200
    assert answer.headers(ALLOW) == [HERE]
    asked = ["authorization,content-type,x-stainless-lang"]
    assert answer.headers("access-control-allow-headers") == asked
    assert "POST" in answer.headers("access-control-allow-methods")[0]
    assert answer.headers("vary") == ["Origin"]


async def test_other_origins_are_not_let_in() -> None:
    """Neither by a preflight nor by the engine's word, which does not count here."""
    async with proxied(ENGINE, config=allowing(HERE)) as proxy:
        refused = await preflight(proxy, origin=ELSEWHERE)
        answer = await ask(proxy, f"POST {CHAT_PATH}", origin=ELSEWHERE, body=CHAT)
    assert (refused.status, refused.headers("x-paceline-reason")) == (403, ["forbidden"])
    assert answer.status == 200
    for one in (refused, answer):
        assert "access-control-" not in one.raw_head.lower()
        assert one.headers("vary") == ["Origin"]


async def test_header_names_that_are_none_are_not_echoed() -> None:
    """A preflight with strange bytes is answered without them."""
    async with proxied(config=allowing("*")) as proxy:
        lines = "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: a\xffb"
        answer = await ask(proxy, f"OPTIONS {CHAT_PATH}", *lines)
    assert answer.headers(ALLOW) == ["*"]
    assert answer.headers("access-control-allow-headers") == []


async def test_a_stream_says_once_who_may_read_it() -> None:
    """Ours stands in place of the engine's, and names the headers that a page may see."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        lines = "\r\n".join(STARLETTE).encode() + b"\r\n\r\n"
        await conversation.say(SSE_HEAD.removesuffix(b"\r\n") + lines)
        await conversation.say(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with proxied(engine, config=allowing(HERE)) as proxy:
        answer = await ask(proxy, f"POST {CHAT_PATH}", body=CHAT)
    assert answer.headers(ALLOW) == [HERE]
    assert answer.headers("access-control-allow-credentials") == []
    assert "x-paceline-backend" in answer.headers("access-control-expose-headers")[0]
    assert answer.body.endswith(b"0\r\n\r\n")


async def test_the_proxys_own_answers_can_be_read(tmp_path: Path) -> None:
    """The merged list, a refusal before the body is read, and an engine that is not there."""
    async with proxied(free_port(), config=locked(tmp_path, HERE)) as proxy:
        stranger = await ask(proxy, f"POST {CHAT_PATH}", body=CHAT)
        key = f"Authorization: Bearer {KEY}"
        failed = await ask(proxy, f"POST {CHAT_PATH}", key, body=CHAT)
        none = await ask(proxy, "GET /v1/models", key)
    async with proxied(ENGINE, config=allowing("*")) as proxy:
        models = await ask(proxy, "GET /v1/models")
    assert [one.status for one in (stranger, failed, none, models)] == [401, 502, 503, 200]
    assert [one.headers(ALLOW) for one in (stranger, failed, none)] == [[HERE]] * 3
    assert models.headers(ALLOW) == ["*"]


async def test_admins_pages_are_for_no_other_page(tmp_path: Path) -> None:
    """Not answered to a preflight, not marked, whether they are shown or refused."""
    async with proxied(config=locked(tmp_path, "*")) as proxy:
        asked = await preflight(proxy, "/paceline/backends")
        refused = await ask(proxy, "GET /metrics")
        shown = await ask(proxy, "GET /metrics", f"Authorization: Bearer {KEY}")
    assert [one.status for one in (asked, refused, shown)] == [401, 401, 200]
    assert all("access-control-" not in one.raw_head.lower() for one in (asked, refused, shown))


async def test_without_origins_nothing_is_said() -> None:
    """What the engine says passes, and so do its preflights."""
    async with proxied(ENGINE) as proxy:
        asked = await preflight(proxy)
        answer = await ask(proxy, f"POST {CHAT_PATH}", body=CHAT)
        own = await ask(proxy, "GET /v1/models")
    assert asked.headers("x-paceline-backend") == ["e0"]
    assert answer.headers(ALLOW) == ["*"]
    assert answer.headers("access-control-allow-credentials") == ["true"]
    assert "access-control" not in own.raw_head.lower()


@pytest.mark.parametrize("origin", ["chat.example", "https://chat.example/", "https://*.x", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """Browsers would never send it, so it would allow nobody."""
    with pytest.raises(BadOrigins, match="neither"):
        Cors([origin])
    with pytest.raises(ConfigError, match="cors_origins"):
        secure(allowing(origin))
