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


class Account:
    """What one tenant has used."""

    __slots__ = ("used", "waiting", "weight")

    def __init__(self, used: float, weight: float) -> None:
        self.used = used
        """Weighted tokens, in the currency of rounds."""
        self.waiting = 0
        """Its requests that wait."""
        self.weight = weight


class Fair(Lpm):
    """Equal work for each tenant; within a tenant, longest prefix match first."""

    weights: dict[str, float] = field(default_factory=dict)
    """How much a tenant gets compared with others; 1 for those not named."""
    quantum: float = 16384.0
    """Tokens of work after which others have their turn: two steps of an engine. A large one keeps
    more of a tenant's prefixes together, a small one makes waits more even."""

    def __post_init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        """By tenant."""
        self._round = 0.0
        """The round of those that were served last."""
        self._sweep_at = 64

    def share(self, request: Request) -> str:
        """Its tenant."""
        return request.tenant

    def turn(self, share: str, view: View) -> float:
        """Rounds that the tenant has used up."""
        return self._accounts[share].used // self.quantum

    def entered(self, request: Request, view: View) -> None:
        """Who comes back joins the present round."""
        account = self._accounts.get(request.tenant) or self._open(request.tenant)
        if not account.waiting:
            start = self._round * self.quantum
            if account.used < start:
                account.used = start
        account.waiting += 1

    def left(self, request: Request, view: View) -> None:
        """One less waits."""
        account = self._accounts[request.tenant]
        account.waiting -= 1
        if not account.waiting and len(self._accounts) > self._sweep_at:
            self._sweep()

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """Charge what it will compute."""
        account = self._accounts[request.tenant]
        turn = account.used // self.quantum
        if turn > self._round:
            self._round = turn
        computes = request.prompt_tokens - view.cached(request, backend)
        if computes > 0:
            account.used += computes / account.weight

    def finished(self, request: Request, output_tokens: int) -> None:
        """Charge what it computed besides."""
        account = self._accounts.get(request.tenant) or self._open(request.tenant)
        account.used += OUTPUT_WEIGHT * output_tokens / account.weight

    def _open(self, tenant: str) -> Account:
        """An account for a tenant that has none, or has none any more: in the present round."""
        weight = self.weights.get(tenant, 1.0)
        account = self._accounts[tenant] = Account(self._round * self.quantum, weight)
        return account

    def _sweep(self) -> None:
        """Forget tenants that neither wait nor owe; amortised O(1)."""
        start = self._round * self.quantum
        idle = [tenant for tenant, account in self._accounts.items() if not account.waiting]
        owing = [tenant for tenant in idle if self._accounts[tenant].used > start]
        for tenant in set(idle).difference(owing[-MAX_OWING:]):
            del self._accounts[tenant]
        self._sweep_at = 64 + 2 * len(self._accounts)
