"""What a run comes to: makespan, hit rate, latencies, fairness, goodput."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor

from msgspec import Struct

from paceline.sim.record import Row


class Spread(Struct, frozen=True, kw_only=True):
    """Mean and percentiles in seconds; percentiles between two values are interpolated."""

    mean: float
    p50: float
    p90: float
    p99: float


class Slo(Struct, frozen=True, kw_only=True):
    """What a request must keep to count as good; None for no limit."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


class Refusals(Struct, frozen=True, kw_only=True):
    """Requests that were not served, by why."""

    queue_full: int = 0
    deadline: int = 0
    """They had waited as long as they may."""
    too_long: int = 0
    """Longer than the engine's KV pool."""


class Summary(Struct, frozen=True, kw_only=True):
    """One run; latencies are over completed requests only."""

    requests: int
    """All that arrived."""
    completed: int
    refused: int
    """By the proxy (queue full, deadline) or by the engine (longer than its pool)."""
    refusals: Refusals
    makespan_s: float
    """From the first arrival to the last token."""
    hit_rate: float
    """Prompt tokens that the engine had over prompt tokens, of completed requests."""
    output_tokens_per_s: float
    ttft_s: Spread
    """First token - arrival at the proxy."""
    tpot_s: Spread
    """(last - first token) / (output tokens - 1); answers of one token have none."""
    e2e_s: Spread
    """Last token - arrival."""
    wait_s: Spread
    """Time in the proxy's queue."""
    jain: float
    """Jain's fairness index over the tenants' (or families') mean time to first token."""
    goodput_per_s: float
    """Requests a second that keep the SLO; refused ones do not."""


def summarise(rows: Sequence[Row], slo: Slo) -> Summary:
    """The figures of one run; all zero where nothing was completed."""
    done = [row for row in rows if row.last is not None]
    first = min((row.arrival for row in rows), default=0.0)
    makespan = max((row.last or 0.0 for row in done), default=first) - first
    prompt = sum(row.prompt for row in done)
    good = sum(_keeps(row, slo) for row in done)
    return Summary(
        requests=len(rows),
        completed=len(done),
        refused=len(rows) - len(done),
        refusals=_refusals(rows),
        makespan_s=makespan,
        hit_rate=sum(row.cached for row in done) / prompt if prompt else 0.0,
        output_tokens_per_s=_rate(sum(row.out for row in done), makespan),
        ttft_s=spread(map(ttft, done)),
        tpot_s=spread(tpot(row) for row in done if row.out > 1),
        e2e_s=spread(map(e2e, done)),
        wait_s=spread(map(wait, done)),
        jain=jain(done),
        goodput_per_s=_rate(good, makespan),
    )


def ttft(row: Row) -> float:
    """Seconds to the first token of a completed request."""
    assert row.first is not None
    return row.first - row.arrival


def tpot(row: Row) -> float:
    """Seconds a token after the first; for answers of two tokens or more."""
    assert row.first is not None
    assert row.last is not None
    return (row.last - row.first) / (row.out - 1)


def e2e(row: Row) -> float:
    """Seconds to the last token of a completed request."""
    assert row.last is not None
    return row.last - row.arrival


def wait(row: Row) -> float:
    """Seconds in the proxy's queue."""
    assert row.dispatched is not None
    return row.dispatched - row.arrival


def spread(values: Iterable[float]) -> Spread:
    """Mean and percentiles; zeros for none."""
    ordered = sorted(values)
    if not ordered:
        return Spread(mean=0.0, p50=0.0, p90=0.0, p99=0.0)
    return Spread(
        mean=sum(ordered) / len(ordered),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """Of sorted values, with linear interpolation as numpy does by default."""
    at = part * (len(ordered) - 1)
    low, high = ordered[floor(at)], ordered[ceil(at)]
    return low + (high - low) * (at - floor(at))


def jain(rows: Iterable[Row]) -> float:
    """(sum x)^2 / (n * sum x^2) over the groups' mean TTFT: 1 when all wait alike, 1/n at worst."""
    means = [sum(group) / len(group) for group in grouped(rows, ttft).values()]
    squares = sum(x * x for x in means)
    return sum(means) ** 2 / (len(means) * squares) if squares else 1.0


def grouped(rows: Iterable[Row], value: Callable[[Row], float]) -> dict[str, list[float]]:
    """Values by tenant, or by family where there are no tenants."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        groups[row.tenant or row.family].append(value(row))
    return groups


def _refusals(rows: Iterable[Row]) -> Refusals:
    reasons = Counter(row.reason for row in rows if row.last is None)
    return Refusals(**{name: reasons[name] for name in Refusals.__struct_fields__})


def _keeps(row: Row, slo: Slo) -> bool:
    return (
        (slo.ttft_s is None or ttft(row) <= slo.ttft_s)
        and (slo.tpot_s is None or row.out < 2 or tpot(row) <= slo.tpot_s)
        and (slo.e2e_s is None or e2e(row) <= slo.e2e_s)
    )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0
