"""Request heads as engines get them."""

from __future__ import annotations

from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.heads import get_head, request_head
from tests.proxy.requests import request


async def test_base_path_and_ipv6_host() -> None:
    """A backend may live below a path and behind a bare IPv6 address."""
    backend = Address(id="e", host="::1", port=80, base="/engine")
    asked = await request("POST", "/v1/completions?a=1")
    lines = request_head(asked, backend, "r", 3).split(b"\r\n")
    assert lines[0] == b"POST /engine/v1/completions?a=1 HTTP/1.1"
    assert lines[1] == b"Host: [::1]:80"
    assert lines[-3:] == [b"Content-Length: 3", b"", b""]


async def test_own_question_carries_credentials_only() -> None:
    """Asked for a client, with its key and nothing else of it."""
    asked = await request("GET", "/v1/models", Authorization="Bearer k", Accept_Encoding="gzip")
    head = get_head(asked, Address(id="e", host="h", port=1), "/v1/models")
    assert head == b"GET /v1/models HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer k\r\n\r\n"


async def test_addresses_on_the_way_add_up() -> None:
    """However a client spreads them over headers, its own address comes last."""
    asked = await request("GET", "/x", X_Forwarded_For="1.1.1.1\r\nx-forwarded-for: 2.2.2.2")
    backend = Address(id="e", host="h", port=1)
    lines = request_head(asked, backend, "r", None).split(b"\r\n")
    assert b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1" in lines
