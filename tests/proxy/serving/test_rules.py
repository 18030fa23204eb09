"""Rules: which model serves a request, and what the engine and the client see of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paceline.proxy.config import Config, RuleConfig
from paceline.proxy.process.load import ConfigError, Flags, load_config
from paceline.proxy.serving.rules import Ask, Shape, aliases, choose
from tests.proxy.rig import Proxy, proxied
from tests.proxy.scripted import Conversation, Script, reply

SHORT = Shape(streaming=True, prompt_tokens=100, max_tokens=50)
OPEN = Shape(streaming=False, prompt_tokens=9000, max_tokens=None)


def ask(shape: Shape | None = SHORT, **fields: Any) -> Ask:
    """A request for `m`, unless `fields` say otherwise."""
    plain = {"model": "m", "path": "/v1/completions", "tenant": "acme", "headers": {}}
    return Ask(shape=shape, **plain | fields)


@pytest.mark.parametrize(
    ("conditions", "holds", "fails"),
    [
        ({"models": ["gpt-4*", "m"]}, ask(), ask(model="n")),
        ({"models": ["gpt-4*"]}, ask(model="gpt-4o-mini"), ask(model="")),
        ({"tenants": ["acme"]}, ask(), ask(tenant="")),
        ({"paths": ["/v1/comp*"]}, ask(), ask(path="/generate")),
        ({"headers": {"x-tier": "gold*"}}, ask(headers={"x-tier": "golden"}), ask()),
        ({"streaming": True}, ask(), ask(OPEN)),
        ({"streaming": False}, ask(OPEN), ask(None)),
        ({"max_prompt_tokens": 100}, ask(), ask(OPEN)),
        ({"min_prompt_tokens": 101}, ask(OPEN), ask()),
        ({"max_output_tokens": 50}, ask(), ask(OPEN)),
        ({"min_output_tokens": 51}, ask(OPEN), ask()),
        ({"min_output_tokens": 51}, ask(OPEN), ask(None)),
        ({"tenants": ["acme"], "models": ["m"]}, ask(), ask(model="n")),
    ],
)
def test_conditions(conditions: dict[str, Any], holds: Ask, fails: Ask) -> None:
    """A rule counts where all it names is so, and nowhere else."""
    rules = [RuleConfig(to="other", **conditions)]
    assert choose(rules, holds) == "other"
    assert choose(rules, fails) == fails.model


def test_the_first_one_counts() -> None:
    """Rules are looked at in their order, and one without conditions holds for all that is left."""
    rules = [RuleConfig(to="small", max_prompt_tokens=500), RuleConfig(to="large")]
    assert choose(rules, ask()) == "small"
    assert choose(rules, ask(OPEN)) == "large"
    assert choose(rules, ask(None)) == "large"


def test_only_plain_names_are_listed() -> None:
    """A pattern is no model that a client could ask for."""
    rules = [
        RuleConfig(to="a", models=["x", "y-*"], streaming=True),
        RuleConfig(to="b", models=["x"]),
    ]
    assert aliases(rules) == {"x": "a"}


def keeps(seen: list[dict[str, Any]]) -> Script:
    """An engine that serves `large` and keeps the bodies that it gets."""

    async def script(conversation: Conversation) -> None:
        while True:
            _, body = await conversation.request()
            if body:
                seen.append(json.loads(body) if body[:1] == b"{" else {"form": body})
            await conversation.say(reply(b'{"data":[{"id":"large","root":"L"}]}'))

    return script


RULES = Config(
    rules=[
        RuleConfig(to="large", models=["gpt-4"]),
        RuleConfig(to="large", min_prompt_tokens=50),
        RuleConfig(to="nowhere", models=["lost"]),
    ]
)


def serve_large(proxy: Proxy) -> None:
    """Let the engine be known to be up and to serve it."""
    for entry in proxy.gateway.directory:
        entry.up, entry.models = True, ("large",)


async def test_the_body_names_the_chosen_model() -> None:
    """Scheduled or passed through, in JSON or in a form; all else in a body stays as it was."""
    seen: list[dict[str, Any]] = []
    async with proxied(keeps(seen), config=RULES) as proxy:
        serve_large(proxy)
        for path, body in (
            ("/v1/completions", {"model": "gpt-4", "prompt": "hi", "x": 1.50}),
            ("/v1/completions", {"model": "tiny", "prompt": "hi " * 200}),
            ("/v1/completions", {"prompt": "hi " * 200}),
            ("/v1/completions", {"model": "tiny", "prompt": "hi"}),
            ("/v1/embeddings", {"model": "gpt-4", "input": "hi"}),
            ("/v1/embeddings", {"input": "hi"}),
        ):
            await proxy.ask(json.dumps(body).encode(), path)
    found = [body.get("model") for body in seen]
    assert found == ["large", "large", "large", "tiny", "large", None]
    assert seen[0] == {"model": "large", "prompt": "hi", "x": 1.5}


async def test_the_model_in_a_form() -> None:
    """Uploads are rewritten where they name it."""
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4\r\n--b--\r\n'
    seen: list[dict[str, Any]] = []
    async with proxied(keeps(seen), config=RULES) as proxy:
        serve_large(proxy)
        caller = await proxy.dial()
        kind = "Content-Type: multipart/form-data; boundary=b"
        await caller.post(form, "/v1/audio/transcriptions", kind)
        await caller.answer()
    assert seen == [{"form": form.replace(b"gpt-4", b"large")}]


async def test_aliases_are_listed() -> None:
    """`/v1/models` has the names of rules whose models are up, described as what serves them."""
    async with proxied(keeps([]), config=RULES) as proxy:
        serve_large(proxy)
        caller = await proxy.dial()
        caller.say(b"GET /v1/models HTTP/1.1\r\nHost: p\r\n\r\n")
        listed = json.loads((await caller.answer()).body)["data"]
    assert listed == [{"id": "large", "root": "L"}, {"id": "gpt-4", "root": "L"}]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ('models = ["a"]', "$.rules[0].to: must be given"),
        ('to = ""', "$.rules[0].to: expected a model's name"),
        ('to = "a"\nmodel = ["b"]', "$.rules[0].model: unknown key; did you mean `models`?"),
        ('to = "a"\nmin_prompt_tokens = 9\nmax_prompt_tokens = 5', "is more than max_prompt_tok"),
    ],
)
def test_mistakes_are_named(rule: str, error: str, tmp_path: Any) -> None:
    """A rule that cannot be is refused by place and reason."""
    (tmp_path / "p.toml").write_text(f"[[rules]]\n{rule}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "p.toml", Flags())
    assert error in str(caught.value)
