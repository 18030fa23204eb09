"""The default, which needs no tuning: strict tiers, then tenants' turns, then longest prefix match.

Tiers come from `Request.priority`. Tenants take turns (`fair`) only while several wait. Within one,
longest prefix match with the bound of three mean waits: on one replica it comes within 1% of the
best order on each workload of bench/policies.py but one (24 long families on SGLang, where `hrrn`
is 11% faster); `hrrn` loses up to 36% elsewhere and `k-lpm` up to 10%. docs/policies.md has the
table.
"""

from __future__ import annotations

from paceline.policies.fair import Fair


class Auto(Fair):
    """Whatever waits: strict priority, tenants in turn, longest prefix match first. The default."""
