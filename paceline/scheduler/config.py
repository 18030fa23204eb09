"""`[scheduler]`: the few numbers that bound the queue and feed the engines."""

from __future__ import annotations

from msgspec import Struct


class SchedulerConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """Settings of the scheduler itself; a policy's own stand in `[policy.settings]`."""

    max_waiting: int = 10_000
    """Requests that may wait; one more is refused with 429."""
    max_waiting_tokens: int = 50_000_000
    """Prompt tokens that may wait in all; beyond it requests are refused with 429."""
    queue_seconds: float = 600.0
    """Longest wait in the queue; then 503."""
    feed_chunks: float = 1.5
    """Uncached prefill work to keep at an engine, in its own chunk budgets: its next step is full
    while news of the last one travels. Much more lets cold prompts pile up there in an order that
    nobody can mend (on an H100 with vLLM, 64 families of 2,000 tokens: 6.4 s at 1.5, 6.8 at 2)."""
    late_feed_chunks: float = 0.75
    """The same for engines that publish prefixes late (`leader_first`, SGLang). Less than one: what
    shares a batch there is computed apart and, with some kernels, padded to the longest, so that a
    leader is better not mixed with others' followers (docs/design.md has the figures)."""
    follower_min_tokens: int = 512
    """Shared uncached tokens from which followers wait for their leader: about 20 ms of prefill for
    an 8B model on an A100-class GPU, where waiting starts to cost less than computing twice."""
    follower_max_seconds: float = 10.0
    """Longest wait for a leader that shows no sign of life."""
    load_factor: float = 1.25
    """A backend may have this many times its share of the requests in flight (by measured speed)
    before a warm prefix is computed again elsewhere (bounded loads, as in consistent hashing)."""
    output_tokens: int = 256
    """Answer length assumed until some have been seen."""
    recent_requests: int = 20_000
    """Finished prompts remembered a backend, at most; fewer when its KV pool is full before."""
