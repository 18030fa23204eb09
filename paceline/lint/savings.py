"""How many prompt tokens of a log need not be computed, counted by the scheduler's own trie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

import msgspec
from msgspec import Struct

from paceline.engines.api import parse
from paceline.lint.log import Body
from paceline.lint.log import Entry as Logged
from paceline.scheduler.blocks import chain
from paceline.scheduler.entry import Entry
from paceline.scheduler.trie import Node, PrefixTrie
from paceline.scheduler.types import Request
from paceline.sim.request_log import route
from paceline.sim.workload import TOKEN_BYTES

BLOCK_TOKENS = 16
"""vLLM's block: what engines share is counted this finely."""


class Sharing(Struct, frozen=True):
    """What a log comes to with a cache that never evicts."""

    prompt_tokens: int
    """Of all requests together, four bytes of text a token."""
    shared_tokens: int
    """Those that an earlier request of the log has computed."""


def sharing(log: Sequence[Logged]) -> Sharing:
    """Puts every prompt into one trie: what is counted in no node of its own was shared."""
    trie = PrefixTrie()
    entries = [_entry(logged.body, number) for number, logged in enumerate(log)]
    for entry in entries:
        trie.add(entry)
    total = sum(entry.request.prompt_tokens for entry in entries)
    computed = sum(node.tokens for node in _nodes(entries))
    return Sharing(total, total - computed - sum(entry.tail_tokens for entry in entries))


def _nodes(entries: Iterable[Entry]) -> Iterable[Node]:
    """Each node once."""
    return {id(node): node for entry in entries for node in entry.nodes}.values()


def _entry(body: Body, number: int) -> Entry:
    data = msgspec.json.encode(body)
    call = parse(route(data), data)
    prompt = call.prompt
    root = b"\xff".join((call.model.encode(), call.variant, b"ids" if prompt.is_ids else b"text"))
    request = Request(
        id=str(number),
        arrived_at=0.0,
        prefix=chain(root, prompt.data, BLOCK_TOKENS * TOKEN_BYTES),
        block_tokens=BLOCK_TOKENS,
        prompt_tokens=prompt.tokens + ceil(prompt.size / TOKEN_BYTES),
    )
    return Entry(request, number)
