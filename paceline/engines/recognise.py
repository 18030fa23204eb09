"""Decides from a server's replies which engine it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from paceline.engines import openai, sglang, vllm
from paceline.engines.adapter import MODELS, Adapter, models, owners
from paceline.engines.base import Kind

ADAPTERS: Mapping[Kind, Adapter] = MappingProxyType(
    {adapter.kind: adapter for adapter in (vllm.ADAPTER, sglang.ADAPTER, openai.ADAPTER)}
)
ASK = ("/version", sglang.SERVER_INFO, vllm.METRICS)
"""What to ask a server of unknown kind, beside `MODELS`."""


def recognise(replies: Mapping[str, bytes]) -> Kind | None:
    """The kind of engine that gave these replies (only those that were 200, by path).

    Both engines sign their model list; where a gateway rewrote it, the metrics and SGLang's
    `/server_info` tell. None while the server does not list its models, so is not ready yet.
    """
    signed = owners(replies.get(MODELS))
    metrics = replies.get(vllm.METRICS, b"")
    if "sglang" in signed or sglang.server_info(replies.get(sglang.SERVER_INFO)):
        return "sglang"
    if "vllm" in signed or b"\nvllm:" in metrics:
        return "vllm"
    if b"\nsglang:" in metrics:
        return "sglang"
    return "openai" if models(replies.get(MODELS)) else None
