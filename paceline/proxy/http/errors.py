"""The answers that the proxy itself gives when something is wrong, in the shape each API uses."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from paceline.proxy.http.request import Reply

TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_exceeded",
}
"""OpenAI's names for client errors; whatever is not listed is a `server_error`."""

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's names; whatever is not listed is an `api_error`."""


class ApiError(Exception):
    """A request ends with `status` and a message, before any byte of an engine's reply was sent."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        param: str | None = None,
        retry_after: float | None = None,
        challenge: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        """Machine-readable cause: the `x-paceline-reason` header and the error's `code`."""
        self.param = param
        self.retry_after = retry_after
        """Seconds after which trying again makes sense."""
        self.challenge = challenge
        """What `WWW-Authenticate` asks for; empty for nothing."""

    @property
    def type(self) -> str:
        """OpenAI's name for this class of error."""
        return TYPES.get(self.status, "server_error")


REJECTIONS = {
    "queue_full": (429, "Too many requests are waiting; try again later."),
    "shed": (429, "More important requests took this one's place; try again later."),
    "deadline": (503, "No engine had room for this request in time; try again later."),
    "no_backend": (503, "No engine that serves `{model}` is up; try again later."),
    "unknown_model": (404, "The model `{model}` does not exist."),
}


def rejected(reason: str, model: str, retry_after: float) -> ApiError:
    """The answer to a request that the scheduler refused."""
    status, message = REJECTIONS[reason]
    if reason == "unknown_model" and model.startswith("/"):
        message = "No engine here has `{model}`."
    return ApiError(
        status,
        message.format(model=model),
        reason="model_not_found" if reason == "unknown_model" else reason,
        param="model" if reason == "unknown_model" else None,
        retry_after=None if status == 404 else max(retry_after, 1.0),
    )


def unknown_model(model: str) -> ApiError:
    """No engine serves `model`."""
    return rejected("unknown_model", model, 0.0)


def body(error: ApiError, path: str) -> dict[str, Any]:
    """The error as the API behind `path` words it: OpenAI's, Anthropic's or SGLang's own shape."""
    if path.startswith("/v1/messages"):
        kind = ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    if not path.startswith("/v1/"):
        return {"error": {"message": error.message}}
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.reason,
        }
    }


def response(error: ApiError, path: str, headers: dict[str, str]) -> Reply:
    """The whole HTTP answer; `headers` are added to it."""
    headers["x-paceline-reason"] = error.reason
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.challenge:
        headers["WWW-Authenticate"] = error.challenge
    return Reply(error.status, msgspec.json.encode(body(error, path)), headers=headers)


def sse_event(error: ApiError, path: str) -> bytes:
    """One server-sent event that tells of a failure in the middle of a stream, as the clients of
    the API behind `path` look for it: Anthropic's by its name, all others by its data."""
    if path.startswith("/v1/messages"):
        return b"event: error\ndata: " + msgspec.json.encode(body(error, path)) + b"\n\n"
    return b"data: " + msgspec.json.encode(body(error, "/v1/")) + b"\n\n"
