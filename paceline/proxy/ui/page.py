"""Serves the dashboard: one page with style and script inside, its state, and a report beside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from msgspec import Struct

from paceline.proxy.access.admission import DASHBOARD
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.ui import report

PATH = DASHBOARD
STATE = f"{PATH}/state"
REPORT = f"{PATH}/what-if"
PATHS = frozenset((PATH, f"{PATH}/", STATE, REPORT))
SCRIPTS = ("dom.js", "words.js", "charts.js", "trie.js", "panels.js", "page.js")
"""In the order in which they build on one another."""
ALWAYS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""For all that is shown here (OWASP's list of secure headers)."""
FRESH = ALWAYS | {"Cache-Control": "no-store"}
HTML = "text/html; charset=utf-8"


class Page(Struct, frozen=True):
    """The page and what is said of it."""

    body: bytes
    headers: dict[str, str]

    @property
    def etag(self) -> str:
        """The hash of the body, quoted."""
        return self.headers["ETag"]


class Dashboard:
    """Answers GET and HEAD for `PATHS`: `state` makes the JSON of `STATE`, and `recording` tells of
    which file the report is shown."""

    def __init__(
        self, state: Callable[[], bytes], recording: Callable[[], str | None] = lambda: None
    ) -> None:
        self._state = state
        self._recording = recording

    def answer(self, request: Request) -> Reply:
        """The page, not again for who has it, the state, or the report."""
        if request.path == STATE:
            return Reply(200, self._state(), headers=dict(FRESH))  # others add to it
        if request.path == REPORT:
            return self._report()
        if request.path != PATH:
            return Reply(308, b"", headers={"Location": "../ui"})  # relative links start at PATH
        known = request.message.headers.get("If-None-Match", "")
        made = page()
        status = 304 if made.etag in known or known == "*" else 200
        return Reply(status, made.body, HTML, dict(made.headers))

    def _report(self) -> Reply:
        body = report.read(self._recording())
        if body:
            return Reply(200, body, HTML, FRESH | {"Content-Security-Policy": report.POLICY})
        error = ApiError(404, "There is no report beside the recording.", reason="not_found")
        return response(error, "/v1/", {})  # in OpenAI's words, as all of the proxy's own


@cache
def page() -> Page:
    """The page, put together from the files beside this one."""
    style = _read("page.css")
    script = "\n".join(_read(name) for name in SCRIPTS)
    html = _read("page.html").replace("/*style*/", style).replace("/*script*/", script)
    body = html.encode()
    headers = {
        **ALWAYS,
        "Cache-Control": "no-cache",  # kept, but asked about each time
        "Content-Security-Policy": _policy(style, script),
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    }
    return Page(body, headers)


def _policy(style: str, script: str) -> str:
    """Nothing runs but this very script: engines' answers come from the same origin."""
    rules = {
        "default-src": "'none'",
        "script-src": _source(script),
        "style-src": _source(style),
        "img-src": "data:",  # the empty icon, or browsers ask for /favicon.ico
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _source(text: str) -> str:
    """A hash source of CSP level 2."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return files("paceline.proxy.ui").joinpath("static", name).read_text("utf-8")
