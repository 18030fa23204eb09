"""What a GPU has: memory, bandwidth and arithmetic, by name or as told."""

from __future__ import annotations

from msgspec import Struct

from paceline.plan.errors import PlanError
from paceline.policies.decode import hint

GIB = 1 << 30
VISIBLE = 0.98
"""Part of a card's nominal memory that CUDA shows: 25,250,627,584 bytes of 24 GiB on an RTX 4090,
79.22 of 80 GiB on an H100 (vLLM #10511); the rest is the driver's."""


class Card(Struct, frozen=True, kw_only=True):
    """One kind of GPU."""

    memory_gib: float
    """As its name says it."""
    bandwidth_gb_s: float | None = None
    """Of its memory, in 10^9 bytes a second."""
    tflops: float | None = None
    """Dense bf16 with fp32 accumulation, in 10^12 operations a second."""

    @property
    def visible(self) -> int:
        """Bytes of memory that an engine finds."""
        return int(self.memory_gib * VISIBLE * GIB)


def _card(memory: float, bandwidth: float, tflops: float) -> Card:
    return Card(memory_gib=memory, bandwidth_gb_s=bandwidth, tflops=tflops)


CARDS: dict[str, Card] = {
    "a100-40": _card(40, 1555, 312),
    "a100-80": _card(80, 2039, 312),
    "h100": _card(80, 3350, 989),
    "h200": _card(141, 4800, 989),
    "l40s": _card(48, 864, 362),
    "rtx-4090": _card(24, 1008, 165),
    "rtx-5090": _card(32, 1792, 209),
    "rtx-pro-6000": _card(96, 1792, 504),
}
"""By name, from NVIDIA's data sheets (SXM where there are several)."""


def card(
    name: str, memory_gib: float | None, bandwidth_gb_s: float | None, tflops: float | None
) -> Card:
    """The card of that name with what is told laid over it; PlanError without any memory."""
    if name and name not in CARDS:
        raise PlanError(f"no card `{name}`; {hint(name, list(CARDS))}")
    known = CARDS.get(name)
    memory = memory_gib or (known.memory_gib if known else None)
    if memory is None:
        raise PlanError(f"which GPU? give its memory, or its name ({', '.join(CARDS)})")
    return Card(
        memory_gib=memory,
        bandwidth_gb_s=bandwidth_gb_s or (known.bandwidth_gb_s if known else None),
        tflops=tflops or (known.tflops if known else None),
    )
