"""The scheduler in dialogues: what goes at once, what waits, for what, and when it goes."""

from __future__ import annotations

import pytest

from paceline.policies.fcfs import Fcfs
from paceline.policies.lpm import Lpm
from paceline.policies.random import Random
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
from paceline.scheduler.fleet import Backend
from paceline.scheduler.line import OPEN
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import BackendSpec, Request
from tests.scheduler.dialogue import Talk, backend, request


def sglang(id: str = "s", **more: object) -> BackendSpec:
    """A backend that publishes late."""
    return backend(id, leader_first=True, **more)


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


class TestLeaders:
    def test_followers_wait_for_their_leader(self) -> None:
        """Where the cache publishes late, a follower goes when the leader's first byte came."""
        talk = Talk(sglang(), config=SchedulerConfig(follower_min_tokens=100))
        assert talk.arrive("lead", "xxx") == "lead->s"
        assert talk.arrive("f1", "xxx") == ""
        assert talk.arrive("f2", "xxx") == ""
        assert talk.arrive("other", "y") == "other->s"
        assert talk.first_byte("lead", 0.5) == "f1->s f2->s"
        assert talk.dispatches["f1"].cached_tokens == 300
        assert talk.dispatches["f1"].reason == "follower"

    @pytest.mark.parametrize("end", [Cancelled("lead"), Failed("lead")])
    def test_a_lost_leader_is_replaced(self, end: Cancelled | Failed) -> None:
        """When the leader goes, the first follower leads and the others wait for it."""
        talk = Talk(sglang(), config=SchedulerConfig(follower_min_tokens=100))
        talk.arrive("lead", "xxx")
        talk.arrive("f1", "xxx")
        talk.arrive("f2", "xxx")
        assert talk.say(end, 0.5) == "f1->s"
        assert talk.first_byte("f1", 0.6) == "f2->s"

    def test_patience_has_an_end(self) -> None:
        """A leader that shows no sign of life holds nobody longer than the cap."""
        config = SchedulerConfig(follower_min_tokens=100, follower_max_seconds=3.0)
        talk = Talk(sglang(), config=config)
        talk.arrive("lead", "xxx")
        talk.arrive("f1", "xxx")
        assert talk.scheduler.deadline() == 3.0
        assert talk.say(Tick(), 3.0) == "f1->s"

    def test_a_followers_own_deadline_may_come_first(self) -> None:
        """The scheduler wants to be woken for whichever is sooner."""
        talk = Talk(sglang(), config=SchedulerConfig(follower_min_tokens=100))
        talk.arrive("lead", "xxx")
        assert talk.arrive("f1", "xxx", deadline=1.0) == ""
        assert talk.scheduler.deadline() == 1.0
        assert talk.say(Tick(), 1.0) == "f1!deadline"

    def test_short_prefixes_are_not_worth_it(self) -> None:
        """What takes no longer to compute than to wait for is computed twice."""
        talk = Talk(sglang(), config=SchedulerConfig(follower_min_tokens=301))
        talk.arrive("lead", "xxx")
        assert talk.arrive("f1", "xxx") == "f1->s"

    def test_a_follower_leads_a_deeper_prefix(self) -> None:
        """Nested families: the released follower is itself waited for."""
        config = SchedulerConfig(follower_min_tokens=100)
        talk = Talk(sglang(kv_tokens=None), config=config)
        talk.arrive("lead", "x")
        talk.arrive("f1", "xyy")
        talk.arrive("f2", "xyy")
        assert talk.first_byte("lead", 0.5) == "f1->s"
        assert talk.dispatches["f1"].reason == "follower"
        assert talk.first_byte("f1", 0.9) == "f2->s"

    def test_not_where_the_cache_publishes_early(self) -> None:
        """On vLLM a scheduled prefix is hit at once: siblings go together."""
        talk = Talk(config=SchedulerConfig(follower_min_tokens=100))
        talk.arrive("lead", "xxx")
        assert talk.arrive("f1", "xxx") == "f1->b"

    def test_unseen_leaders_publish_in_time(self) -> None:
        """A leader without streaming releases its followers at its estimated end of prefill."""
        config = SchedulerConfig(follower_min_tokens=100)
        talk = Talk(sglang(), config=config)
        talk.arrive("lead", "xxx", streaming=False)
        talk.arrive("f1", "xxx", streaming=False)
        due = talk.scheduler.deadline()
        assert due == pytest.approx(310 / 20_000)
        assert talk.say(Tick(), due or 0.0) == "f1->s"


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


class Coldest(Policy):
    """Takes the backend that has least of the prompt."""

    def place(self, request: Request, view: View) -> Backend:
        return min(view.backends, key=lambda backend: view.cached(request, backend))


class Cheapest(Policy):
    """Goes by what a request costs where it costs least."""

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        return (min(view.cost(request, backend) for backend in view.backends),)


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


def test_place_decides() -> None:
    """The policy's word on the backend counts."""
    talk = Talk(backend("b1"), backend("b2"), policy=Coldest())
    assert talk.arrive("a", "xx") == "a->b1"
    assert talk.arrive("b", "xx") == "b->b2"
