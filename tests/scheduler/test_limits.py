"""What may wait, for how long, and who makes room."""

from __future__ import annotations

from paceline.policies.fcfs import Fcfs
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    BackendChanged,
    Cancelled,
    Failed,
    Tick,
)
from paceline.scheduler.line import OPEN
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request
from tests.scheduler.dialogue import Talk, backend


def busy(**limits: float) -> Talk:
    """A scheduler with these limits, whose only backend runs one request and takes no other."""
    config = SchedulerConfig(**limits)  # type: ignore[arg-type]
    talk = Talk(backend(max_running=1, kv_tokens=None), config=config)
    talk.arrive("busy")
    return talk


class TestLimits:
    def test_full_queue(self) -> None:
        """One more than may wait is refused, with advice when to come back."""
        talk = busy(max_waiting=1)
        talk.arrive("a")
        assert talk.arrive("b", at=0.5) == "b!queue_full"
        assert talk.scheduler.retry_after(0.5) == 1.0

    def test_a_backend_that_refused_counts_as_busier(self) -> None:
        """Others are preferred to it, as long as they are less busy than that."""
        talk = Talk(backend("b1", load_tokens=500), backend("b2"))
        assert talk.arrive("a", tail=300) == "a->b2"
        assert talk.arrive("b", tail=300) == "b->b2"
        assert talk.arrive("c", tail=300) == "c->b1"

    def test_full_queue_by_tokens(self) -> None:
        """Waiting prompts are bounded in tokens too, but one always fits."""
        talk = busy(max_waiting_tokens=100)
        assert talk.arrive("a", "xx") == ""
        assert talk.arrive("b") == "b!queue_full"

    def test_without_a_backend_that_is_the_reason(self) -> None:
        """Contention and no capacity at all are told apart; waiting is allowed in both."""
        talk = Talk(backend(up=False), config=SchedulerConfig(max_waiting=1, queue_seconds=5.0))
        assert talk.arrive("a") == ""
        assert talk.arrive("b", at=0.5) == "b!no_backend"
        assert talk.say(Tick(), 5.0) == "a!no_backend"

    def test_the_less_important_give_way(self) -> None:
        """In a full queue, the one of lowest priority that came last is refused instead."""
        talk = busy(max_waiting=3)
        talk.arrive("low", at=0.1)
        talk.arrive("late", at=0.2)
        talk.arrive("high", at=0.3, priority=2)
        assert talk.arrive("mid", at=0.4, priority=1) == "late!shed"
        assert talk.arrive("equal", at=0.5) == "equal!queue_full"
        assert talk.arrive("top", at=0.6, priority=3) == "low!shed"
        assert talk.arrive("more", at=0.7, priority=1) == "more!queue_full"

    def test_as_many_give_way_as_are_needed(self) -> None:
        """For a long prompt several; nobody if that would not be enough."""
        talk = busy(max_waiting_tokens=330)
        talk.arrive("a", "x", priority=1)
        talk.arrive("b", "x")
        talk.arrive("c", "x")
        assert talk.arrive("long", "xxx", priority=1) == "long!queue_full"
        assert talk.arrive("longer", "xxx", priority=2) == "c!shed b!shed a!shed"
        assert talk.scheduler.snapshot(1.0).waiting_tokens == 310

    def test_one_always_fits(self) -> None:
        """However long its prompt is, if it matters more than all that wait."""
        talk = busy(max_waiting_tokens=330)
        talk.arrive("a", "x")
        talk.arrive("b", "x")
        assert talk.arrive("huge", "xxxxxxx", priority=1) == "b!shed a!shed"

    def test_who_was_sent_once_does_not_give_way(self) -> None:
        """A request that its backend failed has waited its turn before."""
        talk = busy(max_waiting=1)
        assert talk.say(Failed("busy", retry=True), 0.1) == "busy->b"
        talk = Talk(backend(), config=SchedulerConfig(max_waiting=1))
        talk.arrive("a")
        talk.say(BackendChanged(backend(up=False)), 0.1)
        talk.say(Failed("a", retry=True), 0.2)
        assert talk.arrive("high", at=0.3, priority=9) == "high!no_backend"

    def test_deadline_of_the_queue(self) -> None:
        """Nobody waits longer than the queue allows."""
        talk = busy(queue_seconds=5.0)
        talk.arrive("a", at=1.0)
        assert talk.scheduler.deadline() == 6.0
        assert talk.say(Tick(), 6.0) == "a!deadline"

    def test_deadline_of_the_request(self) -> None:
        """A request's own deadline counts when it is earlier."""
        talk = busy()
        talk.arrive("a", at=1.0, deadline=2.0)
        talk.arrive("b", at=1.0)
        assert talk.say(Tick(), 2.0) == "a!deadline"
        assert talk.say(Cancelled("b"), 3.0) == ""
        assert talk.scheduler.deadline() is None

    def test_a_policy_may_decline(self) -> None:
        """A policy that places a request nowhere is asked again at the next event."""

        class Reluctant(Fcfs):
            def place(self, request: Request, view: View) -> None:
                return None

        talk = Talk(backend(), backend("c"), policy=Reluctant())
        talk.arrive("first")
        assert talk.dispatches["first"].reason == "direct", "a hungry backend is fed all the same"

    def test_many_cancelled_leave_no_trace(self) -> None:
        """Stale heap items are dropped in time: memory follows the live requests."""
        talk = Talk(backend(up=False))
        talk.arrive("stays")
        for number in range(2000):
            talk.arrive(str(number), at=number / 1000)
            talk.say(Cancelled(str(number)), number / 1000)
        queue = talk.scheduler._waiting.queues["m"]
        (line,) = queue._lines.values()
        assert sum(map(len, line.lanes[OPEN].values())) < 200
        assert len(talk.scheduler._admission._expiries) < 200
