"""Token ids as bytes."""

import pytest

from paceline.engines.model.tape import TOKEN_BYTES, encode


def test_equal_ids_equal_bytes() -> None:
    """Two tapes agree as far as their ids do."""
    one, two = encode([1, 2, 3, 4]), encode([1, 2, 9, 4])
    assert len(one) == 4 * TOKEN_BYTES
    assert one[: 2 * TOKEN_BYTES] == two[: 2 * TOKEN_BYTES]
    assert one[2 * TOKEN_BYTES :] != two[2 * TOKEN_BYTES :]


def test_ids_have_32_bits() -> None:
    """An id that does not fit is refused, not cut."""
    with pytest.raises(OverflowError):
        encode([1 << 32])
