"""The benchmark clients of the field measure through the proxy what they measure at an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.real import layout
from tests.real.clients import venvs
from tests.real.clients.conftest import Install
from tests.real.clients.run import Run
from tests.real.engines import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

REQUESTS = 16
FAMILIES = 4


def loaded(path: Path) -> Any:
    """A file's JSON."""
    return json.loads(path.read_text())


def options(pairs: Mapping[str, object]) -> list[str]:
    """A command's options."""
    return [part for name, value in pairs.items() for part in (f"--{name}", str(value))]


@pytest.mark.parametrize(
    ("backend", "endpoint"),
    [("openai", "/v1/completions"), ("openai-chat", "/v1/chat/completions")],
)
def test_vllm_bench_serve(
    backend: str, endpoint: str, both: str, model: Path, run: Run, tmp_path: Path
) -> None:
    """Its prefix_repetition workload completes, with a goodput."""
    workload = {
        "backend": backend,
        "base-url": both,
        "endpoint": endpoint,
        "model": MODEL,
        "tokenizer": model,
        "dataset-name": "prefix_repetition",
        "prefix-repetition-prefix-len": 256,
        "prefix-repetition-suffix-len": 32,
        "prefix-repetition-num-prefixes": FAMILIES,
        "prefix-repetition-output-len": 8,
        "num-prompts": REQUESTS,
        "request-rate": 50,
        "result-dir": tmp_path,
        "result-filename": "result.json",
    }
    command = [str(layout.venv("vllm") / "bin" / "vllm"), "bench", "serve", *options(workload)]
    command += ["--ignore-eos", "--save-result", "--goodput", "ttft:60000", "tpot:60000"]
    run(command, layout.environment("vllm"))
    result = loaded(tmp_path / "result.json")
    assert (result["completed"], result["failed"]) == (REQUESTS, 0)
    assert result["total_output_tokens"] == REQUESTS * 8
    assert result["request_goodput"] > 0


@pytest.mark.parametrize("backend", ["sglang-oai", "sglang"])
def test_sglang_bench_serving(
    backend: str, both: str, model: Path, run: Run, tmp_path: Path
) -> None:
    """Its generated-shared-prefix workload completes over OpenAI's API and over its own, and it
    reads SGLang's settings though vLLM is there, too."""
    workload = {
        "backend": backend,
        "base-url": both,
        "model": MODEL,
        "tokenizer": model,
        "dataset-name": "generated-shared-prefix",
        "gsp-num-groups": FAMILIES,
        "gsp-prompts-per-group": REQUESTS // FAMILIES,
        "gsp-system-prompt-len": 256,
        "gsp-question-len": 32,
        "gsp-output-len": 8,
        "request-rate": 50,
        "output-file": tmp_path / "result.jsonl",
    }
    command = [str(layout.python("sglang")), "-m", "sglang.bench_serving", *options(workload)]
    run([*command, "--gsp-send-routing-key"], layout.environment("sglang"))
    result = loaded(tmp_path / "result.jsonl")
    assert result["completed"] == REQUESTS
    assert result["total_output_tokens"] == REQUESTS * 8
    assert result["server_info"]["page_size"] == 1


def test_aiperf(both: str, model: Path, run: Run, install: Install, tmp_path: Path) -> None:
    """All its requests are valid, and it reads the proxy's metrics by itself."""
    workload = {
        "model": MODEL,
        "url": both,
        "endpoint-type": "chat",
        "tokenizer": model,
        "num-prefix-prompts": FAMILIES,
        "prefix-prompt-length": 256,
        "isl": 64,
        "osl": 16,
        "request-count": REQUESTS,
        "concurrency": 8,
        "random-seed": 1,
        "goodput": "time_to_first_token:60000",
        "artifact-dir": tmp_path,
        "ui": "none",
    }
    command = [install(venvs.AIPERF).program("aiperf"), "profile", *options(workload)]
    # Greedy: what random weights draw is often no text at all, which it takes for a failure.
    command += [
        "--streaming",
        "--extra-inputs",
        "ignore_eos:true",
        "--extra-inputs",
        "temperature:0",
    ]
    environment = venvs.environment()
    environment.pop("HF_HUB_OFFLINE", None)  # with it, it takes no folder for a tokenizer
    run(command, environment)
    result = loaded(tmp_path / "profile_export_aiperf.json")
    assert (result["error_summary"], result["request_count"]["avg"]) == ([], REQUESTS)
    assert result["total_usage_prompt_cache_read_tokens"]["avg"] > 0
    metrics = loaded(tmp_path / "server_metrics_export.json")["metrics"]
    assert "paceline_backend_up" in metrics


def test_guidellm(both: str, model: Path, run: Run, install: Install, tmp_path: Path) -> None:
    """All its requests succeed, with as many tokens as it asked for."""
    data = "kind=synthetic_text,prompt_tokens=64,output_tokens=8,prefix_tokens=256"
    workload = {
        "backend": f"kind=openai_http,target={both},model={MODEL}",
        "profile": "kind=poisson,rate=20",
        "constraint": f"kind=max_requests,count={REQUESTS}",
        "tokenizer": f"kind=huggingface_auto,model={model}",
        "data": f"{data},prefix_count={FAMILIES}",
        "output": f"kind=json,path={tmp_path / 'result.json'}",
    }
    command = [install(venvs.GUIDELLM).program("guidellm"), "run", *options(workload)]
    environment = venvs.environment() | {"HF_HUB_OFFLINE": "1"}
    run([*command, "--disable-console-interactive"], environment)
    (benchmark,) = loaded(tmp_path / "result.json")["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"], totals["incomplete"]) == (REQUESTS, 0, 0)
