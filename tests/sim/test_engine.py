"""The simulated engine passes over steps, and nobody in the simulation can tell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from paceline.sim.experiment import Job, run
from paceline.sim.generators import Chat
from paceline.sim.run import RunConfig
from paceline.sim.spec import Synthetic
from tests.sim.dialogue import FLAT, NO_FRONTEND, engine
from tests.sim.test_run import jobs


@settings(max_examples=50)
@given(jobs(), st.booleans(), st.sampled_from([1.0, 1.07]))
def test_equal_to_step_by_step(job: Job, flat: bool, busy: float) -> None:
    """Runs whose steps are all kept and runs that pass over some: the same rows and samples.

    Runs that keep neither, where direct traffic is not even polled, come to the same figures.
    With steps of a whole second much falls into one instant.
    """
    config = structs.replace(job.config, busy=busy)
    if flat:
        config = structs.replace(
            config, frontend=NO_FRONTEND, engine=structs.replace(config.engine, time=FLAT)
        )
    every = run(structs.replace(job, config=structs.replace(config, keep_steps=True)))
    some = run(structs.replace(job, config=structs.replace(config, keep_steps=False)))
    assert some.rows == every.rows
    assert some.samples == every.samples
    unseen = run(structs.replace(job, config=structs.replace(config, keep_steps=False), keep=False))
    assert unseen.summary == every.summary
    assert unseen.samples == []


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_engines_in_lockstep_keep_their_order(kind: str) -> None:
    """Engines whose steps end together are heard in the same order, passed over or not."""
    flat = engine(kind=kind, time=FLAT, kv_tokens=1500)
    config = RunConfig(policy="fcfs", backends=2, engine=flat, frontend=NO_FRONTEND)
    chat = Chat(sessions=8, turns=3, system=60, user=30, output=20, think=0.5)
    job = Job(config=config, workload=Synthetic(generator=chat), keep=True)
    every = structs.replace(job, config=structs.replace(config, keep_steps=True))
    assert run(job).rows == run(every).rows
