"""What `paceline serve` prints once it listens: where it is and a curl line that works."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from paceline import __version__
from paceline.proxy.config import Config
from paceline.scheduler.snapshot import BackendSnapshot


def banner(config: Config, base: str, backends: Sequence[BackendSnapshot]) -> str:
    """The text; `base` is the proxy's address, `backends` what was found of the engines."""
    rows = [
        ("policy", config.policy.name),
        *(("backend", _backend(config, backend)) for backend in backends),
        ("dashboard", f"{base}/paceline/ui"),
        ("metrics", f"{base}/metrics"),
    ]
    table = "".join(f"  {key:<10}{value}\n" for key, value in rows)
    return (
        f"paceline {__version__} listens on {base}\n{table}\nTry it:\n\n  {_curl(base, backends)}\n"
    )


def _backend(config: Config, backend: BackendSnapshot) -> str:
    url = next((b.url for b in config.backends if b.name == backend.id), "")
    where = url if url.partition("://")[2] == backend.id else f"{backend.id} at {url}"
    if not backend.up:
        return f"{where} (down: asked again until it answers)"
    return f"{where} ({', '.join(backend.models) or 'no model'})"


def _curl(base: str, backends: Sequence[BackendSnapshot]) -> str:
    model = next((b.models[0] for b in backends if b.up and b.models), "MODEL")
    message = {"role": "user", "content": "Say hello."}
    body = {"model": model, "messages": [message], "max_tokens": 16, "stream": True}
    data = msgspec.json.encode(body).decode().replace("'", r"'\''")
    return f"curl -N {base}/v1/chat/completions -H 'Content-Type: application/json' -d '{data}'"
