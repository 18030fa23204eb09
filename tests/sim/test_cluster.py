"""The grid on a Ray cluster, with a stand-in for Ray; tests/real has the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from paceline.sim.cluster import ClusterError, run_on_ray
from paceline.sim.experiment import Job, Outcome, run_all
from paceline.sim.extras import MissingExtra
from paceline.sim.rows import TraceError
from paceline.sim.run import RunConfig
from paceline.sim.spec import Synthetic, Trace
from tests.sim.dialogue import FAMILIES, engine


class RayError(Exception):
    """As Ray calls it."""


class RayTaskError(RayError):
    """What was raised in a task, wrapped."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class StandIn(ModuleType):
    """As much of Ray as is used; tasks run when they are asked for, the last one first."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, unreachable: bool = False) -> None:
        super().__init__("ray")
        self.log: list[str] = []
        self._unreachable = unreachable

    def init(self, address: str, **_: Any) -> None:
        self.log.append(f"init {address}")
        if self._unreachable:
            raise ConnectionError("nobody\nlistens there")

    def remote(self, function: Callable[[Job], Outcome]) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda job: lambda: function(job))

    def wait(self, pending: list[Any]) -> tuple[list[Any], list[Any]]:
        return pending[-1:], pending[:-1]

    def get(self, done: Callable[[], Outcome]) -> Outcome:
        try:
            return done()
        except Exception as error:
            raise RayTaskError(error) from error

    def shutdown(self) -> None:
        self.log.append("shutdown")


def jobs() -> list[Job]:
    configs = [RunConfig(policy=policy, engine=engine()) for policy in ("fcfs", "lpm")]
    return [Job(config=config, workload=Synthetic(generator=FAMILIES)) for config in configs]


def test_the_same_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order tasks end in, each outcome is its job's; the cluster is let go."""
    ray = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    made = dict(run_on_ray(jobs(), "auto"))
    assert list(made) == [1, 0]
    assert made == dict(run_all(jobs(), 1))
    assert ray.log == ["init auto", "shutdown"]


def test_a_tasks_error_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of file and reason, not Ray's traceback; the cluster is let go."""
    ray = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    job = Job(config=RunConfig(), workload=Trace(path="/nowhere"))
    with pytest.raises(TraceError, match=r"^/nowhere: "):
        list(run_on_ray([job], "auto"))
    assert ray.log[-1] == "shutdown"


def test_no_cluster_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is named, on one line."""
    monkeypatch.setitem(sys.modules, "ray", StandIn(unreachable=True))
    with pytest.raises(ClusterError, match="no Ray cluster at h:1: nobody listens there"):
        list(run_on_ray(jobs(), "h:1"))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"--ray needs ray: pip install 'paceline\[ray\]'"):
        list(run_on_ray(jobs(), "auto"))
