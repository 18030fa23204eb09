"""What people have around an engine: SGLang's frontend language, LangChain, LiteLLM."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.real import layout
from tests.real.clients import venvs
from tests.real.clients.conftest import Install
from tests.real.clients.run import Run
from tests.real.engines import MODEL
from tests.real.process import CHECKOUT, Process, free_port
from tests.real.proxy import Proxy

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PROGRAMS = CHECKOUT / "tests" / "real" / "clients" / "programs"
READY_SECONDS = 120.0
KEY = "sk-of-litellm"


def printed(output: str) -> Any:
    """The JSON in a program's output, which is a line of it."""
    return next(json.loads(line) for line in output.splitlines() if line.startswith("{"))


def test_sglangs_frontend_language(both: str, run: Run) -> None:
    """A program with forks, a regex and a choice runs, though vLLM is there, too."""
    program = [str(layout.python("sglang")), str(PROGRAMS / "frontend.py"), both]
    result = printed(run(program, layout.environment("sglang")))
    assert len(re.findall(r"[a-c]{3}-[0-9]{2}\n", result["one"])) == 3
    assert result["one"].endswith(("yes", "no"))
    assert len(result["sure"]) == 4
    assert set(result["sure"]) <= {"yes", "no"}
    assert "".join(result["pieces"]) == result["one"]


@pytest.mark.parametrize("kind", layout.KINDS)
def test_langchain(kind: str, proxies: dict[str, Proxy], run: Run, install: Install) -> None:
    """Chat, stream, batch, completion, structured outputs both ways, responses."""
    python = install(venvs.LANGCHAIN).program("python")
    program = [python, str(PROGRAMS / "langchain_chat.py"), proxies[kind].url, MODEL]
    result = printed(run(program, venvs.environment()))
    assert 0 < result["chat"] <= 100
    assert (result["batch"], result["streamed"], result["responses"]) == (3, True, True)
    assert result["text"] > 0
    assert result["schema"].keys() == result["function"].keys() == {"colour", "sure"}


def test_langchains_embeddings(embedder: str, run: Run, install: Install) -> None:
    """A vector for each text, from the one engine that makes them."""
    python = install(venvs.LANGCHAIN).program("python")
    program = [python, str(PROGRAMS / "langchain_embeddings.py"), embedder, f"{MODEL}-embed"]
    one, two, again = printed(run(program, venvs.environment()))["vectors"]
    assert one == pytest.approx(again, abs=1e-4)
    assert one != pytest.approx(two, abs=1e-4)


@pytest.fixture
def litellm(both: str, install: Install, tmp_path: Path) -> Iterator[openai.OpenAI]:
    """A client of a LiteLLM proxy whose model is paceline's."""
    port = free_port()
    parameters = {"model": f"hosted_vllm/{MODEL}", "api_base": f"{both}/v1", "api_key": "none"}
    models = [{"model_name": "theirs", "litellm_params": parameters}]
    config = tmp_path / "litellm.yaml"
    config.write_text(json.dumps({"model_list": models}))  # JSON is YAML
    command = [install(venvs.LITELLM).program("litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = venvs.environment() | {"LITELLM_MASTER_KEY": KEY}
    process = Process(command, tmp_path / "litellm.log", environment)
    try:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            end = time.monotonic() + READY_SECONDS
            while not listening(client):
                assert process.status is None, process.log_tail()
                assert time.monotonic() < end, process.log_tail()
                time.sleep(0.2)
            yield client
    finally:
        process.kill()


def listening(client: openai.OpenAI) -> bool:
    """Whether it answers yet."""
    try:
        client.with_options(max_retries=0).models.list()
    except openai.APIConnectionError:
        return False
    return True


def test_litellm_in_front(litellm: openai.OpenAI) -> None:
    """Chat, stream and completion go through both, and the proxy's headers are still there."""
    raw = litellm.chat.completions.with_raw_response.create(
        model="theirs",
        messages=[{"role": "user", "content": "hello"}],
        temperature=0,
        max_tokens=8,
        extra_body={"ignore_eos": True},
    )
    assert raw.headers["llm_provider-x-paceline-backend"] in layout.KINDS
    chat = raw.parse()
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 8
    stream = litellm.chat.completions.create(
        model="theirs",
        messages=[{"role": "user", "content": "hello"}],
        temperature=0,
        max_tokens=8,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == chat.choices[0].message.content
    text = litellm.completions.create(model="theirs", prompt="hello", max_tokens=8)
    assert text.usage is not None
