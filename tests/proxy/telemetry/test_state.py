"""The state is JSON that says what runs and how it stands."""

from __future__ import annotations

import json

from paceline import __version__
from paceline.proxy.config import Config, PolicyConfig
from paceline.proxy.telemetry.state import EngineState, state_json
from tests.proxy.telemetry.test_gauges import FULL


def test_state_is_the_snapshot_with_its_frame() -> None:
    """Version, uptime, policy and engines stand around the scheduler's own snapshot."""
    config = Config(policy=PolicyConfig(name="lpm", settings={"window": 64}))
    engine = EngineState(name="e", state="ready", pid=7, restarts=1, log="logs/e.log")
    state = json.loads(state_json(config, FULL, 12.34, [engine]))
    assert state["engines"] == [
        {"name": "e", "state": "ready", "pid": 7, "restarts": 1, "log": "logs/e.log"}
    ]
    assert state["version"] == __version__
    assert state["uptime_seconds"] == 12.3
    assert (state["policy"], state["policy_settings"]) == ("lpm", {"window": 64})
    assert state["scheduler"]["waiting"] == 3
    assert [backend["id"] for backend in state["scheduler"]["backends"]] == ["a:1", "b:2"]
