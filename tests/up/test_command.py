"""From a table to the command line of an engine."""

from __future__ import annotations

import sys
from typing import Any, Literal

import pytest

from paceline.up.command import command, flags
from paceline.up.config import EngineConfig


def engine(kind: Literal["vllm", "sglang"] = "vllm", **fields: Any) -> EngineConfig:
    """An engine with its names and its port."""
    return EngineConfig(kind=kind, model="/m", served_name="m", name="m", port=8001, **fields)


def test_a_table_becomes_flags() -> None:
    """Names with hyphens; switches, numbers, several values, and objects as JSON."""
    table = {
        "max_model_len": 8192,
        "enforce-eager": True,
        "never": False,
        "lora-modules": ["a=/a", "b=/b"],
        "speculative-config": {"method": "ngram"},
    }
    assert flags(table) == [
        *("--max-model-len", "8192", "--enforce-eager", "--lora-modules", "a=/a", "b=/b"),
        *("--speculative-config", '{"method": "ngram"}'),
    ]
    assert flags(["--as", "they are"]) == ["--as", "they are"]


def test_vllm() -> None:
    """Its interpreter, its model, and what the proxy needs of it."""
    made = command(engine(gpus=[0, 1], env={"HF_HOME": "/my hub"}, args={"seed": 1}))
    assert str(made) == (
        f"CUDA_VISIBLE_DEVICES=0,1 HF_HOME='/my hub' {sys.executable} "
        "-m vllm.entrypoints.cli.main serve /m --served-model-name m --host 127.0.0.1 --port 8001 "
        "--enable-prompt-tokens-details --seed 1"
    )
    assert made.env["HF_HOME"] == "/my hub"
    assert "PATH" in made.env


def test_sglang_in_an_environment_of_its_own() -> None:
    """A default gives way to the same flag; no GPU is none, and not all of them."""
    made = command(
        engine("sglang", python="/v/bin/python", gpus=[], args=["--schedule-policy=lpm"])
    )
    assert made.words == [
        *("/v/bin/python", "-m", "sglang.launch_server", "--model-path", "/m"),
        *("--served-model-name", "m", "--host", "127.0.0.1", "--port", "8001"),
        *("--enable-cache-report", "--schedule-policy=lpm"),
    ]
    assert made.added == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize("program", [["vllm", "serve"], ["numactl", "-N", "0", "vllm", "serve"]])
def test_another_program(program: list[str]) -> None:
    """It takes the same flags."""
    made = command(engine(command=program))
    assert made.words[: len(program) + 1] == [*program, "/m"]
    assert made.added == {}
