"""The parts of a request body that prefixes are made of: texts, messages, tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
        if isinstance(message.get("content"), str):
            yield f"messages[{index}]", message["content"]
    if isinstance(body.get("prompt"), str):
        template, _ = question(body["prompt"])
        if template:
            yield "prompt", template


def rewritten(body: Body, edit: Edit) -> Body:
    """A copy whose template texts are as `edit` makes them."""
    changed = dict(body)
    if isinstance(body.get("prompt"), str):
        template, rest = question(body["prompt"])
        changed["prompt"] = (edit(template) if template else "") + rest
    if messages(body):
        count = head(body)
        changed["messages"] = [
            {**m, "content": edit(m["content"])}
            if i < count and isinstance(m.get("content"), str)
            else m
            for i, m in enumerate(messages(body))
        ]
    return changed


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


def blocks(text: str) -> tuple[list[str], str]:
    """Paragraphs, or lines where there is one paragraph, or sentences; and what parts them."""
    for level in _LEVELS:
        parts = level.split(text)
        if len(parts) > 1:
            return [part for part in parts[::2] if part.strip()], parts[1]
    return [text], " "


def names(tools: list[Any]) -> list[str]:
    """What tools are called, in OpenAI's form or flat; empty for what has no name."""
    return [_name(tool) for tool in tools]


def _name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return ""
    inner = tool.get("function")
    return str((inner if isinstance(inner, dict) else tool).get("name", ""))
