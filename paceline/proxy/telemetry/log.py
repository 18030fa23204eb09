"""The log: structlog for events, and one line a request with where it went and why."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TextIO, cast

import msgspec
import structlog
from msgspec import Struct
from structlog.typing import Processor

from paceline.proxy.config import LogConfig
from paceline.proxy.telemetry.lines import Lines
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.choice import REASONS

WHY = REASONS | {
    "queue_full": "refused: the queue is full",
    "shed": "refused: more important ones took its place in a full queue",
    "deadline": "refused: it had waited as long as it may",
    "no_backend": "refused: no backend was up in time",
    "memory": "refused: too many bytes of requests are held",
    "tenant_requests": "refused: its tenant has too many requests",
    "tenant_rate": "refused: its tenant sends too many requests a second",
    "tenant_tokens": "refused: its tenant sends too many prompt tokens a second",
    "unknown_model": "refused: no backend serves the model",
    "bad_request": "refused: it cannot be read",
    "model_not_found": "refused: no backend serves the model",
    "not_found": "refused: the proxy has no such page, or no such backend",
    "invalid_api_key": "refused: no key, or nobody's",
    "forbidden": "refused: its key does not allow that, or the configuration",
}
"""Every reason, in words: why a request went when it did, or why it was refused."""


class RequestLine(Struct, omit_defaults=True):
    """One request as JSON logs show it: times in milliseconds, None left out."""

    timestamp: str
    level: str
    event: str
    id: str
    status: int
    outcome: str
    model: str = ""
    path: str = ""
    """Where no model says what was asked."""
    backend: str = ""
    reason: str = ""
    why: str = ""
    queue_ms: float = 0.0
    ttft_ms: float | None = None
    total_ms: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_predicted: int = 0
    cached_reported: int | None = None
    attempts: int = 1


MOST_OF_PATH = 200
"""Characters: a client may send a path as long as `max_header_kb`."""
LAST_SECONDS = 1.0
"""How long the end of the process waits for the last lines."""


@cache
def stderr() -> Lines:
    """What writes all lines of this process."""
    lines = Lines(lambda: sys.stderr, _dropped)
    atexit.register(lines.drain, LAST_SECONDS)
    return lines


os.register_at_fork(after_in_child=stderr.cache_clear)  # threads stay behind


def configure(config: LogConfig) -> None:
    """Make structlog print to stderr in the configured format and from the configured level."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if config.format == "console":
        # rich, where installed, would print the locals of every frame, prompts among them
        plain = structlog.dev.plain_traceback
        colors = sys.stderr.isatty()
        processors.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain))
    else:
        processors.append(structlog.processors.format_exc_info)
        processors.append(structlog.processors.JSONRenderer(serializer=_dumps))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_number(config.level)),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stderr())),
    )


def request_logger(
    config: LogConfig,
    write: Callable[[str], object] | None = None,
    clock: Callable[[], float] = time.time,
) -> Callable[[Record], None]:
    """What to call once a request with its record; `clock` gives Unix seconds.

    Writes past structlog: a line made directly takes 5 us, half of one through its processors.
    Never sees a prompt: records hold none. Control characters in what clients chose are escaped.
    """
    if _number(config.level) > logging.INFO:
        return lambda record: None
    out = write or stderr().write
    render = _json if config.format == "json" else _console
    stamp = Stamp().at

    def log_request(record: Record) -> None:
        out(render(_line(record, stamp(clock()))))

    return log_request


def _dropped(count: int) -> str:
    """The line that stands for those that nobody read in time; it reads in both formats."""
    return _dumps({"level": "warning", "event": "log lines dropped", "count": count}) + "\n"


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


class Stamp:
    """Instants as ISO 8601 in UTC; the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, now: float) -> str:
        """`now`, Unix seconds, to the millisecond."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


def _line(record: Record, timestamp: str) -> RequestLine:
    model, reason, usage = record.model, record.reason, record.usage
    since, first, end = record.arrived_at, record.first_byte_at, record.ended_at
    return RequestLine(  # by position: that takes half the time
        timestamp,
        "info",
        "request",
        record.id,
        record.status,
        record.outcome,
        model,
        "" if model else record.path[:MOST_OF_PATH],
        record.backend,
        reason,
        WHY.get(reason, reason),
        _tenths(record.queued) if record.queued else 0.0,
        None if first is None else _tenths(first - since),
        None if end is None else _tenths(end - since),
        usage.prompt_tokens or record.prompt_tokens,
        usage.output_tokens,
        record.cached_tokens,
        usage.cached_tokens,
        record.attempts,
    )


def _tenths(seconds: float) -> float:
    """Milliseconds to a tenth; `round` does it by way of text, in twice the time."""
    return int(seconds * 1e4 + 0.5) / 10


_encode = msgspec.json.Encoder().encode


def _json(line: RequestLine) -> str:
    return _encode(line).decode() + "\n"


def _console(line: RequestLine) -> str:
    """Such as `12:00:00 200 finished m on a:8000: ... (queue 3 ms, ttft 40 ms, total 1 s) id`."""
    what = _plain(line.model or line.path)
    where = f" on {_plain(line.backend)}" if line.backend else ""
    why = f": {line.why}" if line.why else ""
    times = f"queue {_ms(line.queue_ms)}, ttft {_ms(line.ttft_ms)}, total {_ms(line.total_ms)}"
    cached = f"cached {line.cached_predicted}/{_count(line.cached_reported)}"
    tokens = f"tokens {_count(line.prompt_tokens)}+{_count(line.output_tokens)}, {cached}"
    again = f", attempts {line.attempts}" if line.attempts > 1 else ""
    return (
        f"{line.timestamp[11:23]} {line.status} {line.outcome} {what}{where}{why}"
        f" ({times}, {tokens}{again}) {_plain(line.id)}\n"
    )


def _plain(text: str) -> str:
    """`text` on one line, as a client may have chosen it to forge another."""
    return text if text.isprintable() else repr(text)[1:-1]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _dumps(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
