"""`/paceline/openapi.json`: the proxy's own routes, described from the types that answer them."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from paceline import __version__
from paceline.proxy.routes.admin import BackendChange, BackendList, BackendView, NewBackend
from paceline.proxy.telemetry.state import State
from paceline.proxy.ui import page
from paceline.proxy.ui.views import Board

PATH = "/paceline/openapi.json"
Json = dict[str, Any]


class Status(Struct, frozen=True):
    """Whether the proxy is up, or ready."""

    status: str


class ErrorDetail(Struct, frozen=True):
    """What went wrong, as OpenAI words it."""

    message: str
    type: str
    param: str | None
    code: str
    """The reason, for machines."""


class Error(Struct, frozen=True):
    """A request that was refused."""

    error: ErrorDetail


TYPES = (Status, State, Board, BackendList, BackendView, NewBackend, BackendChange, Error)


@cache
def document() -> bytes:
    """The description, as JSON of OpenAPI 3.1."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "paceline", "version": __version__},
            "paths": _paths(),
            "security": [{"key": []}, {}],
            "components": {
                "schemas": schemas,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
                "responses": {
                    "Refused": _json("Refused.", Error),
                    "Busy": _json("Too many connections, no memory, or restarting.", Error, Status),
                },
            },
        }
    )


def _paths() -> Json:
    backends, one = "/paceline/backends", "/paceline/backends/{name}"
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    metrics = {"description": "Prometheus's text format.", "content": {"text/plain": {}}}
    html = {"description": "The page.", "content": {"text/html": {}}}
    moved = {"description": "Look at the path without the last slash."}
    described = {"description": "This.", "content": {"application/json": {}}}
    ready = {200: _json("It is.", Status), 503: _json("No backend, or draining.", Status)}
    return {
        "/health": {"get": _route("Whether the proxy runs", {200: _json("It does.", Status)})},
        "/ready": {"get": _route("Whether it can serve", ready)},
        "/metrics": {"get": _route("Metrics", {200: metrics})},
        "/paceline/state": {
            "get": _route("What the scheduler holds", {200: _json("The state.", State)})
        },
        PATH: {"get": _route("This description", {200: described})},
        page.PATH: {
            "get": _route("The dashboard", {200: html, 304: {"description": "As it was."}})
        },
        f"{page.PATH}/": {"get": _route("The dashboard, as some write it", {308: moved})},
        page.REPORT: {
            "get": _route(
                "The simulator's report of the recording",
                {200: html, 404: _json("There is none.", Error)},
            )
        },
        page.STATE: {"get": _route("What the dashboard shows", {200: _json("It all.", Board)})},
        backends: {
            "get": _route("All backends", {200: _json("They are.", BackendList)}),
            "post": _route("Add one", {201: _json("It was added.", BackendView)}, NewBackend),
        },
        one: {
            "parameters": [name],
            "get": _route("One backend", {200: _json("It is.", BackendView)}),
            "patch": _route(
                "Drain it, or end that", {200: _json("It was changed.", BackendView)}, BackendChange
            ),
            "delete": _route(
                "Remove it once its requests have ended", {202: _json("It leaves.", BackendView)}
            ),
        },
    }


def _route(summary: str, answers: dict[int, Json], body: type[Struct] | None = None) -> Json:
    route: Json = {
        "summary": summary,
        "responses": {
            "4XX": {"$ref": "#/components/responses/Refused"},
            "501": {"$ref": "#/components/responses/Refused"},
            "503": {"$ref": "#/components/responses/Busy"},
        }
        | {str(status): answer for status, answer in answers.items()},
    }
    if body is not None:
        route["requestBody"] = {"required": True, "content": _content(body)}
    return route


def _json(description: str, *types: type[Struct]) -> Json:
    return {"description": description, "content": _content(*types)}


def _content(*types: type[Struct]) -> Json:
    """One of these as JSON."""
    schemas = [{"$ref": f"#/components/schemas/{one.__name__}"} for one in types]
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
