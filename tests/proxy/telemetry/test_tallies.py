"""Counters and histograms add up as Prometheus's do."""

from __future__ import annotations

from paceline.proxy.telemetry.tallies import Count, Histogram


def test_buckets_are_cumulative_and_bounds_belong_below() -> None:
    """A value at a bound counts in that bucket and in all above."""
    histogram = Histogram("h", "Doc.", (1.0, 2.0), "model")
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.labels("m").add(value)
    samples = {
        (sample.name, sample.labels.get("le", "")): sample.value
        for sample in histogram.family().samples
    }
    assert samples == {
        ("paceline_h_bucket", "1.0"): 2,
        ("paceline_h_bucket", "2.0"): 3,
        ("paceline_h_bucket", "+Inf"): 4,
        ("paceline_h_count", ""): 4,
        ("paceline_h_sum", ""): 12.0,
    }


def test_counts_are_kept_by_labels() -> None:
    """Each combination of values is a series."""
    count = Count("c", "Doc.", "model")
    count.values[("a",)] += 2
    count.values[("b",)] += 1
    assert [(s.name, s.labels, s.value) for s in count.family().samples] == [
        ("paceline_c_total", {"model": "a"}, 2),
        ("paceline_c_total", {"model": "b"}, 1),
    ]


def test_what_one_process_takes_another_adds() -> None:
    """Nothing is counted twice or lost, and a series that is kept goes on counting."""
    count, histogram = Count("n", "", "a"), Histogram("h", "", (1.0, 2.0), "a")
    total, totals = Count("n", "", "a"), Histogram("h", "", (1.0, 2.0), "a")
    series = histogram.labels("x")
    histogram.labels("never")
    for value in (0.5, 1.5):
        count.values["x",] += 1
        series.add(value)
        total.add(count.take())
        totals.add(histogram.take())
    assert (count.take(), histogram.take()) == ([], [])
    assert total.take() == [(("x",), 2.0)]
    assert totals.take() == [(("x",), [1, 1, 0], 2.0)]
