"""`/metrics`: requests, counted as they end, beside the scheduler's state at the scrape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from msgspec import Struct, structs
from prometheus_client import CollectorRegistry, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from paceline import __version__
from paceline.proxy.telemetry.gauges import SchedulerCollector
from paceline.proxy.telemetry.record import Record
from paceline.proxy.telemetry.tallies import Count, Histogram, Labels, Tallies
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

    def __init__(
        self,
        snapshot: Callable[[], Snapshot] | None = None,
        *others: Collector,
        lines_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        """Without `snapshot` it counts only, to be added to another's."""
        self._registry = CollectorRegistry()
        self._families = _Families()
        self._models = {""}
        self._ends: defaultdict[tuple[str, str, str, int, str], int] = defaultdict(int)
        """Model, backend, outcome, status, reason: requests that ended so since the last look."""
        self._routes: dict[tuple[str, str], _Route] = {}
        self._registry.register(self._families)
        if snapshot is not None:
            self._registry.register(SchedulerCollector(snapshot))
        self._registry.register(_Dropped(lines_dropped))
        for other in others:
            self._registry.register(other)
        ProcessCollector(registry=self._registry)
        build = Info("paceline_build", "The running version.", registry=self._registry)
        build.info({"version": __version__})

    def record(self, record: Record) -> None:
        """Count one request that has ended; about a microsecond."""
        model, backend, reason = record.model, record.backend, record.reason
        if model not in self._models:
            if backend:
                self._models.add(model)  # some backend serves it
            else:
                model = OTHER
        self._ends[model, backend, record.outcome, record.status, reason] += 1
        if reason and backend:  # scheduled, not passed through
            route = self._routes.get((model, backend))
            if route is None:
                route = self._routes[model, backend] = _Route(self._families, model, backend)
            route.observe(record)

    def policy_crashed(self) -> None:
        """Count a call in which the policy failed."""
        self._families.crashes.values[()] += 1

    def reloaded(self, result: str) -> None:
        """Count a reload: `taken` or `refused`."""
        self._families.reloads.values[(result,)] += 1

    def worker_restarted(self) -> None:
        """Count a worker that died and was started anew."""
        self._families.restarts.values[()] += 1

    def connection_refused(self, reason: str) -> None:
        """Count a connection for which there was no room."""
        self._families.refused.values[(reason,)] += 1

    def take(self) -> Tallies:
        """What was counted since the last time, for another process to add to its own."""
        self._sum()
        families = vars(self._families).items()
        return Tallies(
            {name: one.take() for name, one in families if isinstance(one, Count)},
            {name: one.take() for name, one in families if isinstance(one, Histogram)},
        )

    def add(self, tallies: Tallies) -> None:
        """Count what another process has counted."""
        families = vars(self._families)
        for name, counted in tallies.counts.items():
            families[name].add(counted)
        for name, seen in tallies.spreads.items():
            families[name].add(seen)

    def render(self) -> bytes:
        """The page in Prometheus's text format, to be served as `CONTENT_TYPE`."""
        self._sum()
        return generate_latest(self._registry)

    def _sum(self) -> None:
        """Add what was counted since the last look to the families that are looked at."""
        requests, decisions = self._families.requests.values, self._families.decisions.values
        for (model, backend, outcome, status, reason), count in self._ends.items():
            requests[model, backend, outcome, str(status)] += count
            if reason:
                decisions[reason,] += count
        self._ends.clear()
        for route in self._routes.values():
            route.sum()


class _Dropped(Collector):
    """Log lines that nobody read in time."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def describe(self) -> Iterator[Metric]:
        """Nothing, as everywhere here."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The count now."""
        doc = "Log lines dropped because stderr stalled."
        yield CounterMetricFamily("paceline_log_lines_dropped", doc, value=self._count())


