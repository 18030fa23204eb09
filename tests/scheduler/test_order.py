"""In which order requests go that wait, under policies of all kinds."""

from __future__ import annotations

from paceline.policies.fcfs import Fcfs
from paceline.policies.lpm import Lpm
from paceline.policies.random import Random
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    BackendChanged,
)
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request
from tests.scheduler.dialogue import Talk, backend, request, sglang


class TestOrder:
    def fill(self, talk: Talk) -> None:
        """Keep backend b busy with a pool's worth of prefill."""
        talk.arrive("busy", "ABCDEFGH")

    def test_priority_is_strict(self) -> None:
        """A higher tier goes first, whatever the policy."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=300))
        self.fill(talk)
        talk.arrive("low", "x", at=0.1)
        talk.arrive("high", "y", at=0.2, priority=1)
        assert talk.first_byte("busy", 1.0) == "high->b low->b"

    def test_fcfs(self) -> None:
        """First come, first served."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=200))
        self.fill(talk)
        talk.arrive("warm", "x", at=0.1)
        talk.arrive("cold", "A", at=0.2)
        assert talk.first_byte("busy", 1.0) == "warm->b cold->b"

    def test_lpm_follows_the_cache(self) -> None:
        """Longest match first, and again as dispatches change what is cached."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=100), policy=Lpm())
        self.fill(talk)
        for id, prefix in [("x1", "x"), ("y1", "y"), ("y2", "y"), ("x2", "x"), ("A", "ABq")]:
            talk.arrive(id, prefix, at=0.1)
        order = ["busy"]
        for id in order:
            order += talk.first_byte(id, 0.2).replace("->b", "").split()
        assert order == ["busy", "A", "x1", "x2", "y1", "y2"]

    def test_lpm_bounds_starvation(self) -> None:
        """A cold request goes before warm ones once it waited thrice the mean."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=100), policy=Lpm(max_wait_factor=3.0))
        talk.arrive("w0", "AB")
        talk.arrive("cold", "xyz", at=0.1)
        talk.arrive("w1", "ABc", at=0.4)
        assert talk.first_byte("w0", 0.45) == "w1->b"
        talk.arrive("w2", "ABd", at=0.5)
        assert talk.first_byte("w1", 0.7) == "cold->b"
        assert talk.dispatches["cold"].reason == "overdue"

    def test_overdue_followers_stay_held(self) -> None:
        """Waiting for a leader has a bound of its own."""
        config = SchedulerConfig(follower_min_tokens=100)
        talk = Talk(sglang(), policy=Lpm(), config=config)
        talk.arrive("lead", "xxx")
        talk.arrive("f1", "xxx", at=0.1)
        assert talk.arrive("other", "y", at=5.0) == "other->s"
        assert talk.first_byte("lead", 6.0) == "f1->s"
        assert talk.dispatches["f1"].reason == "overdue"

    def test_random_is_seeded(self) -> None:
        """The same events draw the same order, and not that of arrival."""

        def draw() -> str:
            talk = Talk(backend(kv_tokens=None, chunk_tokens=4000), policy=Random())
            talk.say(BackendChanged(backend(up=False)), 0.0)
            for number in range(8):
                talk.arrive(str(number), at=0.1)
            up = backend(kv_tokens=None, chunk_tokens=4000)
            return talk.say(BackendChanged(up), 1.0).replace("->b", "")

        assert draw() == draw()
        assert sorted(draw().split()) == list("01234567")
        assert draw().split() != list("01234567")


