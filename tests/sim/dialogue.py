"""Words for dialogues with the simulator: small engines, small workloads, whole runs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from paceline.engines.model.engine import EngineConfig
from paceline.engines.model.steptime import StepTime
from paceline.sim.experiment import Job, Outcome, run
from paceline.sim.frontend import FrontendTime
from paceline.sim.generators import Gsp
from paceline.sim.record import Row
from paceline.sim.rows import Rows
from paceline.sim.run import RunConfig
from paceline.sim.spec import Synthetic
from paceline.sim.workload import Session, Turn

FLAT = StepTime(c0=1e6, tw=0, k=0, a=0, b=0, g=0)
"""Every step takes one second."""
NO_FRONTEND = FrontendTime(latency=0, token=0, request=0, burst=0)
FAMILIES = Gsp(groups=6, members=4, shared=300, unique=40, output=4)


def engine(**fields: object) -> EngineConfig:
    """An engine with the default times and a pool of 2,000 tokens."""
    return msgspec.convert({"kv_tokens": 2000} | fields, EngineConfig)


def outcome(policy: str = "lpm", **fields: object) -> Outcome:
    """A run of `FAMILIES`, all at once, with everything kept."""
    base = {"policy": policy, "engine": engine(), "keep_steps": True}
    config = RunConfig(**(base | fields))  # type: ignore[arg-type]
    return run(Job(config=config, workload=Synthetic(generator=FAMILIES), keep=True))


def turn(tokens: int = 32, out: int = 2, **fields: object) -> Turn:
    """A turn whose prompt shares nothing that another of a different length lacks."""
    return Turn(prompt=array("I", range(tokens)), output_tokens=out, max_tokens=out, **fields)  # type: ignore[arg-type]


def prompts(sessions: Iterable[Session]) -> list[list[bytes]]:
    """Prompts of all turns of all sessions."""
    return [[turn.prompt.tobytes() for turn in session.turns] for session in sessions]


def row(**fields: object) -> Row:
    """A request that was served at once: first token after 1 s, last after 3."""
    base = {"id": "r", "arrival": 0.0, "dispatched": 0.0, "first": 1.0, "last": 3.0}
    return Row(**({"prompt": 100, "out": 5, "backend": "b0", "reason": "direct"} | base | fields))  # type: ignore[arg-type]


def rows(folder: Path, *lines: str, skip_bad: bool = False) -> Rows:
    """A reader of a file with these lines."""
    path = folder / "trace"
    path.write_text("\n".join(lines) + "\n")
    return Rows(path, skip_bad=skip_bad)
