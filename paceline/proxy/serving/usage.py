"""Reads what an engine reports at a reply's end: prompt, output and cached tokens."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, structs

from paceline.scheduler.types import Request, Usage

LONGEST = 4_000_000
"""Tokens that no prompt and no answer has: four times the longest context there is."""

REPORT = re.compile(rb'(?<!\\)"(usage|meta_info)"\s*:\s*(?=\{)')
"""Where a report begins; inside generated text its quotes would be escaped."""
CHOICE = re.compile(rb'(?<!\\)"index"\s*:\s*[1-9]')
"""A choice other than the first: SGLang's `/generate` reports each by itself."""

OPENAI = b'"usage":{'
"""As engines write it; any other spacing takes the regular expression, several times as long."""
BEFORE = b",{ \n"
"""What stands before a member of an object."""
NONE = Usage()

_decode = json.JSONDecoder().raw_decode

_Count = Annotated[int, Meta(ge=0, le=LONGEST)]


class _Details(Struct):
    cached_tokens: _Count | None = None


class _Report(Struct):
    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None


_report = msgspec.json.Decoder(_Report)


def read_usage(tail: bytes) -> Usage:
    """The usage in `tail`, the end of a reply's payload; all None where there is none to be read.

    OpenAI's shapes have one `usage` for all choices, last if repeated; SGLang's `/generate` has a
    `meta_info` for each, and in a stream each event repeats it with larger counts.
    """
    at = tail.rfind(OPENAI)
    if at > 0 and tail[at - 1] in BEFORE and tail.find(b'"meta_info"', at) < 0:  # the last one
        at += len(OPENAI) - 1
        return _plain(tail, at) or _openai(_object_at(tail, at))
    if at < 0 and tail.rfind(b'"usage"') < 0 and tail.rfind(b'"meta_info"') < 0:
        return NONE  # as most streams; the expression takes 60 us to find nothing, `in` twice these
    reports = list(REPORT.finditer(tail))
    if not reports:
        return NONE
    last = reports[-1]
    report = _object_at(tail, last.end())
    if last[1] == b"usage":
        return _openai(report)
    return _sglang(report, alone=len(reports) == 1 or _is_one_stream(tail))


def _plain(tail: bytes, start: int) -> Usage | None:
    """OpenAI's report, if it is as engines write it for chat: three times as fast as any other."""
    end = tail.find(b"}", start) + 1
    if tail.find(b"{", start + 1, end) > 0:  # the details
        end = tail.find(b"}", end) + 1
    try:
        report = _report.decode(tail[start:end])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    details = report.prompt_tokens_details
    return Usage(
        prompt_tokens=report.prompt_tokens,
        output_tokens=report.completion_tokens,
        cached_tokens=None if details is None else details.cached_tokens,
    )


def _is_one_stream(tail: bytes) -> bool:
    return b"data: " in tail and CHOICE.search(tail) is None


def _object_at(data: bytes, start: int) -> dict[str, Any]:
    """The JSON object that begins at `start`, whatever follows it; empty if it is not whole."""
    try:
        found, _ = _decode(str(data[start:], "utf-8", "replace"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _openai(usage: dict[str, Any]) -> Usage:
    if "prompt_tokens" not in usage and "input_tokens" in usage:  # responses, messages
        if usage.get("cache_read_input_tokens") is not None:
            return _anthropic(usage)
        return _usage(usage, "input_tokens", "output_tokens", "input_tokens_details")
    return _usage(usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details")


def _anthropic(usage: dict[str, Any]) -> Usage:
    """Where the prompt is counted in parts: read from the cache, and the rest."""
    cached, new = _count(usage["cache_read_input_tokens"]), _count(usage["input_tokens"])
    made = _count(usage.get("cache_creation_input_tokens") or 0)
    prompt = None
    if cached is not None and new is not None and made is not None:
        prompt = cached + new + made
    return Usage(
        prompt_tokens=_count(prompt),
        output_tokens=_count(usage.get("output_tokens")),
        cached_tokens=cached,
    )


def _usage(usage: dict[str, Any], prompt: str, output: str, more: str) -> Usage:
    details = usage.get(more)
    return Usage(
        prompt_tokens=_count(usage.get(prompt)),
        output_tokens=_count(usage.get(output)),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )


def _sglang(meta: dict[str, Any], alone: bool) -> Usage:
    """With several choices, one choice's output is not the request's: None."""
    return Usage(
        prompt_tokens=_count(meta.get("prompt_tokens")),
        output_tokens=_count(meta.get("completion_tokens")) if alone else None,
        cached_tokens=_count(meta.get("cached_tokens")),
    )


def plausible(usage: Usage, request: Request) -> Usage:
    """The usage as far as it can be true: an answer keeps to its limit."""
    limit = request.max_tokens
    tokens = usage.output_tokens
    if limit is None or tokens is None or tokens <= limit * request.n:
        return usage
    return structs.replace(usage, output_tokens=limit * request.n)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= LONGEST else None
