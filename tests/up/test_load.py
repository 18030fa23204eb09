"""The file of `paceline up`: what it becomes, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.proxy.process.load import ConfigError, load_config
from paceline.up.load import Loaded, load

TWO = """
[server]
port = 9000
[[engines]]
kind = "vllm"
model = "org/small"
port = 8001
backend = { max_running = 16 }
[[engines]]
kind = "sglang"
model = "/models/large/"
name = "big"
[[backends]]
url = "http://10.0.0.7:8000"
models = ["far"]
[[rules]]
to = "large"
"""


def loaded(folder: Path, text: str) -> Loaded:
    """What is read of a file with this text."""
    (folder / "up.toml").write_text(text)
    return load(folder / "up.toml")


def test_engines_are_backends(tmp_path: Path) -> None:
    """Each under its name, at its port or a free one, with its model; behind the file's own."""
    found = loaded(tmp_path, TWO)
    far, small, big = found.config.backends
    assert (far.name, far.models) == ("10.0.0.7:8000", ["far"])
    assert (small.name, small.url, small.kind) == ("small", "http://127.0.0.1:8001", "vllm")
    assert (small.models, small.max_running) == (["small"], 16)
    assert (big.name, big.kind, big.models) == ("big", "sglang", ["large"])
    assert big.url == f"http://127.0.0.1:{found.engines[1].port}"
    assert found.config.server.port == 9000


def test_a_reload_keeps_the_engines(tmp_path: Path) -> None:
    """Their addresses stay, also the ports that were found; the rest is as the file says now."""
    before = loaded(tmp_path, TWO)
    now = loaded(tmp_path, TWO.replace("10.0.0.7", "10.0.0.9").replace('name = "big"', ""))
    backends = now.keeping(before).backends
    assert [b.name for b in backends] == ["10.0.0.9:8000", "small", "big"]
    assert backends[1:] == before.config.backends[1:]


ENGINE = '[[engines]]\nkind = "vllm"\nmodel = "m"\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "$.engines: there are none; `paceline serve`"),
        ("[[engine]]", "$.engine: unknown key; did you mean `engines`?"),
        ('[[engines]]\nkind = "vllm"', "$.engines[0].model: must be given"),
        (
            '[[engines]]\nkind = "trt"\nmodel = "m"',
            "$.engines[0].kind: unknown value `trt`; known: vllm, sglang",
        ),
        (ENGINE + 'model_name = "x"', "$.engines[0].model_name: unknown key"),
        (ENGINE + "port = 0", "$.engines[0].port: must be positive"),
        (ENGINE + 'name = "a/b"', "$.engines[0].name: expected letters, digits"),
        (ENGINE + 'python = "p"\ncommand = ["c"]', "$.engines[0].command: takes the place of"),
        (ENGINE + "args = {port = 1}", "$.engines[0].args: --port is set by `port`"),
        (ENGINE + 'args = ["--model=x"]', "$.engines[0].args: --model is set by `model`"),
        (ENGINE + 'backend = {url = "x"}', "$.engines[0].backend.url: is the engine's own"),
        (ENGINE + "backend = {kv_token = 1}", "$.engines[0].backend.kv_token: unknown key; did"),
        (ENGINE + "backend = {kv_tokens = -1}", "$.backends[0].kv_tokens: must be positive"),
        (ENGINE + ENGINE, "$.engines[1].name: `m` is $.engines[0]'s already"),
        (ENGINE + '[[rules]]\nto = "n"', "$.rules[0].to: no engine serves `n`; known: m"),
        (ENGINE + "[up]\nmax_crashes = 0", "$.up.max_crashes: must be positive"),
        (ENGINE.replace('"m"', '""'), "$.engines[0].model: expected a folder or a name"),
    ],
)
def test_mistakes_are_named(text: str, error: str, tmp_path: Path) -> None:
    """One line with the file, the key and the matter."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert f"{tmp_path}/up.toml: {error}" in str(caught.value)


def test_serve_and_check_say_whose_file_it_is(tmp_path: Path) -> None:
    """Who gives it to `paceline serve` is told of `paceline up`."""
    (tmp_path / "up.toml").write_text(ENGINE)
    with pytest.raises(ConfigError, match=r"\$\.engines: `paceline up` starts engines"):
        load_config(tmp_path / "up.toml")
