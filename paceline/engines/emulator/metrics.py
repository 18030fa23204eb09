"""GET /metrics: the engines' own names for what the model counts and what clients wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.model.engine import EngineLoad
from paceline.engines.model.vllm import BLOCK_SIZE

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)

Figures = Mapping[str, float]


class Latencies:
    """Time to the first token and to the end of every request, in real seconds."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.registry = CollectorRegistry()
        self._labels = config.models[0]
        self._ttft = self._histogram(config.kind, "time_to_first_token_seconds")
        self._e2e = self._histogram(config.kind, "e2e_request_latency_seconds")

    @contextmanager
    def measure(self) -> Iterator[Callable[[], None]]:
        """Time one request that ends well; call what this gives when tokens come."""
        start = perf_counter()
        seen = False

        def first_token() -> None:
            nonlocal seen
            if not seen:
                seen = True
                self._ttft.labels(self._labels).observe(perf_counter() - start)

        yield first_token
        self._e2e.labels(self._labels).observe(perf_counter() - start)

    def _histogram(self, prefix: str, name: str) -> Histogram:
        return Histogram(
            f"{prefix}:{name}", name, ["model_name"], registry=self.registry, buckets=BUCKETS
        )


class EngineCollector(Collector):
    """The model's figures in the dialect of its engine."""

    def __init__(
        self, config: EmulatorConfig, load: Callable[[], EngineLoad], started_at: float
    ) -> None:
        self._config = config
        self._load = load
        self._started_at = started_at

    def collect(self) -> Iterator[Metric]:
        """All families, read now."""
        load = self._load()
        vllm = self._config.kind == "vllm"
        gauges = vllm_gauges(load) if vllm else sglang_gauges(load, self._config)
        counters = vllm_counters(load) if vllm else sglang_counters(load)
        for name, value in gauges.items():
            yield self._labelled(GaugeMetricFamily, name, value)
        for name, value in counters.items():
            yield self._labelled(CounterMetricFamily, name, value)
        if vllm:
            yield self._cache_config(load)
        yield GaugeMetricFamily("process_start_time_seconds", "Unix time", value=self._started_at)

    def _labelled(
        self, family: type[GaugeMetricFamily | CounterMetricFamily], name: str, value: float
    ) -> Metric:
        metric = family(f"{self._config.kind}:{name}", name, labels=["model_name"])
        metric.add_metric([self._config.models[0]], value)
        return metric

    def _cache_config(self, load: EngineLoad) -> Metric:
        size = self._config.block_size or BLOCK_SIZE
        labels = {"block_size": str(size), "num_gpu_blocks": str(load.kv_tokens // size)}
        metric = GaugeMetricFamily("vllm:cache_config_info", "KV cache", labels=list(labels))
        metric.add_metric(list(labels.values()), 1)
        return metric


def vllm_gauges(load: EngineLoad) -> Figures:
    """Gauges, without the `vllm:` prefix."""
    return {
        "num_requests_running": load.running,
        "num_requests_waiting": load.waiting,
        "kv_cache_usage_perc": load.kv_used / load.kv_tokens,
    }


def vllm_counters(load: EngineLoad) -> Figures:
    """Counters, without the prefix and `_total`."""
    return {
        "prefix_cache_queries": load.query_tokens,
        "prefix_cache_hits": load.hit_tokens,
        "prompt_tokens": load.query_tokens,
        "prompt_tokens_cached": load.hit_tokens,
        "generation_tokens": load.output_tokens,
        "num_preemptions": load.preemptions,
    }


def sglang_gauges(load: EngineLoad, config: EmulatorConfig) -> Figures:
    """Gauges, without the `sglang:` prefix."""
    return {
        "num_running_reqs": load.running,
        "num_queue_reqs": load.waiting,
        "num_used_tokens": load.kv_used,
        "kv_used_tokens": load.kv_used,
        "token_usage": load.kv_used / load.kv_tokens,
        "max_total_num_tokens": load.kv_tokens,
        "cache_hit_rate": hit_rate(load),
        "page_size": config.block_size or 1,
    }


def sglang_counters(load: EngineLoad) -> Figures:
    """Counters, without the prefix and `_total`."""
    return {
        "prompt_tokens": load.query_tokens,
        "cached_tokens": load.hit_tokens,
        "generation_tokens": load.output_tokens,
        "evicted_tokens": load.evicted_tokens,
        "num_retracted_requests": load.preemptions,
    }


def hit_rate(load: EngineLoad) -> float:
    """Cached over all prompt tokens admitted so far."""
    return load.hit_tokens / load.query_tokens if load.query_tokens else 0.0


def render(registry: CollectorRegistry) -> bytes:
    """The Prometheus text of `registry`."""
    return generate_latest(registry)
