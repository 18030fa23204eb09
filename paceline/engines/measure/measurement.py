"""One thing that was timed at an engine."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["lone", "burst", "decode", "mixed", "stall"]


class Measurement(Struct, frozen=True, kw_only=True):
    """The median of its repetitions."""

    kind: Kind
    """A lone prompt to its first token; a burst of prompts until all have theirs; one decode step;
    a decode step that also prefills another prompt (vLLM); a prefill and then a decode step, for
    which decodes wait (SGLang)."""
    batch: int
    prompt: int
    """Tokens of each prompt; of a decode, of each context."""
    cached: int = 0
    """Of each prompt."""
    shared: int = 0
    """Tokens at the beginning of each context that all decodes of the batch have in common."""
    new: int = 0
    """Tokens of the other prompt, in `mixed` and `stall`."""
    seconds: float
