"""What holds for every run, whatever the policy, the engine and the workload."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.model.engine import SequenceRequest
from paceline.engines.model.steptime import StepTime
from paceline.policies.registry import PolicyError
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import Arrived, Event
from paceline.sim.arrivals import Gaps
from paceline.sim.driver import Driver
from paceline.sim.experiment import Job, Outcome, run
from paceline.sim.frontend import SERIAL, FrontendTime
from paceline.sim.generators import Agents, Chat, Forks, Generator, Gsp
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from paceline.sim.source import Source
from paceline.sim.spec import Arrivals, Synthetic
from paceline.sim.workload import single
from tests.sim.dialogue import FLAT, NO_FRONTEND, engine, outcome, turn

GENERATORS: list[Generator] = [
    Gsp(groups=5, members=4, shared=200, unique=30, output=5),
    Gsp(groups=5, members=4, shared=200, unique=30, output=5, popularity="zipf"),
    Chat(sessions=6, turns=3, system=60, user=30, output=20, think=0.5),
    Agents(sessions=4, turns=3, templates=2, system=150, result=30, output=10, tool=0.1),
    Forks(prompts=4, samples=3, shared=20, prompt=90, output=20),
]
QUICK = StepTime(c0=1, tw=0, k=0, a=0, b=0, g=0)
"""Every step takes a microsecond."""
POLICIES = [NO_PROXY, "fcfs", "lpm", "random"]


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Small runs of all kinds."""
    rate = draw(st.sampled_from([None, 2.0, 40.0]))
    gap: Gaps = draw(st.sampled_from(["poisson", "gamma", "weibull"]))
    config = RunConfig(
        policy=draw(st.sampled_from(POLICIES)),
        backends=draw(st.integers(1, 3)),
        engine=engine(
            kind=draw(st.sampled_from(["vllm", "sglang"])),
            kv_tokens=draw(st.sampled_from([600, 1500, 20_000])),
            chunk_tokens=draw(st.sampled_from([128, 8192])),
        ),
        concurrency=draw(st.sampled_from([None, 1, 4])),
        seed=draw(st.integers(0, 3)),
        keep_steps=True,
    )
    workload = Synthetic(
        generator=draw(st.sampled_from(GENERATORS)),
        arrivals=Arrivals(rate=rate, gap=gap, cv=2.0),
    )
    return Job(config=config, workload=workload, keep=True)


@settings(max_examples=40, deadline=None)
@given(jobs())
def test_conservation_and_causality(job: Job) -> None:
    """Every request that arrives ends once; its instants follow one another; a turn follows the end
    of the one before it; an engine's steps do not overlap; no time goes back."""
    made = run(job)
    ids = [row.id for row in made.rows]
    assert len(set(ids)) == len(ids) == made.summary.requests
    assert [row.arrival for row in made.rows] == sorted(row.arrival for row in made.rows)
    for row in made.rows:
        if row.last is None:
            assert row.reason == "too_long"
            continue
        assert row.dispatched is not None
        assert row.first is not None
        assert row.arrival <= row.dispatched < row.first <= row.last
        assert 0 <= row.cached < row.prompt
        assert row.out >= 1
    for steps in made.steps.values():
        for step, after in pairwise(steps):
            assert step.start < step.start + step.duration <= after.start
    times = [sample.time for sample in made.samples]
    assert times == sorted(times)
    turns = {row.id: row for row in made.rows}
    for row in made.rows:
        session, _, number = row.id.partition("#")
        before = turns.get(session if number == "1" else f"{session}#{int(number or 0) - 1}")
        if number:
            assert before is not None
            assert before.last is not None
            assert before.last <= row.arrival


@settings(max_examples=10, deadline=None)
@given(jobs())
def test_same_seed_same_bytes(job: Job) -> None:
    """A run can be repeated to the byte."""
    assert msgspec.json.encode(run(job)) == msgspec.json.encode(run(job))


