"""Where a model's config.json and the size of its weights come from."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from paceline.plan.errors import PlanError
from paceline.plan.model import load_model
from paceline.plan.source import find
from paceline.plan.spec import ModelSpec
from tests.plan.models import DATA, shape


class Hub(BaseHTTPRequestHandler):
    """Has one model, and an index of its weights."""

    files = {  # noqa: RUF012
        "/a/b/resolve/main/config.json": (DATA / "Yi-6B" / "config.json").read_bytes(),
        "/a/b/resolve/main/model.safetensors.index.json": b'{"metadata":{"total_size":12}}',
        "/a/c/resolve/main/config.json": b"{}",
    }

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def test_from_the_hub(hub: str, tmp_path: Path) -> None:
    """A name is looked up where HF_ENDPOINT says; the index of the weights tells their size."""
    files = find("a/b", tmp_path)
    assert (files.model, files.weight_bytes) == ("a/b", 12)
    assert json.loads(files.config)["hidden_size"] == 4096
    assert find("a/c", tmp_path).weight_bytes is None


def test_not_on_the_hub(hub: str, tmp_path: Path) -> None:
    """The error names both places that were tried and what to do."""
    with pytest.raises(PlanError, match=r"a/none does not exist and .*404.*; download"):
        find("a/none", tmp_path)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a network the error comes at once and is one line."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(PlanError, match=r"cannot be read: .*refused"):
        find("a/b", tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    """What cannot be a name on the Hub is not asked for there."""
    with pytest.raises(PlanError, match="no such file or folder"):
        find("./models/yi", tmp_path)
    with pytest.raises(PlanError, match=r"config\.json: No such file"):
        find(".", tmp_path)


def folder(tmp_path: Path, **changes: object) -> Path:
    """A folder with Yi-6B's config.json, changed."""
    config = json.loads((DATA / "Yi-6B" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    return tmp_path


def weights(path: Path) -> int:
    """What its weights take on the GPU."""
    return load_model(ModelSpec(model=".", name="m"), path).weight_bytes


def test_weights_in_files(tmp_path: Path) -> None:
    """The files' size counts; fp32 checkpoints are halved as engines load them."""
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert weights(folder(tmp_path)) == 1000
    assert weights(folder(tmp_path, torch_dtype="float32")) == 500


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"model_type": "falcon"}, "parameters of `falcon` cannot be counted"),
        ({"text_config": {"hidden_size": 1}}, "multimodal"),
        ({"mamba_d_state": 16}, "state-space"),
        ({"hidden_size": "x"}, "Expected `int`"),
        ({"num_attention_heads": 0}, "without layers or heads"),
    ],
)
def test_what_cannot_be_planned(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    """Nothing is guessed: the error says what of config.json stands in the way."""
    with pytest.raises(PlanError, match=reason):
        weights(folder(tmp_path, **changes))


def test_sliding_windows_are_stated() -> None:
    """A window that is on leaves a note; one that is switched off does not count."""
    noted = load_model(ModelSpec(model="Mistral-7B-v0.1", name="m"), DATA).notes
    assert any("upper bound" in note for note in noted)
    assert not shape("Qwen2.5-3B").windowed
