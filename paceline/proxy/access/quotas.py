"""What each tenant may have: so many requests and tokens a second, so many requests at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from paceline.proxy.config import LimitsConfig, TenantLimits
from paceline.proxy.http.errors import ApiError
from paceline.scheduler.estimates import Mean

MOST_TENANTS = 10_000
"""Tenants remembered: names may come from clients. The one unheard of for longest goes first, and
starts anew when it comes back."""


class Rate:
    """So much a second, and a few seconds' worth at once: the generic cell rate algorithm.

    One number is all there is to keep: when all that was taken would be earned.
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    def wait(self, amount: float, rate: float, burst: float, now: float) -> float:
        """Take `amount` if there is room for it, and return 0; else seconds until there is.

        `burst` in seconds. What is larger than the burst has to find it whole, and overdraws it.
        """
        start = max(self._due, now)
        late = start + min(amount / rate, burst) - (now + burst)
        if late > 1e-9:
            return late
        self._due = start + amount / rate
        return 0.0


class Tenant:
    """The account of one."""

    __slots__ = ("active", "ended_at", "gap", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = Rate()
        self.tokens = Rate()
        self.active = 0
        """Requests that wait or run."""
        self.gap = Mean(0.0)
        """Seconds between the ends of two of its requests."""
        self.ended_at: float | None = None


class Turn:
    """A request that was let in, for as long as the `with` block lasts."""

    __slots__ = ("_account", "_clock")

    def __init__(self, account: Tenant, clock: Callable[[], float]) -> None:
        self._account = account
        self._clock = clock

    def __enter__(self) -> None:
        """It was counted when it was let in."""

    def __exit__(self, *_: object) -> None:
        self.end(self._clock())

    def end(self, now: float) -> None:
        """The request has ended."""
        account = self._account
        account.active -= 1
        if account.ended_at is not None:
            account.gap.add(now - account.ended_at)
        account.ended_at = now


class Quotas:
    """All accounts, by the tenant's name; empty for those without one."""

    def __init__(self, config: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._tenants: OrderedDict[str, Tenant] = OrderedDict()

    def enter(self, name: str, tokens: int, now: float) -> Turn:
        """Let in a request with so many prompt tokens; raises ApiError with 429."""
        limits = self._config.tenants.get(name, self._config)
        account = self._account(name)
        self._check_active(limits, account, now)
        self._check_rates(limits, account, tokens, now)
        account.active += 1
        return Turn(account, self._clock)

    def _check_active(self, limits: TenantLimits, account: Tenant, now: float) -> None:
        most = limits.max_requests
        if most is not None and account.active >= most:
            silent = 0.0 if account.ended_at is None else now - account.ended_at
            wait = max(account.gap.value, silent)
            raise refused("tenant_requests", "has too many requests waiting and running", wait)

    def _check_rates(self, limits: TenantLimits, account: Tenant, tokens: int, now: float) -> None:
        burst = limits.burst_seconds
        if (rate := limits.requests_per_second) is not None:
            wait = account.requests.wait(1.0, rate, max(burst, 1.0 / rate), now)
            if wait:
                raise refused("tenant_rate", "sends requests too fast", wait)
        if (rate := limits.prompt_tokens_per_second) is not None:
            wait = account.tokens.wait(tokens, rate, burst, now)
            if wait:
                raise refused("tenant_tokens", "sends too many prompt tokens a second", wait)

    def _account(self, name: str) -> Tenant:
        account = self._tenants.get(name)
        if account is None:
            if len(self._tenants) >= MOST_TENANTS:
                self._tenants.popitem(last=False)
            account = self._tenants[name] = Tenant()
        else:
            self._tenants.move_to_end(name)
        return account


def quotas(config: LimitsConfig) -> Quotas | None:
    """The accounts; None where nobody is limited."""
    return None if config == LimitsConfig(burst_seconds=config.burst_seconds) else Quotas(config)


def refused(reason: str, what: str, wait: float) -> ApiError:
    """The answer to a tenant that has had its share; `wait` in seconds."""
    message = f"This tenant {what}; try again later."
    return ApiError(429, message, reason=reason, retry_after=min(max(wait, 1.0), 60.0))
