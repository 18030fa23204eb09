"""vLLM: reads `/v1/models` and `/metrics` (for 0.26 to 0.33; tried with 0.32)."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.engines import prometheus
from paceline.engines.adapter import MODELS, Adapter, models
from paceline.engines.base import Facts, Load

METRICS = "/metrics"


def facts(replies: Mapping[str, bytes]) -> Facts:
    """Models, pool, block size and start time; with `--disable-log-stats` only the models.

    Neither `max_num_batched_tokens` nor `max_num_seqs` is told over HTTP.
    """
    metrics = replies.get(METRICS, b"")
    pools = [labels for labels, _ in prometheus.samples(metrics, "vllm:cache_config_info")]
    sizes = [_pool(labels) for labels in pools]
    return Facts(
        kind="vllm",
        models=models(replies.get(MODELS)),
        kv_tokens=sum(filter(None, sizes)) or None,
        block_size=_number(pools[0], "block_size") if pools else None,
        started_at=started_at(metrics),
    )


def _pool(labels: Mapping[str, str]) -> int | None:
    """Tokens in one engine's pool: told by newer versions (right for hybrid models too), else
    blocks times their size."""
    told = _number(labels, "kv_cache_size_tokens")
    blocks, size = _number(labels, "num_gpu_blocks"), _number(labels, "block_size")
    return told or (blocks * size if blocks and size else None)


def _number(labels: Mapping[str, str], name: str) -> int | None:
    text = labels.get(name, "")
    return int(text) if text.isdecimal() else None


def load(reply: bytes) -> Load | None:
    """Summed over the engines of a data-parallel server; None when metrics are off."""
    running = prometheus.total(reply, "vllm:num_requests_running")
    waiting = prometheus.total(reply, "vllm:num_requests_waiting")
    if running is None or waiting is None:
        return None
    return Load(running=int(running), waiting=int(waiting))


def started_at(reply: bytes) -> float | None:
    """The start of the API server's process, in Unix seconds."""
    return prometheus.total(reply, "process_start_time_seconds")


ADAPTER = Adapter(
    kind="vllm",
    ask=(METRICS,),
    health="/health",
    loads=(METRICS,),
    facts=facts,
    load=load,
    started_at=started_at,
)