@pytest.mark.parametrize("number", range(len(GENERATORS)))
def test_every_policy_meets_the_same_requests(number: int) -> None:
    """Which requests come, with which prompts and answers, does not depend on the policy."""

    def asked(policy: str) -> set[tuple[str, int, int]]:
        config = RunConfig(policy=policy, engine=engine(kv_tokens=50_000))
        job = Job(config=config, workload=Synthetic(generator=GENERATORS[number]), keep=True)
        return {(row.id, row.prompt, row.out) for row in run(job).rows}

    assert asked("lpm") == asked(NO_PROXY) == asked("random")


class Listener:
    """In place of a scheduler: keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event, now: float) -> list[object]:
        self.events.append(event)
        return []

    def deadline(self) -> None:
        return None


def test_the_scheduler_never_sees_the_answer() -> None:
    """Oracle boundary: turns that differ in their true answers alone look alike to it."""
    told: list[list[Event]] = []
    for out in (3, 300):
        listener = Listener()
        truth: dict[str, SequenceRequest] = {}
        asked = turn(out=out)
        asked.max_tokens = 500
        driver = Driver(listener, {})  # type: ignore[arg-type]
        Source(iter([single("a", asked)]), truth, None).begin(driver)
        driver.run()
        assert truth["a"].output_tokens == out
        told.append(listener.events)
    assert told[0] == told[1]
    assert isinstance(told[0][0], Arrived)


def test_a_lone_request_takes_what_its_steps_take() -> None:
    """One step for the prompt, one for each further token: 1 s each, and nothing else."""
    config = RunConfig(policy="fcfs", engine=engine(time=FLAT), frontend=NO_FRONTEND)
    (row,) = simulate(config, iter([single("a", turn(out=3), 2.0)])).rows
    assert (row.arrival, row.first, row.last) == (2.0, 3.0, 5.0)


def test_a_busy_engine_is_slower() -> None:
    """`busy` stretches the steps that follow another, not the first after a pause."""
    config = RunConfig(policy="fcfs", engine=engine(time=FLAT), frontend=NO_FRONTEND, busy=1.5)
    (row,) = simulate(config, iter([single("a", turn(out=3))])).rows
    assert (row.first, row.last) == (1.0, 4.0)


def test_the_front_end_delays_a_lone_request() -> None:
    """Its latency, its share of the API server and its tokens come before the first step."""
    config = RunConfig(policy=NO_PROXY, engine=engine(time=FLAT))
    (row,) = simulate(config, iter([single("a", turn(tokens=1000))])).rows
    assert row.first == pytest.approx(1.0 + 0.0100 + 0.00103 + 1000 * 0.7e-6)


def test_a_burst_starts_together() -> None:
    """The first goes ahead; the others reach the engine when the last of them is worked off."""
    config = RunConfig(policy=NO_PROXY, engine=engine(time=FLAT, kv_tokens=50_000))
    burst = [single(f"{i}", turn(tokens=100)) for i in range(200)]
    rows = simulate(config, iter(burst)).rows
    ahead = 0.0100 + 0.00103 + 100 * 0.7e-6
    firsts = sorted({round(row.first or 0.0, 6) for row in rows})
    assert firsts == pytest.approx([ahead + 1.0, ahead + 3.0])  # its first decode is under way
    steps = StepTime(c0=1e3, tw=0, k=0, a=0, b=0, g=0)
    config = RunConfig(policy=NO_PROXY, engine=engine(time=steps, kv_tokens=50_000))
    rows = simulate(
        config, iter([single(f"{i}", turn(tokens=100, out=300)) for i in range(200)])
    ).rows
    ready = 0.0100 + 0.017 + 200 * (0.00103 + SERIAL * 100 * 0.7e-6) + (1 - SERIAL) * 100 * 0.7e-6
    assert max(row.first or 0.0 for row in rows) == pytest.approx(ready + 0.001, abs=0.002)


def test_who_comes_soon_joins_the_burst() -> None:
    """A burst sent over 20 ms reaches the engine together, but for its first."""
    quick = StepTime(c0=1e3, tw=0, k=0, a=0, b=0, g=0)
    config = RunConfig(policy=NO_PROXY, engine=engine(time=quick, kv_tokens=50_000))
    burst = [single(f"{i:03d}", turn(tokens=100, out=300), i * 1e-4) for i in range(200)]
    first, *others = (row.first or 0.0 for row in simulate(config, iter(burst)).rows)
    ready = 0.0100 + 0.017 + 200 * (0.00103 + SERIAL * 100 * 0.7e-6)
    assert first < 0.013
    assert min(others) == pytest.approx(ready + 0.001, abs=0.002)
    assert max(others) < min(others) + 0.003  # three steps of 8,192 tokens


def test_sglang_hands_on_one_by_one() -> None:
    """All bodies of a burst are read before the first request goes to the engine; then one after
    another does, and who comes in the meantime is read after them."""
    quick = engine(kind="sglang", time=QUICK, kv_tokens=50_000)
    front = FrontendTime(latency=0.0, token=0.0, request=0.01, burst=0.1, reads=0.5)
    config = RunConfig(policy=NO_PROXY, engine=quick, frontend=front)
    burst = [single(f"{i}", turn(tokens=10)) for i in range(4)]
    rows = simulate(config, iter([*burst, single("late", turn(tokens=10), 0.01)])).rows
    firsts = [row.first or 0.0 for row in rows]
    handed_on = [0.1 + 4 * 0.005 + 0.005 * (i + 1) for i in range(4)]
    assert firsts[:4] == pytest.approx([at + 1e-6 for at in handed_on], abs=3e-6)
    assert firsts[4] == pytest.approx(handed_on[3], abs=3e-6)  # in order, and alone no burst


def test_a_prompt_longer_than_the_pool_fails_alone() -> None:
    """The engine refuses it; its session ends, others go on."""
    config = RunConfig(policy="lpm", engine=engine(kv_tokens=500))
    sessions = [single("long", turn(tokens=600)), single("short", turn(tokens=60))]
    long, short = simulate(config, iter(sessions)).rows
    assert (long.reason, long.last, short.last is None) == ("too_long", None, False)


def test_refusals_are_counted() -> None:
    """A queue that is full refuses, as the proxy does, and says so in the figures."""
    made = outcome("fcfs", scheduler=SchedulerConfig(max_waiting=3))
    refused = [row for row in made.rows if row.reason == "queue_full"]
    assert made.summary.refused == len(refused) > 0
    assert made.summary.completed + made.summary.refused == made.summary.requests == 24


def test_the_load_is_polled_while_there_is_some() -> None:
    """One sample every half second of work for each backend, however often it is dispatched to."""
    config = {"engine": engine(time=FLAT), "frontend": NO_FRONTEND}
    made: Outcome = outcome("lpm", **config)
    times = [sample.time for sample in made.samples]
    assert times == [0.5 * (i + 1) for i in range(len(times))]
    assert made.summary.makespan_s <= times[-1] < made.summary.makespan_s + 1.0


def test_prefix_order_beats_the_order_of_arrival() -> None:
    """With a pool of few families lpm hits more than fcfs; with room for all they are alike."""
    small = engine(kv_tokens=1000, chunk_tokens=400)
    lpm, fcfs = (outcome(policy, engine=small).summary for policy in ("lpm", "fcfs"))
    assert lpm.hit_rate > fcfs.hit_rate + 0.1
    assert lpm.makespan_s < fcfs.makespan_s
    roomy = engine(kv_tokens=20_000)
    lpm, fcfs = (outcome(policy, engine=roomy).summary for policy in ("lpm", "fcfs"))
    assert lpm.hit_rate == fcfs.hit_rate
    assert lpm.makespan_s == pytest.approx(fcfs.makespan_s, rel=0.05)


def test_an_unknown_policy_is_named() -> None:
    """The error is the registry's."""
    with pytest.raises(PolicyError, match="lmp"):
        outcome("lmp")
