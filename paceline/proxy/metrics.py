"""`/metrics`: requests, counted as they end, beside the scheduler's state at the scrape."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from paceline import __version__
from paceline.proxy.gauges import SchedulerCollector
from paceline.proxy.record import Record
from paceline.scheduler.snapshot import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
"""Label of models that no backend has served: clients must not be able to mint label values."""

WAIT_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Seconds, up to the default `queue_seconds`; what went at once falls into the first."""
TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 4, 8, 15, 30, 60, 120, 300)
TOKEN_BUCKETS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2)
"""Seconds, dense around the 5 to 50 ms that a decode step takes."""
TOTAL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200)


class Metrics:
    """Counts requests and reads the scheduler; has a registry of its own."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._registry = CollectorRegistry()
        self._families = _Families(self._registry)
        self._models = {""}
        self._routes: dict[tuple[str, str], _Route] = {}
        self._requests: dict[tuple[str, str, str, int], Counter] = {}
        self._decisions: dict[str, Counter] = {}
        self._registry.register(SchedulerCollector(snapshot))
        ProcessCollector(registry=self._registry)
        build = Info("paceline_build", "The running version.", registry=self._registry)
        build.info({"version": __version__})

    def record(self, record: Record) -> None:
        """Count one request that has ended; about 5 us, since label children are kept."""
        if record.backend:
            self._models.add(record.model)  # some backend serves it
        model = record.model if record.model in self._models else OTHER
        self._request(model, record).inc()
        if record.reason:
            self._decision(record.reason).inc()
        if record.backend and record.reason:  # scheduled, not passed through
            self._route(model, record.backend).observe(record)

    def render(self) -> bytes:
        """The page in Prometheus's text format, to be served as `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _request(self, model: str, record: Record) -> Counter:
        key = (model, record.backend, record.outcome, record.status)
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self._families.requests.labels(*map(str, key))
        return child

    def _decision(self, reason: str) -> Counter:
        child = self._decisions.get(reason)
        if child is None:
            child = self._decisions[reason] = self._families.decisions.labels(reason)
        return child

    def _route(self, model: str, backend: str) -> _Route:
        route = self._routes.get((model, backend))
        if route is None:
            route = self._routes[model, backend] = _Route(self._families, model, backend)
        return route


class _Families:
    """Every metric that is counted as requests end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, doc: str, *labels: str) -> Counter:
            return Counter(f"paceline_{name}", doc, labels, registry=registry)

        def histogram(name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"paceline_{name}", doc, labels, buckets=buckets, registry=registry)

        at = ("model", "backend")
        self.requests = counter("requests", "Requests that ended.", *at, "outcome", "code")
        self.decisions = counter("decisions", "Requests by the reason of their decision.", "reason")
        self.retries = counter("retries", "Further attempts after a backend failed.", *at)
        self.prompt = counter("prompt_tokens", "Prompt tokens: reported, else estimated.", *at)
        self.output = counter("output_tokens", "Output tokens that backends reported.", *at)
        self.predicted = counter(
            "cached_tokens_predicted", "Prompt tokens believed cached at dispatch.", *at
        )
        self.reported = counter(
            "cached_tokens_reported", "Prompt tokens that backends reported as cached.", *at
        )
        self.wait = histogram(
            "queue_wait_seconds", "Wait of the dispatched in the queue.", WAIT_BUCKETS, "model"
        )
        self.ttft = histogram(
            "time_to_first_token_seconds", "Arrival to first byte of streams.", TTFT_BUCKETS, *at
        )
        self.inter = histogram(
            "inter_token_seconds", "Mean time between a stream's tokens.", TOKEN_BUCKETS, *at
        )
        self.total = histogram(
            "request_seconds", "Arrival to end of finished requests.", TOTAL_BUCKETS, *at
        )


class _Route:
    """The metrics of one model on one backend: `labels()` costs four times an increment."""

    def __init__(self, families: _Families, model: str, backend: str) -> None:
        at = (model, backend)
        self._retries = families.retries.labels(*at)
        self._prompt = families.prompt.labels(*at)
        self._output = families.output.labels(*at)
        self._predicted = families.predicted.labels(*at)
        self._reported = families.reported.labels(*at)
        self._wait = families.wait.labels(model)
        self._ttft = families.ttft.labels(*at)
        self._inter = families.inter.labels(*at)
        self._total = families.total.labels(*at)

    def observe(self, record: Record) -> None:
        self._wait.observe(record.queued)
        if record.attempts > 1:
            self._retries.inc(record.attempts - 1)
        self._count_tokens(record)
        if record.first_byte_at is not None and record.streaming:
            self._ttft.observe(record.first_byte_at - record.arrived_at)
        if record.outcome == "finished" and record.ended_at is not None:
            self._total.observe(record.ended_at - record.arrived_at)
            self._observe_decode(record, record.ended_at)

    def _count_tokens(self, record: Record) -> None:
        usage = record.usage
        self._prompt.inc(usage.prompt_tokens or record.prompt_tokens)
        self._predicted.inc(record.cached_tokens)
        if usage.output_tokens:
            self._output.inc(usage.output_tokens)
        if usage.cached_tokens:
            self._reported.inc(usage.cached_tokens)

    def _observe_decode(self, record: Record, ended_at: float) -> None:
        tokens = record.usage.output_tokens or 0
        if record.streaming and record.first_byte_at is not None and tokens > 1:
            self._inter.observe((ended_at - record.first_byte_at) / (tokens - 1))
