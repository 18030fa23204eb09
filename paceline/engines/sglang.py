"""SGLang: reads `/server_info` and `/v1/loads` (for 0.5.16 to 0.5.23; tried with 0.5.23)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from paceline.engines import prometheus
from paceline.engines.adapter import MODELS, Adapter, models
from paceline.engines.base import Facts, Load

SERVER_INFO = "/server_info"
"""Also the health check: the scheduler itself answers it, while `/health` sleeps for a second and
generates a token whenever the engine is idle."""
LOADS = "/v1/loads?include=core"


class _Startup(Struct):
    load_weight: float = 0.0
    kv_cache_allocation: float = 0.0
    scheduler_e2e: float = 0.0
    tokenizer_e2e: float = 0.0


class _State(Struct):
    effective_max_running_requests_per_dp: int | None = None


class ServerInfo(Struct):
    """The fields of `/server_info` that matter, of some 500."""

    max_total_num_tokens: int | None = None
    """KV pool of each data-parallel rank."""
    chunked_prefill_size: int | None = None
    max_prefill_tokens: int | None = None
    max_running_requests: int | None = None
    page_size: int | None = None
    attention_backend: str | None = None
    prefill_attention_backend: str | None = None
    dp_size: int = 1
    random_seed: int | None = None
    startup_time: _Startup | None = None
    internal_states: list[_State] = []


class _Rank(Struct):
    num_running_reqs: int
    num_waiting_reqs: int


class _Loads(Struct):
    loads: list[_Rank]


_info = msgspec.json.Decoder(ServerInfo)
_loads = msgspec.json.Decoder(_Loads)


def server_info(reply: bytes | None) -> ServerInfo | None:
    """The reply, unless another engine gave it (vLLM has a `/server_info` in development mode)."""
    try:
        info = _info.decode(reply or b"")
    except (ValueError, RecursionError):
        return None
    return None if info.max_total_num_tokens is None else info


def facts(replies: Mapping[str, bytes]) -> Facts:
    """Models, pool, chunk and limits, summed over the data-parallel ranks."""
    names = models(replies.get(MODELS))
    info = server_info(replies.get(SERVER_INFO))
    if info is None:
        return Facts(kind="sglang", models=names)
    chunk = info.chunked_prefill_size or 0
    return Facts(
        kind="sglang",
        models=names,
        kv_tokens=(info.max_total_num_tokens or 0) * info.dp_size or None,
        chunk_tokens=chunk if chunk > 0 else info.max_prefill_tokens,  # -1: not chunked
        max_running=_max_running(info),
        block_size=info.page_size,
        attention=info.prefill_attention_backend or info.attention_backend,
        started_at=_fingerprint(info),
    )


def _max_running(info: ServerInfo) -> int | None:
    """What the scheduler settled on, else what was asked for."""
    ranks = [state.effective_max_running_requests_per_dp or 0 for state in info.internal_states]
    return sum(ranks) or info.max_running_requests


def _fingerprint(info: ServerInfo) -> float | None:
    """SGLang tells no start time; the durations of its start, measured to the nanosecond, and the
    seed it drew differ from one start to the next and stand in for it."""
    if info.startup_time is None:
        return info.random_seed
    durations: tuple[float, ...] = msgspec.structs.astuple(info.startup_time)
    return (info.random_seed or 0) + sum(durations)


def started_at(reply: bytes) -> float | None:
    """From a reply of `/server_info`; see `_fingerprint`."""
    info = server_info(reply)
    return None if info is None else _fingerprint(info)


def load(reply: bytes) -> Load | None:
    """From `/v1/loads`, or from `/metrics` where that is all there is; None for anything else."""
    try:
        ranks = _loads.decode(reply).loads
    except (ValueError, RecursionError):
        return _load_of_metrics(reply)
    return Load(
        running=sum(rank.num_running_reqs for rank in ranks),
        waiting=sum(rank.num_waiting_reqs for rank in ranks),
    )


def _load_of_metrics(reply: bytes) -> Load | None:
    running = prometheus.total(reply, "sglang:num_running_reqs")
    waiting = prometheus.total(reply, "sglang:num_queue_reqs")
    if running is None or waiting is None:
        return None
    return Load(running=int(running), waiting=int(waiting))


ADAPTER = Adapter(
    kind="sglang",
    ask=(SERVER_INFO,),
    health=SERVER_INFO,
    native=("/generate",),
    loads=(LOADS, "/metrics"),
    facts=facts,
    load=load,
    started_at=started_at,
)
