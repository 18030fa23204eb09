"""Lets web pages of other origins ask (CORS): answers preflights, and says so on every answer.

None of it is on a request's way unless origins are configured. Browsers send no key with a
preflight, so it is answered before keys are asked for; it tells nothing but the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from copy import copy

from paceline.proxy.access.admission import is_for_admins
from paceline.proxy.http.client import Client
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.framing import Framing
from paceline.proxy.http.inbound import Gate, Handler, Unread
from paceline.proxy.http.replies import ReplyHead
from paceline.proxy.http.request import Reply, Request

ANY = "*"
METHODS = "GET, HEAD, POST, DELETE"
"""What the APIs behind the proxy are asked by."""
EXPOSED = (
    "x-request-id, x-paceline-backend, x-paceline-queue-ms, x-paceline-cached-tokens, "
    "x-paceline-reason, retry-after"
)
"""What a page may read beside the few headers that it always may."""
MAX_AGE = "600"
"""Seconds for which a browser need not ask again: Starlette's default, so the engines' own."""
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,*]+")
"""RFC 6454 section 6.2, without the paths and default names that browsers never send."""
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,4096}")
"""A list of header names."""
_ALLOW_ORIGIN = "Access-Control-Allow-Origin"


class BadOrigins(ValueError):
    """Not an origin; the message shows it."""


class Cors:
    """The origins whose pages may ask."""

    def __init__(self, origins: Collection[str]) -> None:
        """Raises BadOrigins."""
        for origin in origins:
            if origin != ANY and _ORIGIN.fullmatch(origin) is None:
                raise BadOrigins(f"{origin} is neither * nor like https://chat.example:8443")
        self._any = ANY in origins
        self._origins = frozenset(origins)

    def headers(self, request: Request) -> dict[str, str]:
        """What an answer to this says of who may read it."""
        if self._any:
            return {_ALLOW_ORIGIN: ANY, "Access-Control-Expose-Headers": EXPOSED}
        vary = {"Vary": "Origin"}
        origin = request.message.headers.get("Origin")
        if origin not in self._origins:
            return vary
        return vary | {_ALLOW_ORIGIN: origin, "Access-Control-Expose-Headers": EXPOSED}

    def gate(self, gate: Gate) -> Gate:
        """A gate that preflights pass."""

        def check(request: Request) -> None:
            if not _is_preflight(request):
                gate(request)

        return check

    def handler(self, handler: Handler) -> Handler:
        """A handler that answers preflights, and says of the proxy's own answers who may read
        them: not of its pages for admins, which no other page has to see."""

        async def handle(request: Request) -> Reply | None:
            if _is_preflight(request):
                return self._preflight(request)
            return self._marked(await handler(request), request)

        return handle

    def unread(self, unread: Unread) -> Unread:
        """The same for requests that are refused before they are read."""

        def note(request: Request, error: ApiError | None) -> Reply | None:
            return self._marked(unread(request, error), request)

        return note

    def client(self, request: Request) -> Client:
        """Where an engine's reply to this goes."""
        return MarkedClient(request, self.lines(request))

    def lines(self, request: Request) -> bytes:
        """The header lines of an engine's reply to this."""
        headers = self.headers(request).items()
        return "".join(f"{name}: {value}\r\n" for name, value in headers).encode()

    def _preflight(self, request: Request) -> Reply:
        headers = self.headers(request)
        if _ALLOW_ORIGIN not in headers:
            message = "Pages of this origin may not ask: it is not among `cors_origins`."
            return response(ApiError(403, message, reason="forbidden"), request.path, headers)
        headers["Access-Control-Allow-Methods"] = METHODS
        headers["Access-Control-Max-Age"] = MAX_AGE
        asked = request.message.headers.get("Access-Control-Request-Headers", "")
        if _NAMES.fullmatch(asked):
            headers["Access-Control-Allow-Headers"] = asked
        return Reply(200, b"", "text/plain", headers)

    def _marked(self, reply: Reply | None, request: Request) -> Reply | None:
        if reply is not None and not is_for_admins(request.path):
            reply.headers.update(self.headers(request))
        return reply


def cors(origins: Collection[str]) -> Cors | None:
    """Who may ask; None where no page of another origin may. Raises BadOrigins."""
    return Cors(origins) if origins else None


class MarkedClient(Client):
    """Has our word in place of the engine's, which knows nothing of who may ask here."""

    def __init__(self, request: Request, lines: bytes | None) -> None:
        """None leaves the engine its word."""
        super().__init__(request)
        self._lines = lines

    def frame(self, head: ReplyHead, framing: Framing, ours: bytes) -> bytes:
        """The head to send."""
        if self._lines is None:
            return super().frame(head, framing, ours)
        kept = [one for one in head.headers if not one[0].lower().startswith(b"access-control-")]
        head = copy(head)
        head.headers = kept
        return super().frame(head, framing, ours + self._lines)


def _is_preflight(request: Request) -> bool:
    """Whether a browser asks what a page may ask (https://fetch.spec.whatwg.org, CORS-preflight);
    of pages for admins none may ask anything."""
    return (
        request.method == "OPTIONS"
        and "Origin" in request.message.headers
        and "Access-Control-Request-Method" in request.message.headers
        and not is_for_admins(request.path)
    )
