"""The scheduler in dialogues: what goes at once, and what it tells of itself."""

from __future__ import annotations

import pytest

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    BackendChanged,
    BackendRemoved,
    BackendReset,
    Cancelled,
    Event,
    Failed,
    FirstByte,
    LoadReported,
    Tick,
)
from tests.scheduler.dialogue import Talk, backend


class TestUncontended:
    def test_goes_at_once(self) -> None:
        """An idle backend gets a request in the same breath."""
        talk = Talk()
        assert talk.arrive("a", "xy", at=1.0) == "a->b"
        assert talk.dispatches["a"].reason == "direct"
        assert talk.dispatches["a"].waited == 0.0

    def test_predicts_what_is_cached(self) -> None:
        """What an earlier request computed is expected to be cached, also while that one runs."""
        talk = Talk()
        talk.arrive("a", "xyz")
        talk.arrive("b", "xyw")
        assert talk.dispatches["b"].cached_tokens == 200

    def test_a_finished_prompt_stays_warm(self) -> None:
        """The prefix of a request that ended is still cached."""
        talk = Talk()
        talk.arrive("a", "xyz")
        talk.finish("a", 1.0)
        talk.arrive("b", "xyz", at=2.0)
        assert talk.dispatches["b"].cached_tokens == 300

    def test_a_failed_prompt_does_not(self) -> None:
        """Nothing is expected of a request that failed or whose client left."""
        talk = Talk()
        talk.arrive("a", "xyz")
        talk.say(Failed("a"), 1.0)
        talk.arrive("b", "xyz", at=2.0)
        assert talk.dispatches["b"].cached_tokens == 0

    def test_no_backend_yet(self) -> None:
        """Before any backend has answered, requests wait; then they go in order."""
        talk = Talk(backend(models=None))
        assert talk.arrive("a") == ""
        assert talk.arrive("b", at=0.1) == ""
        assert talk.say(BackendChanged(backend()), 1.0) == "a->b b->b"

    def test_unknown_model(self) -> None:
        """When every backend has said what it serves, another model is refused at once."""
        assert Talk().arrive("a", model="other") == "a!unknown_model"

    def test_any_model(self) -> None:
        """A request that names no model goes to any backend."""
        assert Talk().arrive("a", model="") == "a->b"

    def test_an_id_in_use_is_a_bug(self) -> None:
        """The shell must not reuse an id."""
        talk = Talk()
        talk.arrive("a")
        with pytest.raises(ValueError, match="'a' is in use"):
            talk.arrive("a", at=1.0)

    def test_late_events_change_nothing(self) -> None:
        """Events about ended or unknown requests and backends are ignored."""
        talk = Talk()
        talk.arrive("a")
        talk.finish("a", 1.0)
        events: list[Event] = [
            FirstByte("a"),
            Failed("a"),
            Failed("a", retry=True),
            Cancelled("a"),
            Cancelled("never"),
            LoadReported("never", 1, 1, 0.0),
            BackendReset("never"),
            BackendRemoved("never"),
            Tick(),
        ]
        for event in events:
            assert talk.say(event, 2.0) == ""
        assert talk.finish("a", 3.0) == ""
        assert repr(talk.scheduler) == "<Scheduler [0 waiting, 0 in flight]>"
        assert talk.scheduler.deadline() is None


def test_snapshot() -> None:
    """The picture names queues and backends and counts what is there."""
    talk = Talk(backend(chunk_tokens=100))
    talk.arrive("a", "xx")
    talk.arrive("b", "yy", at=1.0)
    picture = talk.scheduler.snapshot(3.0)
    assert (picture.waiting, picture.waiting_tokens, picture.in_flight) == (1, 210, 1)
    assert (picture.trie_nodes, picture.trie_blocks) == (2, 4)
    assert [(q.model, q.waiting, q.held, q.oldest_seconds) for q in picture.queues] == [
        ("m", 1, 0, 2.0)
    ]
    (only,) = picture.backends
    assert (only.id, only.in_flight, only.unstarted, only.prefill_tokens) == ("b", 1, 1, 210)
    assert only.kv_room == 1000 - 210 - 20


def test_output_lengths_are_learned() -> None:
    """Room is kept for answers as long as those seen, not for what clients allow."""
    talk = Talk(config=SchedulerConfig(output_tokens=700))
    talk.arrive("a", max_tokens=None)
    assert talk.scheduler.snapshot(0.0).backends[0].kv_room == 1000 - 10 - 700
    talk.finish("a", 1.0, output=30)
    talk.arrive("b", at=2.0, max_tokens=None, n=2)
    assert talk.scheduler.snapshot(2.0).backends[0].kv_room == 1000 - 10 - 60
    talk.finish("b", 3.0, output=None)
