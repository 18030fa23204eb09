"""Tenants that share the engines, each with prefixes and bursts of its own."""

from __future__ import annotations

from random import Random

from msgspec import Struct

from paceline.sim.arrivals import Gaps, gaps, mixed, spaced
from paceline.sim.generators import Gsp, generate
from paceline.sim.workload import Workload

TENANTS_CV = 2.5
"""How bursty each tenant is unless told: ServeGen's clients lie between 1 and 4."""


class Tenants(Struct, frozen=True, kw_only=True, tag="tenants", forbid_unknown_fields=True):
    """Several tenants, whose rates follow Zipf's law; each comes in bursts."""

    tenants: int = 8
    """How many."""
    groups: int = 8
    """Prompt families a tenant has."""
    members: int = 12
    """Requests a family, on average."""
    shared: int = 2000
    """Tokens that a family's prompts share."""
    unique: int = 200
    """Tokens of each prompt's own."""
    output: int = 64
    """Tokens of each answer."""


def tenants(
    settings: Tenants, seed: int, *, rate: float, gap: Gaps = "gamma", cv: float = TENANTS_CV
) -> Workload:
    """All tenants' requests by arrival; the n-th tenant sends 1/n of what the first one does.

    Args:
        settings: who they are and what they ask.
        seed: of all draws.
        rate: requests a second of all together.
        gap: distribution of each tenant's gaps.
        cv: their coefficient of variation: public services show 1 to 4 (ServeGen).
    """
    prompts = Gsp(
        groups=settings.groups,
        members=settings.members,
        shared=settings.shared,
        unique=settings.unique,
        output=settings.output,
        popularity="zipf",
    )
    harmonic = sum(1 / rank for rank in range(1, settings.tenants + 1))
    streams = []
    for rank in range(1, settings.tenants + 1):
        rng = Random(f"tenant {seed} {rank}")
        pauses = gaps(gap, rate / rank / harmonic, cv, rng)
        streams.append(spaced(generate(prompts, seed, f"t{rank}-"), pauses))
    return mixed(*streams)
