"""The scheduler's state as Prometheus gauges, read when scraped and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from paceline.scheduler.snapshot import BackendSnapshot, QueueSnapshot, Snapshot

T = TypeVar("T")
Readers = dict[str, tuple[str, Callable[[T], float | None]]]
"""Metric name -> (help, how to read it); None, where an engine does not tell, is left out."""

WHOLE: Readers[Snapshot] = {
    "waiting_requests": ("Requests in the queues.", lambda s: s.waiting),
    "waiting_tokens": ("Prompt tokens in the queues.", lambda s: s.waiting_tokens),
    "trie_nodes": ("Nodes of the prefix trie.", lambda s: s.trie_nodes),
    "trie_blocks": ("Blocks of prompts in the trie: its memory.", lambda s: s.trie_blocks),
}
PER_QUEUE: Readers[QueueSnapshot] = {
    "requests": ("Requests waiting for this model.", lambda q: q.waiting),
    "held_requests": ("Of those, followers held for their leader.", lambda q: q.held),
    "oldest_seconds": ("Age of the oldest of them.", lambda q: q.oldest_seconds),
}
PER_BACKEND: Readers[BackendSnapshot] = {
    "up": ("1 if it is sent requests.", lambda b: b.up),
    "draining": ("1 while it finishes what it has.", lambda b: b.draining),
    "in_flight_requests": ("Requests that it was sent and has not ended.", lambda b: b.in_flight),
    "peer_requests": ("Of those, the ones that other proxies sent.", lambda b: b.peers),
    "unstarted_requests": ("Of those, the ones without a first byte.", lambda b: b.unstarted),
    "prefill_tokens": ("Uncached prompt tokens ahead of it.", lambda b: b.prefill_tokens),
    "prefill_tokens_per_second": ("How fast it was seen to prefill.", lambda b: b.prefill_rate),
    "kv_tokens": ("Size of its KV pool in tokens.", lambda b: b.kv_tokens),
    "kv_room_tokens": ("Tokens of its KV pool that are not spoken for.", lambda b: b.kv_room),
    "kv_exact": ("1 if its KV events tell what it has cached.", lambda b: float(b.exact)),
    "recent_requests": ("Finished prompts believed to be warm there.", lambda b: b.recent_requests),
}


class SchedulerCollector(Collector):
    """Asks for one snapshot a scrape."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registering must not take a snapshot."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The values now."""
        snapshot = self._snapshot()
        yield from _families("", WHOLE, [], [([], snapshot)])
        queues = [([queue.model], queue) for queue in snapshot.queues]
        yield from _families("queue_", PER_QUEUE, ["model"], queues)
        backends = [([backend.id], backend) for backend in snapshot.backends]
        yield from _families("backend_", PER_BACKEND, ["backend"], backends)


def _families(
    prefix: str, readers: Readers[T], labels: list[str], items: list[tuple[list[str], T]]
) -> Iterator[GaugeMetricFamily]:
    for name, (doc, read) in readers.items():
        family = GaugeMetricFamily(f"paceline_{prefix}{name}", doc, labels=labels)
        for values, item in items:
            if (value := read(item)) is not None:
                family.add_metric(values, value)
        yield family
