"""A backend's condition is its most pressing one, and findings say what to look at."""

from __future__ import annotations

import msgspec
import pytest

from paceline.proxy.config import Config, PolicyConfig
from paceline.proxy.ui.condition import condition_of, findings
from paceline.proxy.ui.views import BackendState, Work
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.picture import Picture, QueueState
from paceline.scheduler.snapshot import Snapshot
from tests.proxy.telemetry.test_gauges import FULL

BUSY = FULL.backends[0]
GOOD = Work(ended=100, prompt=1000, predicted=800, reported=800)
EMPTY = Picture(
    queues=[],
    queue_count=0,
    families=[],
    family_count=0,
    alone=0,
    prefixes=[],
    prefix_count=0,
)
CONFIG = Config(scheduler=SchedulerConfig(max_waiting=100, queue_seconds=60.0))


def work(**more: int) -> Work:
    return msgspec.structs.replace(GOOD, **more)


@pytest.mark.parametrize(
    ("facts", "recent", "wanted", "condition"),
    [
        ({"kv_room": 9000}, GOOD, True, "ok"),
        ({"kv_tokens": None, "kv_room": None}, GOOD, True, "ok"),
        ({"kv_room": 100}, GOOD, True, "full"),
        ({"in_flight": 0}, GOOD, False, "idle"),
        ({"in_flight": 0}, GOOD, True, "starving"),
        ({}, work(missed=400), True, "thrashing"),
        ({}, work(missed=400, ended=9), True, "full"),
        ({}, work(missed=400, failed=10), True, "failing"),
        ({}, work(failed=5, ended=9), True, "full"),
        ({"draining": True}, work(failed=50), True, "draining"),
        ({"up": False, "draining": True}, work(failed=50), True, "down"),
    ],
)
def test_a_backend_has_one_condition(
    facts: dict[str, object], recent: Work, wanted: bool, condition: str
) -> None:
    """The worst comes first; a ratio of few requests says nothing."""
    now = msgspec.structs.replace(BUSY, **({"kv_room": 1000} | facts))
    assert condition_of(now, recent, wanted) == condition


def say(
    *states: BackendState,
    recent: Work = GOOD,
    snapshot: Snapshot = FULL,
    picture: Picture = EMPTY,
    policy: str = "auto",
    config: Config = CONFIG,
) -> list[tuple[str, str]]:
    """The findings as level and text."""
    found = findings(config, snapshot, picture, list(states), recent, policy)
    return [(finding.level, finding.text) for finding in found]


def state(condition: str, **recent: int) -> BackendState:
    return BackendState(
        now=BUSY,
        kind="vllm",
        url="http://a:1",
        recent=work(**recent),
        condition=condition,  # type: ignore[arg-type]
    )


def queue(**more: object) -> Picture:
    facts: dict[str, object] = {
        "model": "m",
        "waiting": 5,
        "held": 3,
        "parked": {},
        "full": [],
        "oldest_seconds": 1.0,
    }
    line = QueueState(**(facts | more))  # type: ignore[arg-type]
    return msgspec.structs.replace(EMPTY, queues=[line], queue_count=1)


def test_all_is_well() -> None:
    """Nothing is found where nothing is wrong, nor where nothing has happened."""
    assert say(state("ok"), state("full"), state("idle"), state("draining")) == []
    assert say(recent=Work()) == []


def test_backends_in_trouble_are_named() -> None:
    """Down and failing are bad; thrashing and starving are worth a look, after those."""
    found = say(
        state("starving"),
        state("thrashing", missed=400),
        state("down"),
        state("failing", failed=20),
        picture=queue(),
    )
    assert found == [
        ("bad", "a:1 is down: it is sent nothing."),
        ("bad", "a:1 failed 20 of 100 requests in five minutes."),
        ("warn", "a:1 has nothing to do while requests wait; 3 are held for a leader."),
        (
            "warn",
            "a:1 computed 50% of what was believed cached again:"
            " its KV pool turns over faster than expected.",
        ),
    ]
    assert say(state("starving")) == [("warn", "a:1 has nothing to do while requests wait.")]


def test_a_crashed_policy_is_bad() -> None:
    """The one in use is not the configured one."""
    config = Config(policy=PolicyConfig(name="mine"))
    text = "The policy mine crashed: fcfs is in use until a reload."
    assert say(policy="fcfs", config=config) == [("bad", text)]


def test_requests_that_fail_are_found() -> None:
    """All of them, many refused by engines, many sent twice."""
    assert say(recent=Work(ended=3, failed=3)) == [("bad", "All of the last 3 requests failed.")]
    assert say(recent=work(declined=6)) == [("warn", "Engines declined 6 of 100 requests (4xx).")]
    assert say(recent=work(retried=6)) == [("warn", "6 of 100 requests were sent a second time.")]
    assert say(recent=work(declined=5, retried=5)) == []


def test_a_queue_near_its_limits_is_found() -> None:
    """Before requests are refused: by number and by age."""
    snapshot = msgspec.structs.replace(FULL, waiting=80)
    assert say(snapshot=snapshot) == [("warn", "80 wait, 100 may: then they are refused (429).")]
    assert say(picture=queue(oldest_seconds=50.0)) == [
        ("warn", "The oldest request has waited 50 s; it is refused at 60 s.")
    ]


def test_engines_that_report_nothing_are_told_how() -> None:
    """Without reports nobody can say whether predictions are right."""
    ((level, text),) = say(recent=Work(ended=20, unreported=20))
    assert level == "note"
    assert "--enable-prompt-tokens-details" in text
    assert "--enable-cache-report" in text
