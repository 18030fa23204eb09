"""Token ids as bytes and the keys of their blocks."""

import pytest

from paceline.engines.model.tape import encode, extend_chain


def test_equal_prefix_equal_keys() -> None:
    """Keys agree up to the block in which two prompts part, and nowhere after it."""
    one: list[int] = []
    two: list[int] = []
    extend_chain(one, encode([1, 2, 3, 4, 5, 6]), 2, 3)
    extend_chain(two, encode([1, 2, 3, 9, 5, 6]), 2, 3)
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, False, False]


def test_a_chain_grows_in_parts() -> None:
    """Growing a chain step by step gives the keys of growing it at once."""
    tape = encode(range(64))
    parts: list[int] = []
    whole: list[int] = []
    for blocks in (1, 3, 4):
        extend_chain(parts, tape, 16, blocks)
    extend_chain(whole, tape, 16, 4)
    assert parts == whole


def test_ids_have_32_bits() -> None:
    """An id that does not fit is refused, not cut."""
    with pytest.raises(OverflowError):
        encode([1 << 32])
