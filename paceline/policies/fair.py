"""Deficit longest prefix match: tenants take turns in quanta of work, each in prefix order.

DLPM (Cao et al., "Locality-aware Fair Scheduling in LLM Serving", arXiv 2501.14312): a tenant goes,
longest match first, until its quantum is used up; when every waiting tenant's is, all get another.
Work is what is computed: uncached prompt tokens, and output tokens at the double as in VTC (Sheng
et al., OSDI 2024). Here the quanta used are counted up instead of a deficit down, which is the
same: the tenants in the lowest round go. A tenant with nothing waiting does not save up: it comes
back in the round that the others have reached.
"""

from __future__ import annotations

from msgspec import field

from paceline.policies.lpm import Lpm
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request

OUTPUT_WEIGHT = 2.0
"""What an output token costs in prompt tokens (VTC)."""

MAX_OWING = 1000
"""Tenants that do not wait but are ahead of the others, and for which that is remembered."""


class Fair(Lpm):
    """Equal work for each tenant; within a tenant, longest prefix match first."""

    weights: dict[str, float] = field(default_factory=dict)
    """How much a tenant gets compared with others; 1 for those not named."""
    quantum: float = 16384.0
    """Tokens of work after which others have their turn: two steps of an engine. A large one keeps
    more of a tenant's prefixes together, a small one makes waits more even."""

    def __post_init__(self) -> None:
        self._used: dict[str, float] = {}
        """Weighted tokens by tenant, in the currency of rounds."""
        self._waiting: dict[str, int] = {}
        self._round = 0.0
        """The round of those that were served last."""
        self._sweep_at = 64

    def share(self, request: Request) -> str:
        """Its tenant."""
        return request.tenant

    def turn(self, share: str, view: View) -> float:
        """Rounds that the tenant has used up."""
        return self._used[share] // self.quantum

    def entered(self, request: Request, view: View) -> None:
        """Who comes back joins the present round."""
        tenant = request.tenant
        waiting = self._waiting.get(tenant, 0)
        self._waiting[tenant] = waiting + 1
        if not waiting:
            start = self._round * self.quantum
            if self._used.get(tenant, -1.0) < start:
                self._used[tenant] = start

    def left(self, request: Request, view: View) -> None:
        """One less waits."""
        tenant = request.tenant
        waiting = self._waiting.pop(tenant) - 1
        if waiting:
            self._waiting[tenant] = waiting
        elif len(self._used) > self._sweep_at:
            self._sweep()

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """Charge what it will compute."""
        turn = self.turn(request.tenant, view)
        if turn > self._round:
            self._round = turn
        computes = request.prompt_tokens - view.cached(request, backend)
        self._charge(request.tenant, computes if computes > 0 else 0)

    def finished(self, request: Request, output_tokens: int) -> None:
        """Charge what it computed besides."""
        self._charge(request.tenant, OUTPUT_WEIGHT * output_tokens)

    def _charge(self, tenant: str, tokens: float) -> None:
        used = self._used.get(tenant, self._round * self.quantum)
        self._used[tenant] = used + tokens / self.weights.get(tenant, 1.0)

    def _sweep(self) -> None:
        """Forget tenants that neither wait nor owe; amortised O(1)."""
        start = self._round * self.quantum
        idle = [tenant for tenant in self._used if tenant not in self._waiting]
        owing = [tenant for tenant in idle if self._used[tenant] > start]
        for tenant in set(idle).difference(owing[-MAX_OWING:]):
            del self._used[tenant]
        self._sweep_at = 64 + 2 * len(self._used)
