"""One stream in Valkey or Redis: appends this proxy's batches, waits for those of all.

Needs redis-py, an extra. What is older than ten seconds is trimmed at each append.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from paceline.proxy.config import FleetConfig
from paceline.proxy.fleet.member import StoreLost

TIMEOUT_SECONDS = 1.0
"""For an answer of the store, which takes less than a millisecond to give it."""
WAIT_SECONDS = 1.0
"""For the next batch: then it is asked again, so that a connection that died is noticed."""
KEPT_MS = 10_000
"""Of the stream, for those who are slow."""
MOST_BATCHES = 64
"""Read at once: 4 MiB at most."""


class RedisStore:
    """Two connections: one that writes, one that waits."""

    def __init__(self, config: FleetConfig, password: str, stream: str) -> None:
        self._stream = stream
        self._writer = _client(config, password, TIMEOUT_SECONDS)
        self._reader = _client(config, password, TIMEOUT_SECONDS + WAIT_SECONDS)
        self._at: str | None = None
        """The last entry that was read; None when that must be found out."""
        self._trim: str | None = None
        """What was appended before this may go, by the store's clock."""

    async def append(self, data: bytes) -> None:
        """Add a batch; raises StoreLost, and then it may be there or not."""
        try:
            id = await self._writer.xadd(self._stream, {"b": data}, minid=self._trim)
        except (RedisError, OSError) as error:
            await _hang_up(self._writer)
            raise StoreLost(str(error)) from None
        self._trim = str(max(0, int(_text(id).partition("-")[0]) - KEPT_MS))

    async def read(self) -> list[bytes]:
        """The batches since the last call, none after a second; raises StoreLost.

        After that it goes on with what comes then: a store that restarted may count anew.
        """
        try:
            if self._at is None:
                last: Any = await self._reader.xrevrange(self._stream, count=1)
                self._at = _text(last[0][0]) if last else "0-0"
            streams: Any = await self._reader.xread(
                {self._stream: self._at}, count=MOST_BATCHES, block=int(WAIT_SECONDS * 1000)
            )
        except (RedisError, OSError) as error:
            self._at = None
            await _hang_up(self._reader)
            raise StoreLost(str(error)) from None
        entries = _entries(streams)
        if entries:
            self._at = _text(entries[-1][0])
        return [fields[b"b"] for _, fields in entries if b"b" in fields]

    async def close(self) -> None:
        """Close both connections."""
        await _hang_up(self._writer)
        await _hang_up(self._reader)


def _client(config: FleetConfig, password: str, seconds: float) -> Redis:
    """Not connected yet. It tries once: whoever asks tries again, in a new run."""
    options: dict[str, Any] = {"ssl_ca_certs": config.ca_file} if config.ca_file else {}
    return Redis.from_url(
        config.url,
        password=password or None,
        socket_timeout=seconds,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
        protocol=2,
        **options,
    )


async def _hang_up(client: Redis) -> None:
    await client.aclose()


def _entries(streams: Any) -> list[tuple[Any, dict[bytes, bytes]]]:
    return streams[0][1] if streams else []


def _text(id: Any) -> str:
    return id.decode() if isinstance(id, bytes) else str(id)
