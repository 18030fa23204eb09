"""Which model a request that is not scheduled is for, and how to have another serve it."""

from __future__ import annotations

import re

import msgspec

from paceline.proxy.http.request import Request
from paceline.proxy.serving.rules import renamed

FORM_FIELD = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,256})\r\n')
"""The model in a form, as uploads of audio have it."""


class Named(msgspec.Struct):
    """The one field that matters."""

    model: str | None = None


_decoder = msgspec.json.Decoder(Named)


def model_of(request: Request) -> str:
    """The model that the body or the query names; empty if none does."""
    if request.body:
        return _in_body(request)
    return request.message.url.query.get("model", "")


def rename(request: Request, model: str) -> None:
    """Have its body, which names a model, name this one."""
    if not _is_form(request):
        request.body = renamed(request.body, model)
    elif match := FORM_FIELD.search(request.body):
        request.body = (
            request.body[: match.start(1)] + model.encode() + request.body[match.end(1) :]
        )


def _is_form(request: Request) -> bool:
    return request.message.headers.get("Content-Type", "").lower().startswith("multipart/")


def _in_body(request: Request) -> str:
    if _is_form(request):
        match = FORM_FIELD.search(request.body)
        return match[1].decode("utf-8", "replace") if match else ""
    try:
        return _decoder.decode(request.body).model or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""  # the engine knows better what is wrong with it
