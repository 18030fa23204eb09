"""Who may ask what: keys, admins, paths."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from paceline.proxy.access.admission import Access
from paceline.proxy.access.keys import Keys, make
from paceline.proxy.config import AdminConfig, AuthConfig, Config
from paceline.proxy.http.errors import ApiError
from tests.proxy.requests import request
from tests.proxy.rig import CHAT, Proxy, proxied
from tests.proxy.scripted import Conversation, Script, always, engine, reply
from tests.proxy.whole import MODELS, backend, whole

ACME, ACME_LINE = make("acme")
OPS, OPS_LINE = make("ops")
GOOD = always(reply(b"{}"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A tenant and an admin."""
    (tmp_path / "keys").write_text(ACME_LINE)
    (tmp_path / "admins").write_text(OPS_LINE)
    return Config(
        auth=AuthConfig(keys_file=str(tmp_path / "keys")),
        admin=AdminConfig(keys_file=str(tmp_path / "admins")),
    )


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


async def status(proxy: Proxy, line: str, *headers: str) -> int:
    """The status of one request."""
    client = await proxy.dial()
    client.say("\r\n".join([f"{line} HTTP/1.1", "Host: p", *headers, "", ""]).encode())
    return (await client.answer()).status


def echo(seen: list[str]) -> Script:
    """An engine that keeps the heads it is sent."""

    async def script(conversation: Conversation) -> None:
        while True:
            seen.append((await conversation.request())[0])
            await conversation.say(reply(b"{}"))

    return script


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Bearer wrong",),
        ("Authorization: Basic " + ACME,),
        ("Authorization: Bearer " + ACME_LINE.rpartition(":")[2],),
        ("Authorization:",),
        ("X-Paceline-Key: wrong", bearer(ACME)),
        ("X-Api-Key: ",),
    ],
)
async def test_without_a_key_nothing_is_served(config: Config, headers: tuple[str, ...]) -> None:
    """A 401 before the body is read; the hash is no key; the proxy's own header goes first."""
    async with proxied(GOOD, config=config) as proxy:
        client = await proxy.dial()
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: p", *headers, "Content-Length: 9999"]
        client.say("\r\n".join([*lines, "", "{"]).encode())
        answer = await client.answer()
        record = await proxy.records.get()
    assert (answer.status, answer.headers("connection")) == (401, ["close"])
    assert answer.headers("www-authenticate") == ["Bearer"]
    assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"
    assert (record.outcome, record.reason) == ("rejected", "invalid_api_key")
    assert proxy.engines[0].conversations == []


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer ", "authorization: bearer  ", "X-Api-Key: "]
)
async def test_the_key_names_the_tenant_and_goes_no_further(config: Config, header: str) -> None:
    """Nobody can be another tenant by a header, and engines never see our keys."""
    seen: list[str] = []
    async with proxied(echo(seen), config=config) as proxy:
        client = await proxy.dial()
        lines = (header + ACME, "X-Paceline-Tenant: other", "X-Other: kept")
        await client.post(CHAT, "/v1/chat/completions", *lines)
        assert (await client.answer()).status == 200
        assert (await proxy.records.get()).tenant == "acme"
    assert ACME not in seen[0]
    assert "tenant" not in seen[0].lower()
    assert "X-Other: kept" in seen[0]


async def test_the_engines_own_key_passes(config: Config) -> None:
    """With the proxy's key in a header of its own, Authorization is for the engine."""
    seen: list[str] = []
    async with proxied(echo(seen), config=config) as proxy:
        client = await proxy.dial()
        lines = (f"X-Paceline-Key: {ACME}", bearer("engine's"))
        await client.post(CHAT, "/v1/chat/completions", *lines)
        assert (await client.answer()).status == 200
    assert "\r\nAuthorization: Bearer engine's\r\n" in seen[0]
    assert ACME not in seen[0]


async def test_without_keys_credentials_pass() -> None:
    """A proxy that asks for none leaves it to the engine."""
    seen: list[str] = []
    async with proxied(echo(seen)) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions", bearer("k"), "X-Api-Key: q")
        await client.answer()
    assert "\r\nAuthorization: Bearer k\r\nX-Api-Key: q\r\n" in seen[0]


async def test_a_backends_own_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """To watch it, and with requests, instead of the client's; it is not shown anywhere."""
    monkeypatch.setenv("ENGINE_KEY", "sk-engine")
    seen: list[str] = []

    async def script(conversation: Conversation) -> None:
        while True:
            seen.append((await conversation.request())[0])
            await conversation.say(MODELS)

    async with engine(script) as one:
        configured = backend(one.port)
        configured.api_key_env = "ENGINE_KEY"
        async with whole(Config(backends=[configured])) as proxy:
            assert (await proxy.chat(bearer("client's"))).status == 200
            shown = repr(proxy.proxy.backends.directory["e0"])
            shown += (await proxy.ask("GET", "/paceline/state")).body.decode()
    assert seen
    assert all("\r\nAuthorization: Bearer sk-engine\r\n" in head for head in seen)
    assert not any("client's" in head for head in seen)
    assert "sk-engine" not in shown


