"""Deterministic stand-ins for a tokenizer, a chat template and a language model.

A token is four bytes of UTF-8 and its id is those bytes, so that texts with a common prefix have a
common token prefix and an answer sent back as a message has the tokens that it was generated with.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

TOKEN_CHARS = 4
"""About what English has a token; every token of an answer has exactly so many."""
WORDS = [f"{a}{b}{c} " for a in "bdfghjklmnprstvz" for b in "aeiou" for c in "bdgklmnprstx"]

Message = Mapping[str, Any]


def tokenize(text: str) -> array[int]:
    """Ids of `text`: its UTF-8 bytes, four at a time, the last ones padded with zeros."""
    data = text.encode("utf-8", "surrogatepass")
    ids = array("I")
    ids.frombytes(data + b"\0" * (-len(data) % TOKEN_CHARS))
    return ids


def tokenize_chat(messages: Iterable[Message], tools: object = None) -> array[int]:
    """Ids of a conversation: tools, then the messages in order, then the assistant's turn."""
    ids = array("I")
    if tools:
        ids += tokenize("<|tools|>") + tokenize(_json(tools)) + tokenize("<|end|>")
    for message in messages:
        ids += tokenize(f"<|{message.get('role', 'user')}|>")
        ids += tokenize(_content(message))
        ids += tokenize("<|end|>")
    return ids + tokenize("<|assistant|>")


def answer(prompt: Sequence[int], choice: int, tokens: int) -> str:
    """The same prompt always gets the same text of `tokens` words of four characters each."""
    seed = xxh3_64_intdigest(array("I", prompt).tobytes(), choice)
    digests = (xxh3_64_intdigest(i.to_bytes(4, "little"), seed) for i in range(tokens))
    return "".join(WORDS[digest % len(WORDS)] for digest in digests)


def _content(message: Message) -> str:
    """A message's text; what is no text is rendered as JSON."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    calls = message.get("tool_calls")
    return (content if isinstance(content, str) else "") + (_json(calls) if calls else "")


def _part(part: object) -> str:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    return part if isinstance(part, str) else _json(part)


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
