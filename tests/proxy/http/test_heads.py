"""Reply heads as clients get them."""

from __future__ import annotations

from paceline.proxy.http.heads import reply_head
from paceline.proxy.http.replies import parse_head


def test_reply_keeps_order_case_and_duplicates() -> None:
    """Only what belongs to the engine's connection goes, and our lines come last."""
    lines = b"B: 1\r\na: 2\r\nB: 3\r\nConnection: Z, close\r\nz: 4\r\n"
    head = parse_head(b"HTTP/1.1 200 Fine\r\n" + lines + b"\r\n")
    assert reply_head(head, b"x: y\r\n", chunked=False, close=True) == (
        b"HTTP/1.1 200 Fine\r\nB: 1\r\na: 2\r\nB: 3\r\nConnection: close\r\nx: y\r\n\r\n"
    )
