"""The page is one file that fetches nothing but its state, and is sent once."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from paceline.proxy.http.request import Reply
from paceline.proxy.ui.page import PATH, STATE, Dashboard, page
from tests.proxy.requests import request

DASHBOARD = Dashboard(lambda: b'{"waiting": 3}')


async def get(target: str, **headers: str) -> Reply:
    return DASHBOARD.answer(await request("GET", target, b"", **headers))


def rules(reply: Reply) -> dict[str, str]:
    """The Content-Security-Policy by directive."""
    parts = reply.headers["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


async def test_the_page_needs_nothing_else() -> None:
    """No address of anybody, no file beside it: style and script are inside."""
    reply = await get(PATH)
    text = reply.body.decode()
    assert (reply.status, reply.content_type) == (200, "text/html; charset=utf-8")
    assert "/*style*/" not in text
    assert "/*script*/" not in text
    addresses = set(re.findall(r"https?://[^\"'\s]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", text) == ["data:,"]
    assert len(reply.body) < 64_000


@pytest.mark.parametrize(("tag", "rule"), [("script", "script-src"), ("style", "style-src")])
async def test_only_what_is_on_the_page_runs(tag: str, rule: str) -> None:
    """The policy names the hash of the one script and of the one style: no origin, no `unsafe-`."""
    reply = await get(PATH)
    [inside] = re.findall(rf"<{tag}>(.*?)</{tag}>", reply.body.decode(), re.S)
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    assert rules(reply)[rule] == f"'sha256-{digest}'"
    assert rules(reply)["default-src"] == "'none'"
    assert rules(reply)["connect-src"] == "'self'"
    assert rules(reply)["frame-ancestors"] == "'none'"


async def test_the_page_is_sent_once() -> None:
    """Who has it is told that it is the same; who has another gets this one."""
    etag = (await get(PATH)).headers["ETag"]
    same = await get(PATH, If_None_Match=f'"other", {etag}')
    assert (same.status, same.headers["ETag"]) == (304, etag)
    assert (await get(PATH, If_None_Match=f"W/{etag}")).status == 304
    assert (await get(PATH, If_None_Match="*")).status == 304
    assert (await get(PATH, If_None_Match='"other"')).status == 200
    head = same.encode(keep_alive=True, bodiless=False)
    assert head.endswith(b"\r\n\r\n")
    assert f"Content-Length: {len(page().body)}\r\n".encode() in head


async def test_the_state_is_never_kept() -> None:
    """It is fresh JSON each time, and no other site may embed it."""
    reply = await get(STATE)
    assert (reply.status, reply.body) == (200, b'{"waiting": 3}')
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_slash_too_many_is_taken_off() -> None:
    """Behind it the page's relative address of the state would lead elsewhere."""
    reply = await get(f"{PATH}/")
    assert (reply.status, reply.headers["Location"]) == (308, "../ui")
