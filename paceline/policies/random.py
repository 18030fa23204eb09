"""Random order, as in SGLang: the baseline that no order should lose to."""

from __future__ import annotations

from typing import ClassVar, Literal

from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request


class Random(Policy):
    """Any waiting request, drawn anew at every decision."""

    ranks: ClassVar[Literal["once", "on_match", "always"]] = "always"

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """A new number each time it is asked."""
        return (view.rng.random(),)
