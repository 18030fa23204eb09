"""What every engine model takes and gives: requests, steps, outputs, load, and the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from paceline.engines.model.presets import PRESETS
from paceline.engines.model.sglang_release import SglangRelease
from paceline.engines.model.steptime import StepTime

ModelKind = Literal["vllm", "sglang"]
EnginePolicy = Literal["fcfs", "priority", "lpm", "dfs-weight", "hrrn", "random"]


class EngineConfig(Struct, frozen=True, kw_only=True):
    """One engine: its dialect, its hardware and its launch options."""

    kind: ModelKind = "vllm"
    time: StepTime = PRESETS["llama-3.1-8b-h100"].vllm
    """How long a step takes; take it from `presets.PRESETS`, from the column of the same kind."""
    kv_tokens: int = PRESETS["llama-3.1-8b-h100"].kv_tokens
    """Size of the KV pool in tokens, rounded down to whole blocks."""
    block_size: int | None = None
    """Tokens in a block (vLLM, default 16) or page (SGLang, default 1)."""
    chunk_tokens: int = 8192
    """Prefill budget of a step: vLLM's `max_num_batched_tokens`, which decodes share, or SGLang's
    `chunked_prefill_size`; both are 8192 by default on an H100."""
    max_running: int | None = None
    """vLLM's `max_num_seqs` (default 1024) or SGLang's `max_running_requests` (default 2048)."""
    policy: EnginePolicy = "fcfs"
    """vLLM: fcfs or priority. SGLang: any but priority; see `sglang_order`."""
    priority: bool = False
    """SGLang's `--enable-priority-scheduling` (with fcfs) and `--disable-priority-preemption`."""
    seed: int = 0
    """Of SGLang's `random` policy."""
    release: SglangRelease = "0.5.23"
    """SGLang's, where rules differ: see `sglang_release`."""


class SequenceRequest(Struct, frozen=True, kw_only=True):
    """One request with its future: the true output length, which no scheduling rule reads."""

    id: str
    prompt: Sequence[int]
    """Token ids, each below 2**32; at least one."""
    output_tokens: int
    """True length of each answer in tokens, at least 1."""
    max_tokens: int | None = None
    """The client's limit, the only length that schedulers see; None when it set none."""
    output: Sequence[int] = ()
    """Ids of choice 0, `output_tokens` of them, where a later prompt may contain this answer; other
    choices, and answers without ids, get ids that nobody shares."""
    n: int = 1
    """Answers sampled from the one prompt."""
    priority: int = 0
    """As the engine reads it: vLLM serves the lowest first, SGLang the highest."""


class Output(Struct, frozen=True, gc=False):
    """One token of one choice, visible at the end of the step that made it."""

    request_id: str
    index: int
    """Which of the `n` choices."""
    tokens: int
    """Tokens of this choice so far, this one included."""
    finished: bool
    """Whether this choice ends here."""
    cached_tokens: int
    """Prompt tokens that the engine had when it first admitted this choice."""


class Step(Struct, frozen=True):
    """One forward pass; what it yields is visible when it ends, `duration` after it began."""

    start: float
    duration: float
    """Seconds."""
    prefill_tokens: int
    decodes: int
    outputs: list[Output]
    """In batch order. Ignore those of a request that was aborted before the step ended."""


class EngineLoad(Struct, frozen=True, kw_only=True):
    """What the engine would report now; the counters only grow."""

    running: int
    waiting: int
    kv_used: int
    """Tokens of the pool that running requests hold; what is merely cached counts as free."""
    kv_tokens: int
    query_tokens: int
    """Prompt tokens of all requests admitted so far."""
    hit_tokens: int
    """Those of them that the engine had in its cache."""
    preemptions: int
    """Preemptions by recomputation (vLLM) or retractions (SGLang)."""
    evicted_tokens: int
    prefill_tokens: int
    """Prompt tokens computed, those computed again included."""
    output_tokens: int


class Engine(Protocol):
    """An engine in virtual time. Call `step` when the last one ends, or after `add` when idle."""

    def add(self, request: SequenceRequest, now: float) -> None:
        """Queue `request`; ValueError when it can never fit the pool or its id is in use."""
        ...

    def abort(self, request_id: str) -> bool:
        """End `request_id` at once and free what it holds; False when it is not here."""
        ...

    def step(self, now: float) -> Step | None:
        """End the step under way, if any, and begin the next; None when there is nothing to do."""
        ...

    def ahead(self) -> list[float]:
        """Seconds of the steps right after the one under way, as far as all of them and that one
        surely bring each running sequence a token, neither its first nor its last, unless somebody
        comes or is aborted; the last of them alone may bring an end. Ask right after `step`."""
        ...

    def skip(self, steps: int, now: float) -> Step:
        """What so many calls of `step` would do, the last one at `now`; at most as `ahead` said."""
        ...

    def load(self) -> EngineLoad:
        """The engine's figures as of the last call."""
        ...

    def flush_cache(self) -> bool:
        """Forget every cached prefix; False, and nothing happens, while a request is here."""
        ...
