"""How much prefill a backend is given at once: what waits for it, and what does not."""

from __future__ import annotations

import pytest

from paceline.scheduler.events import (
    LoadReported,
    Tick,
)
from tests.scheduler.dialogue import Talk, backend, sglang


class TestFeed:
    def test_holds_what_the_engine_could_not_start(self) -> None:
        """Beyond a chunk of uncached prefill the rest waits here, where it can be ordered."""
        talk = Talk(backend(kv_tokens=None))
        assert talk.arrive("a", "xxxx") == "a->b"
        assert talk.arrive("b", "yyyy") == "b->b"
        assert talk.arrive("c", "zzzz") == ""
        assert repr(talk.scheduler) == "<Scheduler [1 waiting, 2 in flight]>"
        assert talk.first_byte("a", 0.5) == "c->b"

    def test_cached_tokens_are_no_work(self) -> None:
        """Warm requests pass: only uncached tokens count as work."""
        talk = Talk(backend(kv_tokens=None))
        talk.arrive("a", "xxxx")
        assert [talk.arrive(f"b{i}", "xxxx") for i in range(5)] == [f"b{i}->b" for i in range(5)]

    def test_limit_on_running(self) -> None:
        """An engine that runs two at once is not sent more than one to wait there."""
        talk = Talk(backend(max_running=2, kv_tokens=None))
        talk.arrive("a")
        talk.arrive("b")
        assert talk.arrive("c") == ""
        assert talk.first_byte("a", 0.1) == ""
        assert talk.first_byte("b", 0.2) == "c->b"

    def test_kv_room(self) -> None:
        """A prompt that does not fit into the pool beside the others waits for one to end."""
        talk = Talk(backend(chunk_tokens=4000))
        assert talk.arrive("a", "xxxxxx") == "a->b"
        assert talk.arrive("b", "yyyyyy") == ""
        assert talk.first_byte("a", 0.5) == "b->b"
        assert talk.arrive("c", "zz", at=1.0) == ""

    def test_shared_prefix_counts_once(self) -> None:
        """Requests of one family fit together where strangers would not."""
        talk = Talk(backend(chunk_tokens=4000))
        assert [talk.arrive(f"a{i}", "xxxxxx") for i in range(3)] == ["a0->b", "a1->b", "a2->b"]

    def test_nobody_passes_the_first_that_does_not_fit(self) -> None:
        """Smaller requests do not overtake one that waits for room: they would evict its prefix."""
        talk = Talk(backend(chunk_tokens=4000))
        talk.arrive("a", "xxxxxx")
        talk.arrive("big", "yyyyyy")
        assert talk.arrive("small", "z") == ""
        assert talk.finish("a", 1.0) == "big->b small->b"

    def test_a_load_report_opens_the_gate(self) -> None:
        """When the engine says that nobody waits there, it gets more, seen first byte or not."""
        talk = Talk(backend(kv_tokens=None))
        talk.arrive("a", "xxxx")
        talk.arrive("b", "yyyy")
        talk.arrive("c", "zzzz")
        assert talk.say(LoadReported("b", 1, 2, asked_at=0.1), 0.2) == ""
        assert talk.say(LoadReported("b", 2, 0, asked_at=0.3), 0.4) == "c->b"

    def test_a_load_report_closes_it_again(self) -> None:
        """Requests thought to have started that the engine calls waiting hold up the next ones."""
        talk = Talk(backend(kv_tokens=None))
        talk.arrive("a", "xxxx", streaming=False)
        talk.arrive("b", "yyyy", streaming=False)
        talk.say(Tick(), 0.1)
        assert talk.scheduler.snapshot(0.1).backends[0].unstarted == 0
        assert talk.say(LoadReported("b", 0, 2, asked_at=0.2), 0.2) == ""
        only = talk.scheduler.snapshot(0.2).backends[0]
        assert (only.unstarted, only.prefill_tokens) == (2, 820)
        assert only.prefill_rate == pytest.approx(20_000 / 1.5)
        assert talk.arrive("c", "zzzz", at=0.2) == ""
        assert talk.say(LoadReported("b", 2, 0, asked_at=0.21), 0.21) == "c->b"
        assert talk.scheduler.snapshot(0.21).backends[0].prefill_rate == pytest.approx(20_000)

    def test_a_stale_report_does_not(self) -> None:
        """A report asked for before the dispatch says nothing about it."""
        talk = Talk(backend(kv_tokens=None))
        talk.arrive("a", "xxxx", at=1.0)
        talk.arrive("b", "yyyy", at=1.0)
        talk.arrive("c", "zzzz", at=1.0)
        assert talk.say(LoadReported("b", 0, 0, asked_at=0.9), 1.1) == ""

    def test_unseen_prefill_is_estimated(self) -> None:
        """Without streaming the prefill's end is estimated, and a tick moves the queue on."""
        talk = Talk(backend(kv_tokens=None))
        talk.arrive("a", "xxxx", streaming=False)
        talk.arrive("b", "yyyy", streaming=False)
        assert talk.arrive("c", "zzzz") == ""
        due = talk.scheduler.deadline()
        assert due == pytest.approx(410 / 20_000)
        assert talk.say(Tick(), due or 0.0) == "c->b"

    def test_the_first_of_several_estimates_counts(self) -> None:
        """Of unseen prefills at two backends, the deadline is the one that ends first."""
        talk = Talk(backend("b1", kv_tokens=None), backend("b2", kv_tokens=None))
        assert talk.arrive("a", "xxxx", streaming=False) == "a->b1"
        assert talk.arrive("b", "yyyyy", streaming=False) == "b->b2"
        assert talk.arrive("c", "zzzzzz") == ""
        assert talk.scheduler.deadline() == pytest.approx(410 / 20_000)

    def test_an_answer_in_one_piece_shows_that_earlier_ones_have_begun(self) -> None:
        """Engines begin in order: whoever was sent before one that ended waits there no more."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=800))
        talk.arrive("a", "xxxx", streaming=False)
        talk.arrive("b", "yyy", at=0.001, streaming=False)
        assert talk.arrive("c", "zzzz", at=0.002) == ""
        assert talk.finish("b", 0.005) == "c->b"
        rate = talk.scheduler.snapshot(0.005).backends[0].prefill_rate
        assert rate == pytest.approx(720 / 0.004)

    def test_a_slow_answer_in_one_piece_says_nothing_of_the_rate(self) -> None:
        """Decoding is part of the time that it took."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=800))
        talk.arrive("a", "xxxx", streaming=False)
        talk.finish("a", 0.02)
        talk.arrive("b", "yyyy", at=1.0, streaming=False)
        talk.finish("b", 9.0)
        assert talk.scheduler.snapshot(9.0).backends[0].prefill_rate == pytest.approx(20_500)

    def test_one_that_the_engine_began_unseen_is_cached_at_its_end(self) -> None:
        """A load report tells that it runs, not that its prompt can be matched; its end does."""
        talk = Talk(sglang())
        talk.arrive("a", "xxx")
        talk.say(LoadReported("s", 1, 0, asked_at=0.2), 0.3)
        talk.finish("a", 0.5)
        talk.arrive("b", "xxx", at=0.6)
        assert talk.dispatches["b"].cached_tokens == 300
