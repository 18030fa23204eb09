"""The default: what needs no tuning. Strict tiers, then tenants' turns, then prefix order.

In each tenant longest prefix match.
"""

from __future__ import annotations

from paceline.policies.fair import Fair


class Auto(Fair):
    """The default."""
