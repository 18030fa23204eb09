"""What to say when models do not fit: by how much, and what would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from msgspec import structs

from paceline.plan.errors import PlanError
from paceline.plan.fit import Demand, gib, short, usable, whole
from paceline.plan.gpu import GIB, VISIBLE, Card
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
    if least <= card.visible and free > 0:
        part = (1 - least / card.visible) * 100 // 1 / 100
        yield f"{part:.0%} left free instead of {free:.0%}"
    for index, each in enumerate(demands):
        yield from _shorter(demands, index, each, card, free)
    smaller = [_in_8_bits(each) for each in demands]
    if short(smaller, card, free) <= 0 and sum(d.pool for d in smaller) < sum(
        d.pool for d in demands
    ):
        yield "KV in 8 bits (kv_dtype = fp8)"
    yield from _fewer(demands, card, free)
    yield f"a card of {ceil(least / (1 - free) / VISIBLE / GIB)} GiB"


def _shorter(
    demands: Sequence[Demand], index: int, each: Demand, card: Card, free: float
) -> Iterator[str]:
    """A context so much shorter that the rest fits, while it still holds the requests under way."""
    missing = short(demands, card, free)
    tokens = whole(each.pool_tokens - ceil(missing / each.model.kv_token_bytes))
    if each.pool_tokens == whole(each.model.max_model_len + 15) and (
        tokens >= each.model.request_tokens
    ):
        yield f"{each.model.spec.name} with max_model_len {tokens}"


def _fewer(demands: Sequence[Demand], card: Card, free: float) -> Iterator[str]:
    for index, each in enumerate(demands):
        rest = [*demands[:index], *demands[index + 1 :]]
        if rest and short(rest, card, free) <= 0:
            yield f"{each.model.spec.name} left out"


def _in_8_bits(each: Demand) -> Demand:
    model = structs.replace(each.model, kv_token_bytes=min(each.model.kv_token_bytes, _fp8(each)))
    return structs.replace(each, model=model)


def _fp8(each: Demand) -> int:
    return kv_bytes(each.model.architecture, "fp8")
