"""What the adapters for the engines have in common: the facts they find and how."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["vllm", "sglang", "openai"]


def native(path: str, model: str = "") -> str:
    """What the scheduler calls a model behind an API of the engine's own, such as `/generate`.

    Other engines may serve the same model and not know that path.
    """
    return f"{path} {model}" if model else path


OWNERS: dict[str, Kind] = {
    "/encode": "sglang",
    "/flush_cache": "sglang",
    "/get_model_info": "sglang",
    "/get_server_info": "sglang",
    "/health_generate": "sglang",
    "/load": "vllm",
    "/model_info": "sglang",
    "/reset_prefix_cache": "vllm",
    "/server_info": "sglang",
    "/version": "vllm",
}
"""Who has the paths that clients ask for and the other engine answers with 404 (the engines'
/openapi.json, vLLM 0.32 and SGLang 0.5.23)."""


class Facts(Struct, frozen=True, kw_only=True):
    """What an engine says of itself; None where it says nothing."""

    kind: Kind
    models: tuple[str, ...] = ()
    kv_tokens: int | None = None
    chunk_tokens: int | None = None
    max_running: int | None = None
    block_size: int | None = None
    """Tokens in a block (vLLM) or page (SGLang)."""
    attention: str | None = None
    """Whose kernels compute the attention of its prefills (SGLang's backends)."""
    started_at: float | None = None
    """The engine's own start time (Unix seconds): another one means that it restarted."""


class Load(Struct, frozen=True, kw_only=True):
    """How busy an engine says it is."""

    running: int
    waiting: int
