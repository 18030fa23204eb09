"""Leaders go before their followers, where that pays."""

from __future__ import annotations

import pytest

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Cancelled,
    Failed,
    Tick,
)
from tests.scheduler.dialogue import Talk, sglang


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
