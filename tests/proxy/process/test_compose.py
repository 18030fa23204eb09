"""The parts of a proxy work together."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from paceline.proxy.config import BackendConfig, Config, PolicyConfig
from paceline.proxy.process.compose import Proxy
from paceline.proxy.telemetry import log
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.policy import Policy
from tests.proxy.scripted import always, engine
from tests.proxy.whole import MODELS, backend, whole

CONFIG = Config(backends=[BackendConfig(url="http://127.0.0.1:9", name="a", models=["m"])])


async def test_a_record_is_logged_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """What a request leaves behind reaches the log and `/metrics`."""
    proxy = Proxy(CONFIG)
    record = Record(id="r1", path="/v1/completions", status=429, outcome="rejected")
    record.reason = "queue_full"
    proxy.gateway.on_record(record)
    assert log.stderr().drain(5.0)
    assert capsys.readouterr().err.count("r1") == 1
    page, content_type = proxy.gateway.metrics()
    assert b'paceline_decisions_total{reason="queue_full"} 1.0' in page
    assert content_type.startswith("text/plain")


async def test_state_names_the_policy() -> None:
    """`/paceline/state` is the scheduler of this proxy."""
    state = json.loads(Proxy(CONFIG).gateway.state())
    assert state["policy"] == "auto"
    assert state["scheduler"]["waiting"] == 0


async def test_not_ready_while_stopping() -> None:
    """Once told to stop, readiness is off whatever the backends do."""
    proxy = Proxy(CONFIG)
    proxy.stopping = True
    assert not proxy.gateway.ready()


class Crashes(Policy):
    """A policy with a defect that shows when it is asked."""

    def place(self, request: Any, view: Any) -> None:
        raise KeyError(request.id)


async def test_a_policy_that_crashes_costs_no_request() -> None:
    """Requests go on, first come, first served; it is logged once, counted, and shown."""
    policy = PolicyConfig(name="tests.proxy.process.test_compose:Crashes")
    async with engine(always(MODELS)) as one:
        config = Config(backends=[backend(one.port)], policy=policy)
        with capture_logs() as logs:
            async with whole(config) as proxy:
                answers = await asyncio.gather(*(proxy.chat() for _ in range(20)))
                state = json.loads((await proxy.ask("GET", "/paceline/state")).body)
                page = (await proxy.ask("GET", "/metrics")).body.decode()
    assert [answer.status for answer in answers] == [200] * 20
    assert state["policy"] == "fcfs"
    assert float(page.partition("\npaceline_policy_crashes_total ")[2].split()[0]) >= 1
    crashes = [log for log in logs if log["event"].startswith("policy crashed")]
    assert [(log["policy"], log["method"]) for log in crashes] == [(policy.name, "place")]