class _Families(Collector):
    """Every metric that is counted as requests end."""

    def __init__(self) -> None:
        at = ("model", "backend")
        self.requests = Count("requests", "Requests that ended.", *at, "outcome", "code")
        self.decisions = Count("decisions", "Requests by the reason of their decision.", "reason")
        self.crashes = Count("policy_crashes", "Calls in which the policy failed.")
        self.crashes.values[()] = 0.0
        self.reloads = Count("reloads", "Reloads of the configuration.", "result")
        self.refused = Count("connections_refused", "Connections too many, by reason.", "reason")
        self.restarts = Count("worker_restarts", "Workers that died and were started anew.")
        self.retries = Count("retries", "Further attempts after a backend failed.", *at)
        self.prompt = Count("prompt_tokens", "Prompt tokens: reported, else estimated.", *at)
        self.output = Count("output_tokens", "Output tokens that backends reported.", *at)
        self.predicted = Count(
            "cached_tokens_predicted", "Prompt tokens believed cached at dispatch.", *at
        )
        self.reported = Count(
            "cached_tokens_reported", "Prompt tokens that backends reported as cached.", *at
        )
        self.missed = Count(
            "cached_tokens_missed",
            "Prompt tokens believed cached that were reported not to be.",
            *at,
        )
        self.unexpected = Count(
            "cached_tokens_unexpected", "Prompt tokens reported cached beyond the belief.", *at
        )
        self.wait = Histogram(
            "queue_wait_seconds", "Wait of the dispatched in the queue.", WAIT_BUCKETS, "model"
        )
        self.ttft = Histogram(
            "time_to_first_token_seconds", "Arrival to first byte of streams.", TTFT_BUCKETS, *at
        )
        self.inter = Histogram(
            "inter_token_seconds", "Mean time between a stream's tokens.", TOKEN_BUCKETS, *at
        )
        self.total = Histogram(
            "request_seconds", "Arrival to end of finished requests.", TOTAL_BUCKETS, *at
        )

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are all of one prefix."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The values now."""
        for family in vars(self).values():
            yield family.family()


class _Sums(Struct):
    """Named as the families that they are added to."""

    retries: int = 0
    prompt: int = 0
    output: int = 0
    predicted: int = 0
    reported: int = 0
    missed: int = 0
    unexpected: int = 0


class _Route:
    """The metrics of one model on one backend; what a scheduled request adds to them."""

    def __init__(self, families: _Families, model: str, backend: str) -> None:
        self._at = at = (model, backend)
        self._families = families
        self._sums = _Sums()
        self._wait = families.wait.labels(model)
        self._ttft = families.ttft.labels(*at)
        self._inter = families.inter.labels(*at)
        self._total = families.total.labels(*at)
        for name in _Sums.__struct_fields__:
            self._values(name)[at] += 0.0  # or Prometheus would not see the first increase

    def observe(self, record: Record) -> None:
        self._wait.add(record.queued)
        self._count(record)
        since, first = record.arrived_at, record.first_byte_at
        end = record.ended_at if record.outcome == "finished" else None
        if record.streaming and first is not None:
            self._ttft.add(first - since)
            tokens = record.usage.output_tokens or 0
            if end is not None and tokens > 1:
                self._inter.add((end - first) / (tokens - 1))
        if end is not None:
            self._total.add(end - since)

    def sum(self) -> None:
        """Add the sums to the families."""
        sums, self._sums = structs.asdict(self._sums), _Sums()
        for name, value in sums.items():
            if value:
                self._values(name)[self._at] += value

    def _values(self, name: str) -> dict[Labels, float]:
        count: Count = getattr(self._families, name)
        return count.values

    def _count(self, record: Record) -> None:
        sums, usage, predicted = self._sums, record.usage, record.cached_tokens
        sums.prompt += usage.prompt_tokens or record.prompt_tokens
        sums.predicted += predicted
        if record.attempts > 1:
            sums.retries += record.attempts - 1
        if usage.output_tokens:
            sums.output += usage.output_tokens
        reported = usage.cached_tokens
        if reported is not None:  # many streams end without a report
            sums.reported += reported
            if predicted > reported:
                sums.missed += predicted - reported
            else:
                sums.unexpected += reported - predicted