class TestAnotherPolicy:
    def test_who_waits_is_ordered_anew(self) -> None:
        """What waits in the order of one policy goes in the order of the next."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=100))
        talk.arrive("a", "xy")
        talk.arrive("b", "pq", at=1.0)
        talk.arrive("c", "pq", at=1.0)
        assert talk.scheduler.use(Backwards(), 2.0) == []
        assert talk.first_byte("a", 3.0) == "c->b"

    def test_the_new_policy_hears_of_those_who_wait(self) -> None:
        """It has seen everybody enter whom it will see leave."""
        talk = Talk(backend(kv_tokens=None, chunk_tokens=100))
        talk.arrive("a", "xy")
        talk.arrive("b", "pq", at=1.0)
        policy = Backwards()
        talk.scheduler.use(policy, 2.0)
        talk.first_byte("a", 3.0)
        assert policy.seen == ["+b", "-b"]

    def test_followers_wait_for_their_leader_again(self) -> None:
        """A change of order does not make siblings compute the same prefix twice."""
        config = SchedulerConfig(feed_chunks=1.0, follower_min_tokens=100)
        talk = Talk(sglang(kv_tokens=None), config=config)
        talk.arrive("a", "xyz")
        assert talk.arrive("b", "xyz", at=1.0) == ""
        assert talk.scheduler.use(Lpm(), 2.0) == []
        assert talk.first_byte("a", 3.0) == "b->s"


class Backwards(Policy):
    """Last come, first served; keeps account of the queue."""

    def __post_init__(self) -> None:
        self.seen: list[str] = []

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        return (-request.arrived_at, -ord(request.id))

    def entered(self, request: Request, view: View) -> None:
        self.seen.append(f"+{request.id}")

    def left(self, request: Request, view: View) -> None:
        self.seen.append(f"-{request.id}")


class Coldest(Policy):
    """Takes the backend that has least of the prompt."""

    def place(self, request: Request, view: View) -> Backend:
        return min(view.backends, key=lambda backend: view.cached(request, backend))


class Cheapest(Policy):
    """Goes by what a request costs where it costs least."""

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        best = view.cheapest(request)
        assert best is not None
        return (view.cost(request, best),)

    def place(self, request: Request, view: View) -> Backend:
        return min(view.backends, key=lambda backend: view.cost(request, backend))


class Halves(Fcfs):
    """Two buckets, and no rank of its own."""

    def bucket(self, request: Request, view: View) -> int:
        return len(request.prefix) % 2


def test_a_policy_may_order_by_cost() -> None:
    """What a request costs can be asked before it is placed; what is cached costs nothing."""
    talk = Talk(backend(kv_tokens=None, chunk_tokens=400), policy=Cheapest())
    talk.arrive("running", "xxx")
    talk.arrive("cold", "zzz")
    talk.arrive("warm", "xxxy", tail=100)
    assert talk.first_byte("running", 0.5) == "warm->b"


def test_without_a_rank_the_order_holds_across_buckets() -> None:
    """A policy that only has buckets is served as if it had none."""
    talk = Talk(backend(kv_tokens=None, chunk_tokens=4000), policy=Halves())
    talk.say(BackendChanged(backend(up=False)), 0.0)
    for number in range(5):
        talk.arrive(str(number), "x" * number, at=number / 10)
    up = BackendChanged(backend(kv_tokens=None, chunk_tokens=4000))
    assert talk.say(up, 1.0) == "0->b 1->b 2->b 3->b 4->b"
    view = talk.scheduler._view
    assert Halves().rank(request("a", at=3.0), view) == (3.0,)


def test_the_cheapest_is_where_it_costs_least() -> None:
    """A policy that compares costs by itself places as the base class does."""
    for policy in (Cheapest(), Fcfs()):
        talk = Talk(backend("b1"), backend("b2"), policy=policy)
        assert talk.arrive("a", "xx") == "a->b1"
        assert talk.arrive("b", "zz") == "b->b2"
        assert talk.arrive("c", "zzy") == "c->b2"
        assert talk.arrive("d", "xxy") == "d->b1"


def test_place_decides() -> None:
    """The policy's word on the backend counts."""
    talk = Talk(backend("b1"), backend("b2"), policy=Coldest())
    assert talk.arrive("a", "xx") == "a->b1"
    assert talk.arrive("b", "xx") == "b->b2"
