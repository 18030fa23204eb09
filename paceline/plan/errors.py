"""The one error that planning raises."""

from __future__ import annotations


class PlanError(Exception):
    """A plan cannot be made; the message is one line that says why, and by how much."""
