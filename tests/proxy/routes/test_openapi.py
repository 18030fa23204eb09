"""The description of the proxy's own routes is what they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, Config
from paceline.proxy.routes.openapi import PATH, document
from tests.proxy.rig import Answer
from tests.proxy.whole import backend, whole

KEY, LINE = make("ops")
EXAMPLES: dict[tuple[str, str], Any] = {
    ("post", "/paceline/backends"): {"url": "http://127.0.0.1:9", "name": "new"},
    ("patch", "/paceline/backends/{name}"): {"draining": True},
}


def references(value: object) -> set[str]:
    """All `$ref`s in it."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    """So that clients can be generated from it."""
    described = json.loads(document())
    for reference in references(described):
        found: Any = described
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A proxy with an admin's key and a backend."""
    (tmp_path / "admins").write_text(LINE)
    admin = AdminConfig(keys_file=str(tmp_path / "admins"), backend_hosts=["127.0.0.1/32"])
    return Config(admin=admin, backends=[backend(9)])


def check(answer: Answer, responses: dict[str, Any], described: dict[str, Any]) -> None:
    """The answer's status is listed, and its fields are those of the schema."""
    found = responses.get(str(answer.status)) or responses[f"{answer.status // 100}XX"]
    if reference := found.get("$ref"):
        found = described["components"]["responses"][reference.rpartition("/")[2]]
    schema = found.get("content", {}).get("application/json", {}).get("schema")
    if schema is not None:
        named = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(json.loads(answer.body)) == set(named["properties"])


async def test_routes_answer_as_described(config: Config) -> None:
    """Each with and without a key, with a body that fits and with one that does not."""
    described = json.loads(document())
    async with whole(config, up=False) as proxy:
        served = await proxy.ask("GET", PATH, None, f"Authorization: Bearer {KEY}")
        assert json.loads(served.body) == described
        for path, item in described["paths"].items():
            for method in ("get", "post", "patch", "delete"):
                if method not in item:
                    continue
                responses = item[method]["responses"]
                at = path.replace("{name}", "e0")
                example = EXAMPLES.get((method, path))
                key = f"Authorization: Bearer {KEY}"
                answers = [await proxy.ask(method.upper(), at, example)]
                if example is not None:
                    answers.append(await proxy.ask(method.upper(), at, {"nonsense": []}, key))
                answers.append(await proxy.ask(method.upper(), at, example, key))
                for answer in answers:
                    check(answer, responses, described)
                assert str(answers[-1].status) in responses
