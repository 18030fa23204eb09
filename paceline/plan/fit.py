"""Divides a GPU's memory among models: what each must have, then the rest to their KV pools."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from paceline.plan.gpu import GIB, Card
from paceline.plan.model import Model
from paceline.plan.overhead import CONTEXT, activations, chunk_tokens, graphs

BLOCK = 16
"""Pools are whole blocks of vLLM's size."""
MOST_RUNNING = 256
"""vLLM's own `--max-num-seqs` below 70 GiB (0.32, arg_utils.py); more costs memory."""
LEAST_RUNNING = 8
STEPS = 1000
"""Fractions are given to the engines in thousandths."""


class Demand(Struct, frozen=True, kw_only=True):
    """What one engine takes in bytes, but for its pool, and how large that must be."""

    model: Model
    under_way: int
    """Requests at once to have room for."""
    max_running: int
    chunk: int
    weights: int
    activations: int
    graphs: int
    pool_tokens: int
    """Least size of the pool: one request of full length, or all that are under way."""

    working_tokens: int
    """Tokens of the requests under way at the peak."""
    rounding: int
    """Bytes that vLLM's fraction may lose by being rounded down."""

    @property
    def fixed(self) -> int:
        """All but the pool, in bytes."""
        return CONTEXT + self.weights + self.activations + self.graphs

    @property
    def pool(self) -> int:
        """The least pool, in bytes."""
        return self.pool_tokens * self.model.kv_token_bytes

    @property
    def working(self) -> int:
        """KV of the requests under way, in bytes."""
        return self.working_tokens * self.model.kv_token_bytes

    @property
    def least(self) -> int:
        """All that it must have, in bytes."""
        return self.fixed + self.pool + self.rounding


def demand(model: Model, card: Card, under_way: int) -> Demand:
    """What `model` needs for `under_way` requests at once on this card."""
    kind = model.spec.engine
    running = model.spec.max_running or _running(under_way)
    chunk = chunk_tokens(kind, card.memory_gib)
    working = min(under_way, running) * model.request_tokens
    tokens = max(model.max_model_len, working)
    return Demand(
        model=model,
        under_way=under_way,
        max_running=running,
        chunk=chunk,
        weights=model.weight_bytes,
        activations=activations(model.architecture, chunk, running),
        graphs=graphs(kind, chunk, running),
        pool_tokens=whole(tokens + BLOCK - 1),
        working_tokens=working,
        rounding=card.visible // STEPS if kind == "vllm" else 0,
    )


def whole(tokens: int) -> int:
    """Tokens of the whole blocks in so many."""
    return tokens // BLOCK * BLOCK


def usable(card: Card, free: float) -> int:
    """Bytes that engines may take when part `free` stays free."""
    return int(card.visible * (1 - free))


def short(demands: Sequence[Demand], card: Card, free: float) -> int:
    """Bytes that are missing; 0 or less when all fits."""
    return sum(each.least for each in demands) - usable(card, free)


def budgets(demands: Sequence[Demand], card: Card, free: float) -> list[int]:
    """Bytes for each engine, its context included: what is left goes by the requests under way."""
    rest = -short(demands, card, free)
    total = sum(each.working for each in demands)
    return [each.least + rest * each.working // total for each in demands]


def _running(under_way: int) -> int:
    """The power of two above twice that."""
    wanted: int = 1 << (2 * under_way - 1).bit_length()
    return min(max(wanted, LEAST_RUNNING), MOST_RUNNING)


def gib(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / GIB:.2f} GiB"
