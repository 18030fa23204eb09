"""`/paceline/backends`: the fleet shown and changed over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta, Struct

from paceline.proxy.access.hosts import Hosts
from paceline.proxy.config import BackendConfig
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.upstream.address import BadAddress, parse
from paceline.proxy.upstream.backends import Backends
from paceline.proxy.upstream.directory import Entry

PATH = "/paceline/backends"
Positive = Annotated[int, Meta(ge=1)]
T = TypeVar("T")

log = structlog.get_logger()


class BackendView(Struct, frozen=True, kw_only=True):
    """One backend as it is shown."""

    name: str
    url: str
    kind: Literal["vllm", "sglang", "openai"] | None
    """None until it has been found out."""
    models: list[str]
    up: bool
    draining: bool
    """It finishes what it has and gets nothing new."""
    leaving: bool
    """It is removed once it has."""
    in_flight: int
    """Requests that it was sent and has not ended."""


class BackendList(Struct, frozen=True, kw_only=True):
    """All backends, in the order in which they came."""

    backends: list[BackendView]


class NewBackend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backend to add. It cannot name files or variables of this machine."""

    url: str
    """Base address, such as `http://10.0.0.7:8000`; its host must be one of `backend_hosts`."""
    name: str = ""
    """The URL's host and port unless given."""
    kind: Literal["auto", "vllm", "sglang", "openai"] = "auto"
    models: list[str] = []
    kv_tokens: Positive | None = None
    max_running: Positive | None = None
    leader_first: bool | None = None


class BackendChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be changed of a backend."""

    draining: bool
    """Whether to send it nothing new. False also keeps one that is leaving."""


_new = msgspec.json.Decoder(NewBackend)
_change = msgspec.json.Decoder(BackendChange)


class Admin:
    """Answers for the fleet; `hosts` may be replaced."""

    def __init__(self, backends: Backends, hosts: Hosts) -> None:
        self.hosts = hosts
        self._backends = backends

    def answer(self, request: Request) -> Reply:
        """The reply to a request for `PATH` or below; raises ApiError."""
        name = request.path[len(PATH) + 1 :]
        methods = self._of_one(name, request) if name else self._of_all(request)
        method = methods.get("GET" if request.method == "HEAD" else request.method)
        if method is None:
            allowed = ", ".join(methods)
            error = ApiError(405, f"Only {allowed} here.", reason="method_not_allowed")
            return response(error, "/v1/", {"Allow": allowed})
        reply = method()
        if request.method not in ("GET", "HEAD"):
            log.info("fleet changed", by=request.tenant, did=f"{request.method} {request.path}")
        return reply

    def _of_all(self, request: Request) -> dict[str, Callable[[], Reply]]:
        return {"GET": self._list, "POST": lambda: self._add(_decode(_new, request.body))}

    def _of_one(self, name: str, request: Request) -> dict[str, Callable[[], Reply]]:
        if name not in self._backends.directory:
            raise ApiError(404, f"There is no backend {name!r}.", reason="not_found")
        return {
            "GET": lambda: _reply(200, self._view(name)),
            "PATCH": lambda: self._drain(name, _decode(_change, request.body).draining),
            "DELETE": lambda: self._remove(name),
        }

    def _list(self) -> Reply:
        views = [self._view(entry.id) for entry in self._backends.directory]
        return _reply(200, BackendList(backends=views))

    def _add(self, new: NewBackend) -> Reply:
        """Only to hosts that the configuration allows: prompts go there, and probes."""
        try:
            address = parse(new.url, new.name)
        except BadAddress as error:
            raise _bad(str(error), "url") from None
        if address.host not in self.hosts:
            message = f"{address.host} is not among the configuration's `backend_hosts`."
            raise ApiError(403, message, reason="forbidden", param="url")
        if not address.id.isprintable() or len(address.id) > 256:
            raise _bad("Expected a printable name of at most 256 characters.", "name")
        if address.id in self._backends.directory:
            raise ApiError(409, f"There is a backend {address.id!r} already.", reason="exists")
        fields = msgspec.structs.asdict(new)
        named = fields | {"url": new.url.rstrip("/"), "name": address.id}
        entry = self._backends.put(msgspec.convert(named, BackendConfig))
        return _reply(201, self._view(entry.id))

    def _drain(self, name: str, draining: bool) -> Reply:
        self._backends.drain(name, draining)
        return _reply(200, self._view(name))

    def _remove(self, name: str) -> Reply:
        self._backends.remove(name)
        return _reply(202, self._view(name))

    def _view(self, name: str) -> BackendView:
        return _view(
            self._backends.directory[name],
            self._backends.leaving(name),
            self._backends.in_flight(name),
        )


def _view(entry: Entry, leaving: bool, in_flight: int) -> BackendView:
    return BackendView(
        name=entry.id,
        url=entry.config.url,
        kind=entry.kind,
        models=list(entry.models),
        up=entry.up,
        draining=entry.draining,
        leaving=leaving,
        in_flight=in_flight,
    )


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, where = str(error).partition(" - at `$")
        raise _bad(f"{what}.", where.strip(".`") or None) from None


def _bad(message: str, param: str | None) -> ApiError:
    return ApiError(400, message, reason="bad_request", param=param)


def _reply(status: int, body: Struct) -> Reply:
    return Reply(status, msgspec.json.encode(body) + b"\n")
