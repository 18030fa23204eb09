"""Reply heads as clients get them."""

from __future__ import annotations

from paceline.proxy.http.heads import reply_head
from paceline.proxy.http.replies import ReplyHead


def test_reply_keeps_order_case_and_duplicates() -> None:
    """Only what belongs to the engine's connection goes, and our lines come last."""
    headers = [(b"B", b"1"), (b"a", b"2"), (b"B", b"3"), (b"Connection", b"Z, close"), (b"z", b"4")]
    head = ReplyHead(status=200, reason=b"Fine", headers=headers, keep_alive=False)
    assert reply_head(head, b"x: y\r\n", chunked=False, close=True) == (
        b"HTTP/1.1 200 Fine\r\nB: 1\r\na: 2\r\nB: 3\r\nConnection: close\r\nx: y\r\n\r\n"
    )
