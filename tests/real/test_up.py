"""`paceline up` with both engines: started, routed by name and by rule, restarted, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.real import layout, tiny_llama
from tests.real.client import Json, ask, completion, until
from tests.real.engines import START_SECONDS, options
from tests.real.process import Process, free_port
from tests.real.proxy import MAIN, STOP_SECONDS, Proxy, all_up
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SERVED: dict[layout.Kind, str] = {"vllm": "small", "sglang": "large"}
RULES = """
[[rules]]
models = ["gpt-4*"]
to = "small"
[[rules]]
min_prompt_tokens = 500
to = "large"
"""


def file(folder: Path, port: int) -> Path:
    """Two engines without a GPU, so that neither waits for the other; long prompts go to one."""
    model = tiny_llama.write(folder / "model")
    lines = [
        f"server = {{ port = {port}, drain_seconds = 5.0 }}",
        f'up = {{ log_dir = "{folder}" }}',
        "upstream = { probe_seconds = 0.5 }",
        RULES,
    ]
    for kind, name in SERVED.items():
        lines += ["[[engines]]", f'kind = "{kind}"', f'model = "{model}"']
        lines += [f'served_name = "{name}"', f'python = "{layout.python(kind)}"', "gpus = []"]
        lines += ["[engines.env]", *table(added(kind))]
        lines += ["[engines.args]", *table(options(kind))]
    (folder / "up.toml").write_text("\n".join(lines))
    return folder / "up.toml"


def added(kind: layout.Kind) -> dict[str, str]:
    """What an engine's environment has beside ours."""
    ours = environment().items()
    return dict(layout.environment(kind).items() - ours)


def environment() -> dict[str, str]:
    """Ours, without what would lead an engine's Python to this one's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def table(values: Mapping[str, object]) -> list[str]:
    """As TOML."""
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


class Up(Proxy):
    """The running command."""

    async def engines(self) -> dict[str, Json]:
        """What its state says of engines, by name."""
        reply = await ask(self.url, "/paceline/state")
        return {one["name"]: one for one in json.loads(reply.body)["engines"]}

    async def answers(self, model: str, prompt_tokens: int = 20) -> tuple[str, int]:
        """Which backend answers, and how many tokens; asserts that it is the model chosen."""
        body = completion(words(f"up {prompt_tokens}", prompt_tokens), 6, model=model)
        reply = await ask(self.url, "/v1/completions", body)
        said = reply.events[0]
        assert reply.status == 200, said
        assert said["model"] == reply.headers["x-paceline-backend"]
        return said["model"], said["usage"]["completion_tokens"]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Up]:
    """The command, with both engines up; killed at the block's end if it still runs."""
    port = free_port()
    command = [sys.executable, "-c", MAIN, "up", "-c", str(file(folder, port))]
    process = Process(command, folder / "up.log", environment())
    made = Up(f"http://127.0.0.1:{port}", process)
    try:
        await until("both engines up", made.state, all_up, START_SECONDS)
        yield made
    except BaseException:
        print(process.log_tail())
        raise
    finally:
        process.kill()


async def test_two_models_by_name_and_by_rule_through_a_crash(tmp_path: Path) -> None:
    """Each engine serves its model; aliases and long prompts go where rules say; one that is killed
    comes back while the other serves; at the end nothing of them is left."""
    async with running(tmp_path) as up:
        assert [await up.answers(name) for name in SERVED.values()] == [("small", 6), ("large", 6)]
        assert await up.answers("gpt-4o") == ("small", 6)
        assert await up.answers("small", 1000) == ("large", 6)
        before = await up.engines()

        os.kill(before["small"]["pid"], signal.SIGKILL)
        assert await up.answers("large") == ("large", 6)
        await until("it is missed", up.engines, lambda s: s["small"]["state"] != "ready", 30)
        after = await until(
            "it is back", up.engines, lambda s: s["small"]["state"] == "ready", START_SECONDS
        )
        assert (after["small"]["restarts"], after["large"]["restarts"]) == (1, 0)
        await until("the proxy knows", up.state, all_up, 30)
        assert await up.answers("small") == ("small", 6)

        assert await asyncio.to_thread(up.process.terminate, 2 * STOP_SECONDS) == 0
        for one in after.values():
            with pytest.raises(ProcessLookupError):
                os.killpg(one["pid"], 0)
