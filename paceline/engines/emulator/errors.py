"""Error replies in the shape of the emulated engine."""

from __future__ import annotations

import msgspec
from aiohttp import web

from paceline.engines.model.engine import ModelKind

NAMES = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}

ANTHROPIC = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}


class Refused(Exception):
    """The engine answers `status` with `message`."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


def error_body(kind: ModelKind, path: str, refused: Refused) -> object:
    """What the engine of `kind` sends: vLLM nests, SGLang's /v1 does not, /generate says little."""
    if path.startswith("/v1/messages"):
        kind_of = ANTHROPIC.get(refused.status, "api_error")
        return {"type": "error", "error": {"type": kind_of, "message": refused.message}}
    if path == "/generate":
        return {"error": {"message": refused.message}}
    error = {
        "message": refused.message,
        "type": NAMES[refused.status],
        "param": refused.param,
        "code": refused.status,
    }
    return {"error": error} if kind == "vllm" else {"object": "error", **error}


def error_response(kind: ModelKind, path: str, refused: Refused) -> web.Response:
    """The reply for `refused`."""
    body = msgspec.json.encode(error_body(kind, path, refused))
    return web.Response(status=refused.status, body=body, content_type="application/json")
