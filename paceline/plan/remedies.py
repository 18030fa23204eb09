"""What to say when models do not fit: by how much, and what would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from msgspec import structs

from paceline.plan.errors import PlanError
from paceline.plan.fit import Demand, demand, gib, short, usable, whole
from paceline.plan.gpu import Card
from paceline.plan.kv import kv_bytes


def does_not_fit(demands: Sequence[Demand], card: Card, free: float) -> PlanError:
    """The error: how much is missing, what each takes, and every single change that would do."""
    parts = ", ".join(
        f"{each.model.spec.name} {gib(each.least)} ({gib(each.weights)} of it weights, "
        f"{gib(each.pool)} KV)"
        for each in demands
    )
    ways = list(_remedies(demands, card, free))
    return PlanError(
        f"short by {gib(short(demands, card, free))}: {parts} together need "
        f"{gib(sum(each.least for each in demands))}, and {gib(usable(card, free))} are there "
        f"({gib(card.visible)} of the {card.memory_gib:g} GiB card, {free:.0%} left free). "
        f"It would fit with any of: {'; '.join(ways)}"
    )


def _remedies(demands: Sequence[Demand], card: Card, free: float) -> Iterator[str]:
    least = sum(each.least for each in demands)
    if least <= card.visible:
        part = (1 - least / card.visible) * 100 // 1 / 100
        yield f"{part:.0%} left free instead of {free:.0%}"
    missing = short(demands, card, free)
    for each in demands:
        yield from _shorter(each, missing)
    if short([_in_8_bits(each) for each in demands], card, free) <= 0:
        yield "KV in 8 bits (kv_dtype = fp8)"
    yield from _fewer(demands, card, free)
    yield f"a card of {_larger(demands, ceil(card.memory_gib), free)} GiB"


def _shorter(each: Demand, missing: int) -> Iterator[str]:
    """A context so much shorter that the rest fits, while it still holds the requests under way."""
    tokens = whole(each.pool_tokens - ceil(missing / each.model.kv_token_bytes))
    if tokens >= each.working_tokens:
        yield f"{each.model.spec.name} with max_model_len {tokens}"


def _larger(demands: Sequence[Demand], size: int, free: float) -> int:
    """The least size of a card in GiB; a larger one runs larger steps, which take memory, too."""
    while True:
        size += 1
        larger = Card(memory_gib=size)
        if short([demand(d.model, larger, d.under_way) for d in demands], larger, free) <= 0:
            return size


def _fewer(demands: Sequence[Demand], card: Card, free: float) -> Iterator[str]:
    for index, each in enumerate(demands):
        rest = [*demands[:index], *demands[index + 1 :]]
        if rest and short(rest, card, free) <= 0:
            yield f"{each.model.spec.name} left out"


def _in_8_bits(each: Demand) -> Demand:
    smaller = kv_bytes(each.model.architecture, "fp8")
    return structs.replace(each, model=structs.replace(each.model, kv_token_bytes=smaller))
