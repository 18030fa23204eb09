"""What clients are asked for: an answer of a fixed shape, out of a model of random weights."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Colour(BaseModel):
    """Which it is."""

    colour: Literal["red", "green"]
    sure: bool


NO_SPACE = {str(token): -100 for token in (13, 14, 17, 36)}
"""`logit_bias` against tab, line feed, carriage return and space in tiny_llama's vocabulary: around
a tool call's JSON grammars allow any number of them, and such a model never has enough."""
