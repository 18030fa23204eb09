"""What a plan is written into: files for the proxy, for `paceline up`, and a script of engines."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from paceline.plan.errors import PlanError
from paceline.plan.plan import Plan
from paceline.plan.settings import Settings, arguments, flags

CONFIG = "paceline.toml"
SCRIPT = "engines.sh"


def configuration(plan: Plan) -> str:
    """A paceline.toml with a backend an engine."""
    return "\n".join(_backend(engine) for engine in plan.engines)


def _backend(engine: Settings) -> str:
    spec = engine.demand.model.spec
    return (
        "[[backends]]\n"
        f'url = "http://127.0.0.1:{spec.port}"\n'
        f'kind = "{spec.engine}"\n'
        f"models = [{json.dumps(spec.name)}]\n"  # JSON's strings are TOML's
        f"kv_tokens = {engine.kv_tokens}\n"
        f"max_running = {engine.max_running}\n"
    )


def engines_file(plan: Plan) -> str:
    """A file for `paceline up`: engines in the order in which they must be started."""
    return "\n".join(_engine(engine) for engine in plan.engines)


def _engine(engine: Settings) -> str:
    model, spec = engine.demand.model, engine.demand.model.spec
    python = f"python = {json.dumps(spec.python)}\n" if spec.python else ""
    planned = "".join(f"{name} = {_value(value)}\n" for name, value in flags(engine).items())
    return (
        "[[engines]]\n"
        f'kind = "{spec.engine}"\n'
        f"model = {json.dumps(model.path)}\n"
        f"served_name = {json.dumps(spec.name)}\n"
        f"port = {spec.port}\n"
        f"{python}"
        "gpus = [0]\n"
        f"backend = {{ kv_tokens = {engine.kv_tokens}, max_running = {engine.max_running} }}\n"
        "[engines.args]\n"
        f"{planned}"
    )


def _value(flag: str) -> str:
    """Numbers stand as they are."""
    return flag if flag.replace(".", "", 1).isdecimal() else json.dumps(flag)


def command(engine: Settings) -> str:
    """One line for a shell that starts this engine."""
    return shlex.join(arguments(engine))


def script(plan: Plan) -> str:
    """A shell script that starts the engines in their order, each when the one before answers.

    It ends with the first engine that dies, or by a signal, and ends those that it has started.
    """
    lines = [
        "#!/bin/sh",
        "# One after the other: while an engine measures free memory, no other may change it.",
        "set -e",
        "pids=",
        "trap 'kill $pids 2>/dev/null || true' EXIT",
        "trap 'exit 143' INT TERM",
    ]
    for engine in plan.engines:
        port = engine.demand.model.spec.port
        lines += [
            f"{command(engine)} &",
            'pids="$pids $!"',
            f"until curl -sf -o /dev/null http://127.0.0.1:{port}/health; do",
            "  kill -0 $!",
            "  sleep 1",
            "done",
        ]
    return "\n".join([*lines, "wait", ""])


def write_engines(plan: Plan, path: Path) -> Path:
    """The file for `paceline up`; PlanError when it cannot be written."""
    try:
        path.write_text(engines_file(plan), "utf-8")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    return path


def write(plan: Plan, folder: Path) -> list[Path]:
    """Both files in `folder`, made if need be; PlanError when they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(configuration(plan), "utf-8")
        (folder / SCRIPT).write_text(script(plan), "utf-8")
        (folder / SCRIPT).chmod(0o755)
    except OSError as error:
        raise PlanError(f"{folder}: {error.strerror}") from None
    return [folder / CONFIG, folder / SCRIPT]
