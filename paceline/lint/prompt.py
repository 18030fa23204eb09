"""The parts of a request body that prefixes are made of: texts, messages, tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from paceline.lint.log import Body

LEADING = ("system", "developer")
"""Roles of messages that a template writes."""

Edit = Callable[[str], str]


def messages(body: Body) -> list[Body]:
    """The messages of a chat; none for other requests."""
    return body.get("messages") or []


def head(body: Body) -> int:
    """How many messages a template wrote before the conversation."""
    found = messages(body)
    return next((i for i, m in enumerate(found) if m.get("role") not in LEADING), len(found))


def texts(body: Body) -> Iterator[tuple[str, str]]:
    """Places and texts that a template wrote: leading messages, a prompt without its question."""
    for index, message in enumerate(messages(body)[: head(body)]):
        for text in said(message):
            yield f"messages[{index}]", text
    if isinstance(body.get("prompt"), str):
        template, _ = question(body["prompt"])
        if template:
            yield "prompt", template


def said(message: Body) -> list[str]:
    """What a message says: its text, or those of its parts."""
    content = message.get("content")
    parts: list[Any] = content if isinstance(content, list) else [{"text": content}]
    return [part["text"] for part in parts if _is_text(part)]


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def rewritten(body: Body, edit: Edit) -> Body:
    """A copy whose template texts are as `edit` makes them."""
    changed = dict(body)
    if isinstance(body.get("prompt"), str):
        template, rest = question(body["prompt"])
        changed["prompt"] = (edit(template) if template else "") + rest
    if messages(body):
        count = head(body)
        found = messages(body)
        changed["messages"] = [*(_edited(m, edit) for m in found[:count]), *found[count:]]
    return changed


def _edited(message: Body, edit: Edit) -> Body:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": edit(content)}
    if not isinstance(content, list):
        return message
    parts = [{**part, "text": edit(part["text"])} if _is_text(part) else part for part in content]
    return {**message, "content": parts}


def question(prompt: str) -> tuple[str, str]:
    """A prompt's template and its last paragraph, which is taken for the question."""
    at = prompt.rstrip().rfind("\n\n")
    return ("", prompt) if at < 0 else (prompt[:at], prompt[at:])


def appended(body: Body, text: str) -> Body:
    """A copy that says `text` after everything else."""
    if isinstance(body.get("prompt"), str):
        return {**body, "prompt": f"{body['prompt']}\n\n{text}"}
    last = messages(body)[-1]
    content = last.get("content")
    if isinstance(content, list):
        content = [*content, {"type": "text", "text": text}]
    elif last.get("role") in ("user", *LEADING):
        content = f"{content}\n\n{text}" if content else text
    else:  # never put words into an answer, a tool's result or a call
        return {**body, "messages": [*messages(body), {"role": "user", "content": text}]}
    return {**body, "messages": [*messages(body)[:-1], {**last, "content": content}]}


_LEVELS = (re.compile(r"(\n(?:[ \t]*\n)+)"), re.compile(r"(\n)"), re.compile(r"((?<=[.!?]) +)"))


@lru_cache(maxsize=1 << 12)  # every rule asks
def blocks(text: str) -> tuple[tuple[str, ...], str]:
    """Paragraphs, or lines where there is one paragraph, or sentences; and what parts them."""
    for level in _LEVELS:
        parts = level.split(text)
        if len(parts) > 1:
            return tuple(part for part in parts[::2] if part.strip()), parts[1]
    return (text,), " "


def names(tools: list[Any]) -> list[str]:
    """What tools are called, in OpenAI's form or flat; empty for what has no name."""
    return [_name(tool) for tool in tools]


def _name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return ""
    inner = tool.get("function")
    return str((inner if isinstance(inner, dict) else tool).get("name", ""))
