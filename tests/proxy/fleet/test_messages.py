"""What peers tell each other survives the way, and is as small as docs/fleet.md says."""

from __future__ import annotations

import msgspec
import pytest

from paceline.proxy.fleet.messages import Batch, First, decode, encode, ended, told, whole_ms
from paceline.scheduler.events import Finished
from paceline.scheduler.types import Request, Usage

REQUEST = Request(
    id="mine",
    arrived_at=3.0,
    model="m",
    prefix=tuple(2**64 - 1 - k for k in range(16)),
    block_tokens=127.5,
    exact=True,
    prompt_tokens=2200,
    max_tokens=None,
    n=2,
    streaming=False,
    tenant="secret",
    priority=3,
)


def test_a_request_is_the_same_for_a_peer() -> None:
    """But for its name and its time; whose it is stays at home."""
    data = encode(Batch("p", 0, 7, [told(5, "b", REQUEST)], True, [5]))
    batch = decode(data)
    assert (batch.number, batch.asks, batch.running) == (7, True, [5])
    assert b"secret" not in data
    [sent] = batch.news
    made = sent.request("p.0.5", 9.0)  # type: ignore[union-attr]
    expected = msgspec.structs.replace(REQUEST, id="p.0.5", arrived_at=9.0, tenant="", priority=0)
    assert made == expected


def test_an_end_tells_what_follows_the_prompt() -> None:
    """The prompt's own blocks are known already."""
    usage = Usage(prompt_tokens=9, output_tokens=3)
    end = ended(5, Finished("mine", usage, (1, 2, 3)), 2, 4)
    assert (end.usage(), end.answered) == (usage, (3,))


def test_it_is_small() -> None:
    """200 bytes for 16 blocks, a few for the rest: the arithmetic of docs/fleet.md."""
    usage = Usage(prompt_tokens=2200, output_tokens=120)
    ends = First(12345, 260), ended(12345, Finished("mine", usage), 16, 900)
    sizes = [len(encode(news)) for news in (told(12345, "engine-7", REQUEST), *ends)]
    assert sizes[0] < 200
    assert sum(sizes[1:]) < 28


@pytest.mark.parametrize(
    ("seconds", "ms"), [(0.0, 1), (-1.0, 1), (0.0604, 60), (7200.0, 3_600_000)]
)
def test_a_span_is_told_within_bounds(seconds: float, ms: int) -> None:
    """So that it can be read, and a rate that comes of it is neither 0 nor infinite."""
    assert whole_ms(seconds) == ms
    assert decode(encode(Batch("p", 0, 0, [First(1, whole_ms(seconds))]))).news == [First(1, ms)]


@pytest.mark.parametrize("ms", [0, -5, 3_600_001])
def test_a_span_beyond_its_bounds_is_refused(ms: int) -> None:
    """Whoever wrote it."""
    with pytest.raises(msgspec.DecodeError):
        decode(encode(Batch("p", 0, 0, [First(1, ms)])))


def test_nonsense_is_refused() -> None:
    """Whatever else is in the stream."""
    with pytest.raises(msgspec.DecodeError):
        decode(b"\x93\x01")
