"""A workload as it is asked for: small, comparable, and the same sessions whenever it is opened."""

from __future__ import annotations

from pathlib import Path
from random import Random

from msgspec import Struct

from paceline.sim.arrivals import Gaps, at_once, gaps, spaced
from paceline.sim.generators import Agents, Chat, Forks, Generator, Gsp, generate
from paceline.sim.mooncake import BLOCK_TOKENS
from paceline.sim.rows import Rows
from paceline.sim.tenants import Tenants, tenants
from paceline.sim.traces import open_trace
from paceline.sim.workload import Workload

TENANTS_RATE = 10.0
"""Requests a second of all tenants together, unless told."""
KINDS: dict[str, type[Generator | Tenants]] = {
    "gsp": Gsp,
    "chat": Chat,
    "agents": Agents,
    "forks": Forks,
    "tenants": Tenants,
}
"""Generators by the name that `--workload` takes."""


class Arrivals(Struct, frozen=True, kw_only=True):
    """When sessions start."""

    rate: float | None = None
    """Sessions a second; None for all at once."""
    gap: Gaps = "poisson"
    cv: float = 1.0


class Synthetic(Struct, frozen=True, kw_only=True, tag="synthetic"):
    """A generator and its arrivals; those of tenants are each tenant's own."""

    generator: Generator | Tenants
    arrivals: Arrivals = Arrivals()

    def open(self, seed: int) -> tuple[Workload, Rows | None]:
        """The sessions of this seed."""
        if isinstance(self.generator, Tenants):
            rate, gap, cv = self.arrivals.rate, self.arrivals.gap, self.arrivals.cv
            return tenants(self.generator, seed, rate=rate or TENANTS_RATE, gap=gap, cv=cv), None
        sessions = generate(self.generator, seed)
        if self.arrivals.rate is None:
            return at_once(sessions), None
        rng = Random(f"arrivals {seed}")
        return spaced(
            sessions, gaps(self.arrivals.gap, self.arrivals.rate, self.arrivals.cv, rng)
        ), None


class Trace(Struct, frozen=True, kw_only=True, tag="trace"):
    """A recorded trace: the same for every seed."""

    path: str
    block_tokens: int = BLOCK_TOKENS
    skip_bad: bool = False

    def open(self, seed: int) -> tuple[Workload, Rows | None]:
        """Its sessions, and the reader that counts bad rows; TraceError if the form is unknown."""
        return open_trace(Path(self.path), block_tokens=self.block_tokens, skip_bad=self.skip_bad)


WorkloadSpec = Synthetic | Trace
