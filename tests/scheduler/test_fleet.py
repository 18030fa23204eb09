"""Several backends: which one a request goes to, and what becomes of it when they come and go."""

from __future__ import annotations

from paceline.scheduler.events import (
    BackendChanged,
    BackendRemoved,
    BackendReset,
    Failed,
)
from tests.scheduler.dialogue import Talk, backend, sglang


class TestFleet:
    def test_cold_requests_spread(self) -> None:
        """Strangers go where there is least to do."""
        talk = Talk(backend("b1"), backend("b2"))
        assert talk.arrive("a", "xx") == "a->b1"
        assert talk.arrive("b", "yy") == "b->b2"

    def test_families_stay_together(self) -> None:
        """A warm prefix draws its family as long as load allows."""
        talk = Talk(backend("b1"), backend("b2"))
        talk.arrive("a", "xxxx")
        assert talk.arrive("b", "xxxx") == "b->b1"

    def test_waits_for_the_warm_backend(self) -> None:
        """Warm but busy is worth a wait while the others have work of their own."""
        talk = Talk(backend("b1", chunk_tokens=800), backend("b2"))
        talk.arrive("a", "xxxxxxxx")
        talk.arrive("b", "yyy")
        assert talk.arrive("c", "xxxxxxxx") == ""
        assert talk.arrive("d", "z") == "d->b2"
        assert talk.first_byte("a", 0.5) == "c->b1"

    def test_an_idle_backend_takes_the_oldest(self) -> None:
        """Nobody waits for a warm backend while another has nothing to do."""
        talk = Talk(backend("b1", chunk_tokens=800), backend("b2"))
        talk.arrive("a", "xxxxxxxx")
        talk.arrive("b", "yyy")
        talk.arrive("c", "xxxxxxxx")
        assert talk.first_byte("b", 0.5) == "c->b2"
        assert talk.dispatches["c"].reason == "moved"

    def test_follows_a_leader_that_keeps_its_backend_busy(self) -> None:
        """What is being computed where nothing more is wanted is not computed elsewhere too."""
        talk = Talk(sglang("b1"), sglang("b2", chunk_tokens=300))
        assert talk.arrive("a", "xxxxxxxx") == "a->b1"
        assert talk.arrive("b", "yyy") == "b->b2"
        assert talk.arrive("c", "xxxxxxxx") == ""
        assert talk.first_byte("a", 0.5) == "c->b1"

    def test_an_idle_backend_takes_a_follower_of_anothers_leader(self) -> None:
        """A follower waits for its own leader, not for one that computes elsewhere."""
        talk = Talk(sglang("b1"), sglang("b2", chunk_tokens=300))
        talk.arrive("a", "xxxxxxxx")
        talk.arrive("b", "yyy")
        talk.arrive("c", "xxxxxxxx")
        talk.arrive("d", "xxxxxxxx")
        assert talk.first_byte("b", 0.5) == "c->b2"
        assert talk.finish("c", 0.6) == "d->b2"

    def test_nobody_waits_for_a_warm_backend_that_is_down(self) -> None:
        """What is cached where nothing can be sent is no reason to wait."""
        talk = Talk(backend("b1"), backend("b2", chunk_tokens=800), backend("b3"))
        assert talk.arrive("a", "xxxx") == "a->b1"
        assert talk.arrive("b", "yyyyyyyy") == "b->b2"
        talk.say(BackendChanged(backend("b1", up=False)), 0.1)
        assert talk.arrive("c", "xxxx", at=0.2) == "c->b3"

    def test_a_hot_prefix_is_replicated(self) -> None:
        """Bounded load: one family does not melt one backend."""
        talk = Talk(backend("b1", kv_tokens=None), backend("b2", kv_tokens=None))
        where = [talk.arrive(f"r{i}", "xxx")[-2:] for i in range(40)]
        assert where[:4] == ["b1"] * 4
        assert where.count("b2") > 10

    def test_a_faster_backend_gets_more(self) -> None:
        """Work is weighed by measured speed: four at four times the speed end before one."""
        talk = Talk(backend("b1"), backend("b2"))
        assert talk.arrive("a", "aaaa") == "a->b1"
        assert talk.arrive("b", "bbbb") == "b->b2"
        talk.first_byte("a", 0.041)
        talk.first_byte("b", 0.164)
        talk.finish("a", 0.2)
        talk.finish("b", 0.2)
        assert [talk.arrive(f"r{i}", at=0.3, tail=210)[-2:] for i in range(4)] == ["b1"] * 4

    def test_down_and_up(self) -> None:
        """A backend that is down gets nothing; who waits goes when it is back."""
        talk = Talk()
        talk.say(BackendChanged(backend(up=False)), 0.0)
        assert talk.arrive("a") == ""
        assert talk.say(BackendChanged(backend(draining=True)), 1.0) == ""
        assert talk.say(BackendChanged(backend()), 2.0) == "a->b"

    def test_retry_goes_elsewhere(self) -> None:
        """A request that a backend failed goes first, and to another one."""
        talk = Talk(backend("b1"), backend("b2"))
        talk.arrive("a", "xx")
        assert talk.say(Failed("a", retry=True), 0.1) == "a->b2"
        assert talk.dispatches["a"].reason == "retry"

    def test_retry_waits_for_another_backend(self) -> None:
        """It does not go back to the one that failed it while there is another."""
        talk = Talk(backend("b1"), backend("b2", chunk_tokens=100))
        assert talk.arrive("a", "xx") == "a->b1"
        assert talk.arrive("busy", "zz") == "busy->b2"
        assert talk.say(Failed("a", retry=True), 0.1) == ""
        assert talk.first_byte("busy", 0.2) == "a->b2"

    def test_retry_with_one_backend(self) -> None:
        """With a single backend a retry can only go there again."""
        talk = Talk()
        talk.arrive("a")
        assert talk.say(Failed("a", retry=True), 0.1) == "a->b"
        assert talk.dispatches["a"].reason == "retry"

    def test_removed_backend(self) -> None:
        """What ran on a removed backend is over; who waited for it looks elsewhere."""
        talk = Talk(backend("b1", chunk_tokens=800), backend("b2"))
        talk.arrive("a", "xxxxxxxx")
        talk.arrive("b", "yyy")
        talk.arrive("c", "xxxxxxxx")
        assert talk.say(BackendRemoved("b1"), 0.5) == ""
        assert talk.scheduler.snapshot(0.5).in_flight == 1
        assert talk.first_byte("b", 0.6) == "c->b2"

    def test_reset_backend(self) -> None:
        """A restarted engine has nothing cached."""
        talk = Talk()
        talk.arrive("a", "xx")
        talk.finish("a", 1.0)
        talk.say(BackendReset("b"), 1.5)
        talk.arrive("b", "xx", at=2.0)
        assert talk.dispatches["b"].cached_tokens == 0

    def test_a_smaller_pool_holds_less(self) -> None:
        """New facts about the pool evict at once."""
        talk = Talk()
        talk.arrive("a", "xxx")
        talk.finish("a", 1.0)
        talk.say(BackendChanged(backend(kv_tokens=100)), 1.5)
        talk.arrive("b", "xxx", at=2.0)
        assert talk.dispatches["b"].cached_tokens == 0

    def test_an_api_of_one_kind(self) -> None:
        """Requests for an API that only some engines have go to those, or are refused."""
        talk = Talk(backend("b1"), backend("b2", apis=("/generate",)))
        assert talk.arrive("a", model="/generate") == "a->b2"
        assert talk.arrive("b", model="/generate") == "b->b2"
        assert Talk().arrive("a", model="/generate") == "a!unknown_model"

    def test_several_models(self) -> None:
        """Each model has a queue of its own; the oldest request's queue is served first."""
        talk = Talk(backend(models=("m", "n"), max_running=1, kv_tokens=None))
        talk.arrive("busy")
        talk.arrive("n1", model="n", at=0.1)
        talk.arrive("m1", model="m", at=0.2)
        talk.arrive("n2", model="n", at=0.3)
        assert talk.finish("busy", 1.0) == "n1->b"
        assert talk.finish("n1", 2.0) == "m1->b"
        assert [queue.model for queue in talk.scheduler.snapshot(2.5).queues] == ["n"]
