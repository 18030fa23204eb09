"""`/metrics` counts what ended and shows the scheduler as it is."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from paceline import __version__
from paceline.proxy.telemetry.metrics import Metrics
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.snapshot import Snapshot
from paceline.scheduler.types import Usage

EMPTY = Snapshot(
    waiting=0,
    waiting_tokens=0,
    in_flight=0,
    mean_wait_seconds=0.0,
    trie_nodes=0,
    trie_blocks=0,
    queues=[],
    backends=[],
)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every value on the page by name and sorted label values."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def finished(
    model: str = "m", *, streaming: bool = True, attempts: int = 1, first_byte_at: float = 10.4
) -> Record:
    return Record(
        id="r",
        path="/v1/completions",
        model=model,
        streaming=streaming,
        prompt_tokens=90,
        arrived_at=10.0,
        dispatched_at=10.1,
        first_byte_at=first_byte_at,
        ended_at=11.0,
        backend="a:1",
        reason="warm",
        queued=0.1,
        cached_tokens=64,
        attempts=attempts,
        status=200,
        outcome="finished",
        usage=Usage(prompt_tokens=100, output_tokens=7, cached_tokens=80),
    )


def test_a_finished_stream_is_counted_everywhere() -> None:
    """One record feeds the counters, its wait, TTFT, inter-token time and total."""
    metrics = Metrics(lambda: EMPTY)
    metrics.record(finished())
    page = samples(metrics)
    at = ("a:1", "m")
    assert page["paceline_requests_total", ("a:1", "200", "m", "finished")] == 1
    assert page["paceline_decisions_total", ("warm",)] == 1
    assert page["paceline_prompt_tokens_total", at] == 100
    assert page["paceline_output_tokens_total", at] == 7
    assert page["paceline_cached_tokens_predicted_total", at] == 64
    assert page["paceline_cached_tokens_reported_total", at] == 80
    assert page["paceline_retries_total", at] == 0
    assert round(page["paceline_queue_wait_seconds_sum", ("m",)], 6) == 0.1
    assert round(page["paceline_time_to_first_token_seconds_sum", at], 6) == 0.4
    assert round(page["paceline_inter_token_seconds_sum", at], 6) == 0.1
    assert round(page["paceline_request_seconds_sum", at], 6) == 1.0


def test_predictions_are_compared_with_reports() -> None:
    """Both kinds of error add up by themselves; without a report there is nothing to compare."""
    metrics = Metrics(lambda: EMPTY)
    for cached in (80, 0, 64, None):
        record = finished()
        record.usage = Usage(cached_tokens=cached)
        metrics.record(record)
    page = samples(metrics)
    at = ("a:1", "m")
    assert page["paceline_cached_tokens_predicted_total", at] == 4 * 64
    assert page["paceline_cached_tokens_unexpected_total", at] == 16
    assert page["paceline_cached_tokens_missed_total", at] == 64


def test_counts_add_up() -> None:
    """Later requests of the same route add to the same series."""
    metrics = Metrics(lambda: EMPTY)
    metrics.record(finished())
    metrics.record(finished(attempts=3))
    page = samples(metrics)
    assert page["paceline_requests_total", ("a:1", "200", "m", "finished")] == 2
    assert page["paceline_retries_total", ("a:1", "m")] == 2


def test_looking_twice_counts_once() -> None:
    """What was shown, or taken over into another process's figures, is not added again."""
    part, whole = Metrics(), Metrics(lambda: EMPTY)
    part.record(finished())
    whole.add(part.take())
    samples(whole)
    part.record(finished())
    whole.add(part.take())
    at = ("a:1", "200", "m", "finished")
    assert [samples(whole)["paceline_requests_total", at] for _ in range(2)] == [2, 2]
    assert samples(whole)["paceline_request_seconds_count", ("a:1", "m")] == 2
    counted = part.take().counts
    assert not any(counted.values())


def test_an_answer_in_one_piece_has_no_token_times() -> None:
    """TTFT and inter-token time are of streams only."""
    metrics = Metrics(lambda: EMPTY)
    metrics.record(finished(streaming=False))
    page = samples(metrics)
    assert page["paceline_time_to_first_token_seconds_count", ("a:1", "m")] == 0
    assert page["paceline_inter_token_seconds_count", ("a:1", "m")] == 0
    assert page["paceline_request_seconds_count", ("a:1", "m")] == 1


def test_a_failure_without_usage_counts_the_estimate() -> None:
    """A request that failed at a backend has no total, and its prompt as estimated."""
    metrics = Metrics(lambda: EMPTY)
    failed = Record(
        id="r", path="/v1/completions", model="m", prompt_tokens=90, backend="a:1", outcome="failed"
    )
    failed.reason = "cold"
    metrics.record(failed)
    page = samples(metrics)
    assert page["paceline_request_seconds_count", ("a:1", "m")] == 0
    assert page["paceline_prompt_tokens_total", ("a:1", "m")] == 90


def test_clients_cannot_mint_labels() -> None:
    """A model that no backend has served is counted as `other`."""
    metrics = Metrics(lambda: EMPTY)
    for i in range(100):
        rejected = Record(id="r", path="/", model=f"made-up-{i}", reason="unknown_model")
        rejected.outcome, rejected.status = "rejected", 404
        metrics.record(rejected)
    page = samples(metrics)
    assert page["paceline_requests_total", ("", "404", "other", "rejected")] == 100
    assert page["paceline_decisions_total", ("unknown_model",)] == 100
    assert not any("made-up" in value for _, labels in page for value in labels)


def test_a_known_model_keeps_its_name_when_rejected() -> None:
    """Once a backend has served a model, its rejections carry its name."""
    metrics = Metrics(lambda: EMPTY)
    metrics.record(finished("m"))
    rejected = Record(id="r", path="/", model="m", reason="queue_full", outcome="rejected")
    rejected.status = 429
    metrics.record(rejected)
    assert samples(metrics)["paceline_requests_total", ("", "429", "m", "rejected")] == 1


def test_what_passes_through_has_no_times() -> None:
    """A request that the scheduler never saw counts as one, but not in waits and tokens."""
    metrics = Metrics(lambda: EMPTY)
    metrics.record(Record(id="r", path="/version", backend="a:1", outcome="finished", status=200))
    page = samples(metrics)
    assert page["paceline_requests_total", ("a:1", "200", "", "finished")] == 1
    assert not any(name.startswith("paceline_queue_wait") for name, _ in page)


def test_tells_its_version() -> None:
    """`paceline_build_info` carries the version."""
    assert samples(Metrics(lambda: EMPTY))["paceline_build_info", (__version__,)] == 1
