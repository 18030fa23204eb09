"""Who may ask what: looks at a request's head before its body is read."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection

from paceline.proxy.access.keys import Keys
from paceline.proxy.access.salts import FIELDS
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.head import unlisted
from paceline.proxy.http.request import Request

OPEN = frozenset(("/health", "/ready"))
"""For whoever watches over the proxy, which rarely has a key."""
STATELESS = frozenset(
    (
        "/classify",
        "/detokenize",
        "/pooling",
        "/rerank",
        "/score",
        "/tokenize",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/classify",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/rerank",
        "/v1/responses",
        "/v1/score",
    )
)
"""What tenants may ask of engines beside the scheduled paths: the rest of an engine's API loads
adapters, flushes caches, replaces weights, stops other people's requests."""
UNCACHED = frozenset(("/detokenize", "/tokenize", "/v1/messages/count_tokens"))
"""Those of them that leave nothing in a prefix cache."""
RESPONSES = "/v1/responses"
STORED = re.compile(r"/v1/responses/(?P<id>resp_[A-Za-z0-9_-]{1,128})(?:/(?:cancel|input_items))?")
"""What may be asked of a response that an engine keeps; engines refuse other ids."""
DASHBOARD = "/paceline/ui"
BASIC = 'Basic realm="paceline: an admin key as the password", charset="UTF-8"'
"""How a browser is asked for a key (RFC 7617): it cannot set headers when it opens a page."""


class Access:
    """The rules."""

    def __init__(
        self,
        keys: Keys | None = None,
        admins: Keys | None = None,
        *,
        separate: bool = False,
        paths: Collection[str] = STATELESS,
    ) -> None:
        self.keys = keys or Keys()
        """Of tenants; without any, whoever reaches the proxy may ask."""
        self.admins = admins or Keys()
        self.separate = separate
        """Whether the paths for admins are on a listener of their own."""
        self.paths = paths
        """What tenants may ask beside the scheduled paths."""

    def adopt(self, other: Access) -> None:
        """Take over other rules, for connections that are open, too."""
        self.keys, self.admins, self.paths = other.keys, other.admins, other.paths

    def client(self, request: Request) -> None:
        """Whether a client may ask this; raises ApiError."""
        path = request.path
        if is_for_admins(path):
            if self.separate:
                raise ApiError(404, f"There is no {path}.", reason="not_found")
            self._admin(request)
        elif self.keys and not _is_open(request):
            self._tenant(request)

    def admin(self, request: Request) -> None:
        """Whether this may be asked on the admins' own listener; raises ApiError."""
        if _is_open(request):
            return
        if not is_for_admins(request.path):
            raise ApiError(404, f"There is no {request.path} here.", reason="not_found")
        self._admin(request)

    def _tenant(self, request: Request) -> None:
        """Find out whose request it is, by a key that goes no further."""
        own = b"x-paceline-key" in request.noted
        token = _token(request)
        if b"x-paceline-tenant" in request.noted:  # who it is is said by the key
            request.kept = unlisted(request.kept, {b"x-paceline-tenant"})
        request.tenant = self.keys.holder(token)
        if not own:
            request.credentials = []
        if request.tenant is not None:
            self._check_path(request)
        elif (name := self.admins.holder(token)) is not None:
            request.tenant = name
        else:
            message = "Expected an API key: `Authorization: Bearer KEY`."
            raise ApiError(401, message, reason="invalid_api_key")

    def _check_path(self, request: Request) -> None:
        path = request.path
        reads = request.method in ("GET", "HEAD") and _lists_models(path)
        stored = RESPONSES in self.paths and STORED.fullmatch(path)
        if not (reads or path in FIELDS or path in self.paths or stored):
            raise ApiError(403, f"{path} is not for tenants.", reason="forbidden")

    def _admin(self, request: Request) -> None:
        if self.admins:
            shown = _shows(request)
            token = _token(request) or (_password(request) if shown else b"")
            request.tenant = self.admins.holder(token)
            if request.tenant is None:
                message = "Expected an admin's key: `Authorization: Bearer KEY`."
                challenge = BASIC if shown else ""
                raise ApiError(401, message, reason="invalid_api_key", challenge=challenge)
        elif request.method not in ("GET", "HEAD"):
            # a page in somebody's browser can reach a proxy on this machine, too
            message = "Changing backends takes an admin's key, and the configuration has none."
            raise ApiError(403, message, reason="forbidden")


def _is_open(request: Request) -> bool:
    return request.path in OPEN and request.method in ("GET", "HEAD")


def is_for_admins(path: str) -> bool:
    """Whether a path is the proxy's own and not for everybody."""
    return path == "/metrics" or path.startswith("/paceline/")


def _shows(request: Request) -> bool:
    """Whether this only shows the dashboard. A browser adds a password that it knows to what any
    page makes it send, so a password must not be enough for a change."""
    path = request.path
    shown = path == DASHBOARD or path.startswith(f"{DASHBOARD}/")
    return shown and request.method in ("GET", "HEAD")


def _password(request: Request) -> bytes:
    """The password of `Authorization: Basic`; empty for none."""
    scheme, _, value = request.noted.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _lists_models(path: str) -> bool:
    """Whether this is `/v1/models` or one model of it, however an engine may read the path."""
    if "%" in path or "\\" in path or ".." in path.split("/"):
        return False
    return path == "/v1/models" or path.startswith("/v1/models/")


def _token(request: Request) -> bytes:
    """The key that came with a request; empty for none."""
    noted = request.noted
    own = noted.get(b"x-paceline-key")
    if own is not None:
        return own
    scheme, _, token = noted.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else noted.get(b"x-api-key", b"")
