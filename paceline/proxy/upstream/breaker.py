"""Passive outlier detection: a backend that fails requests is left alone, longer each time."""

from __future__ import annotations

import random
from collections.abc import Callable

IN_A_ROW = 5
"""Failures without a success between them that open the breaker: Envoy's `consecutive_5xx`."""
WINDOW_SECONDS = 10.0
LEAST = 10
SHARE = 0.5
"""Or this share of at least so many requests within the window (Envoy's sweep interval)."""
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""How long it stays open: doubled each time up to a minute, as Linkerd does."""
JITTER = 0.2
"""Part by which that varies, so that several proxies do not come back in the same instant."""


class Breaker:
    """Closed, open until an instant, or half open: then the first result decides.

    Counts what an engine does wrong. Its 4xx are the client's fault, and 429 and 503 say that it is
    busy: neither may be told here. It cannot get stuck half open: nothing is waited for there, and
    whatever request comes next decides.
    """

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._opened = 0
        """Times in a row that it opened."""
        self._until: float | None = None
        self._trial = False
        self._row = 0
        self._good = 0
        self._bad = 0
        self._since = 0.0

    @property
    def open(self) -> bool:
        """Whether requests are kept away."""
        return self._until is not None

    @property
    def trial(self) -> bool:
        """Whether it is half open."""
        return self._trial

    def due(self, now: float) -> bool:
        """Whether it has been open for long enough to try again."""
        return self._until is not None and now >= self._until

    def succeeded(self) -> None:
        """The backend answered a request."""
        self._row = 0
        self._good += 1
        if self._trial:
            self._trial, self._opened = False, 0

    def failed(self, now: float) -> bool:
        """It failed one; returns whether that opened the breaker."""
        if self.open:
            return False
        if now >= self._since + WINDOW_SECONDS:
            self._since, self._good, self._bad = now, 0, 0
        self._row += 1
        self._bad += 1
        total = self._good + self._bad
        often = total >= LEAST and self._bad >= SHARE * total
        if not (self._trial or often or self._row >= IN_A_ROW):
            return False
        self._open(now)
        return True

    def half_open(self) -> None:
        """Let requests through; the next result decides."""
        self._until, self._trial = None, True
        self._row = self._good = self._bad = 0

    def again(self, now: float) -> None:
        """A try of the proxy's own failed: stay open."""
        self._open(now)

    def _open(self, now: float) -> None:
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**self._opened)
        self._until = now + seconds * (1.0 + JITTER * (2.0 * self._random() - 1.0))
        self._opened = min(self._opened + 1, 16)
        self._trial = False