@pytest.mark.parametrize(
    ("line", "acme", "ops"),
    [
        ("GET /v1/models", 200, 200),
        ("GET /v1/models/m", 200, 200),
        ("GET /v1/models/a/../../flush_cache", 403, 404),
        ("GET /v1/models/%2e%2e/%2e%2e/flush_cache", 403, 404),
        ("GET /v1/models/%252e%252e/flush_cache", 403, 404),
        ("GET //v1/models", 403, 200),
        ("POST /v1/embeddings", 200, 200),
        ("POST /v1/load_lora_adapter", 403, 200),
        ("POST /flush_cache", 403, 200),
        ("GET /flush_cache", 403, 200),
        ("POST /update_weights_from_disk", 403, 200),
        ("POST /abort_request", 403, 200),
        ("POST /health", 403, 200),
        ("GET /metrics", 401, 200),
        ("GET /%6Detrics", 401, 200),
        ("GET /paceline/state", 401, 200),
    ],
)
async def test_tenants_are_no_admins(config: Config, line: str, acme: int, ops: int) -> None:
    """A tenant may generate and list models; what changes an engine or the proxy is for admins."""
    async with proxied(always(MODELS), config=config) as proxy:
        assert await status(proxy, line, bearer(ACME)) == acme
        assert await status(proxy, line, bearer(OPS)) == ops


async def test_tenants_change_no_backends(config: Config) -> None:
    """That takes an admin's key."""
    config.backends = [backend(9)]
    async with whole(config, up=False) as proxy:
        for key, status in ((ACME, 401), (OPS, 202)):
            answer = await proxy.ask("DELETE", "/paceline/backends/e0", None, bearer(key))
            assert answer.status == status


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_is_open(config: Config, path: str) -> None:
    """Whoever watches over the proxy has no key."""
    async with proxied(GOOD, config=config) as proxy:
        assert await status(proxy, f"GET {path}") == 200


def password(key: str) -> str:
    """What a browser sends that was given the key as a password."""
    return f"Authorization: Basic {base64.b64encode(f'me:{key}'.encode()).decode()}"


@pytest.mark.parametrize("path", ["/paceline/ui", "/paceline/ui/state"])
async def test_browsers_show_the_dashboard_with_a_password(config: Config, path: str) -> None:
    """They cannot set headers, but ask for a password when told to; a tenant's key is none."""
    async with whole(config, up=False) as proxy:
        refused = await proxy.ask("GET", path)
        assert refused.status == 401
        assert refused.headers("www-authenticate")[0].startswith('Basic realm="paceline')
        for key, status in ((OPS, 200), (ACME, 401), ("", 401)):
            assert (await proxy.ask("GET", path, None, password(key))).status == status
        assert (await proxy.ask("GET", path, None, bearer(OPS))).status == 200
        assert (await proxy.ask("GET", path, None, "Authorization: Basic ?")).status == 401


@pytest.mark.parametrize(
    "line", ["GET /paceline/state", "GET /metrics", "DELETE /paceline/backends/e0"]
)
async def test_a_password_does_nothing_else(config: Config, line: str) -> None:
    """Browsers add it to whatever any page makes them send."""
    async with whole(config, up=False) as proxy:
        method, path = line.split()
        answer = await proxy.ask(method, path, None, password(OPS))
    assert (answer.status, answer.headers("www-authenticate")) == (401, ["Bearer"])


async def test_admins_may_have_a_listener_of_their_own() -> None:
    """Then the other one does not even have the paths, and that one has nothing else."""
    config = Config(admin=AdminConfig(port=0), backends=[backend(9)])
    async with whole(config, up=False) as proxy:
        for path in ("/metrics", "/paceline/state", "/paceline/backends", "/paceline/ui"):
            assert (await proxy.ask("GET", path)).status == 404
            assert (await proxy.ask("GET", path, port=proxy.admin_port)).status == 200
        assert (await proxy.ask("GET", "/ready", port=proxy.admin_port)).status == 503
        assert (await proxy.ask("GET", "/v1/models", port=proxy.admin_port)).status == 404
        change = await proxy.ask("DELETE", "/paceline/backends/e0", port=proxy.admin_port)
        assert change.status == 403


async def test_rules_can_be_changed() -> None:
    """For connections that are open, too: the gate looks at them anew each time."""
    access = Access()
    asked = await request("GET", "/v1/models")
    access.client(asked)
    access.adopt(Access(Keys([ACME_LINE]), Keys([OPS_LINE])))
    with pytest.raises(ApiError, match="Expected an API key"):
        access.client(asked)
