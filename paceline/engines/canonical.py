"""One text for prompts that engines render alike, in the order in which chat templates put it.

Templates print tools (and documents) beside the system message, then the messages in order: so does
the canonical text. Template arguments (`chat_template`, `chat_template_kwargs`, `reasoning_effort`)
may change any line, so they go before everything; `response_format` is left out, since it guides
sampling and hardly any template prints it. Parts are told apart by bytes that UTF-8 never uses, so
no message can imitate another's structure.

Templates of reasoning models print the reasoning since the last user message and leave older ones
out (Qwen3's `last_query_index`): so does the canonical text. The next turn of a chat then matches
an answer that was reasoned about just where it does in the engine.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct
from xxhash import xxh3_128_digest

from paceline.engines.bodies import ABSENT, Chat, Message

MEDIA_TOKENS = 1000
"""Flat guess for a picture, a clip or an embedding: 1024 x 1024 pixels are 765 tokens by OpenAI's
tiling and 1,369 by Qwen2.5-VL's patches of 28 pixels."""

_SETTING, _TOOL, _DOCUMENTS = b"\xff\xf8", b"\xff\xf9", b"\xff\xfa"
_ROLE, _EXTRA, _CONTENT = b"\xff\xfb", b"\xff\xfc", b"\xff\xfd"
_PART, _MEDIA, _CALL = b"\xff\xfe", b"\xff\xf7", b"\xff\xf6"
_NO_RAWS = (ABSENT,) * 4
_THOUGHT = "</think>"
"""What ends the reasoning in a content where the engine does not take it out."""


class _Part(Struct):
    text: str | None = None
    thinking: str | None = None
    refusal: str | None = None


class _Function(Struct):
    name: str
    arguments: Raw = ABSENT


class _ToolCall(Struct):
    function: _Function
    id: str | None = None


_part = msgspec.json.Decoder(_Part)
_calls = msgspec.json.Decoder(list[_ToolCall] | None)
_string = msgspec.json.Decoder(str)


def compact(raw: Raw) -> bytes:
    """A JSON value without its white space; empty for null or nothing.

    Escapes (`\\u00e9` for `é`) are resolved too, which takes building the value: only where there
    are any. The order of keys is kept, since templates print objects as they came.
    """
    data = bytes(raw)
    if not data or data == b"null":
        return b""
    if b"\\" in data:
        return msgspec.json.encode(msgspec.json.decode(data))
    return msgspec.json.format(data, indent=-1)


def digest(raw: Raw) -> bytes:
    """The hash of a value as it stands: megabytes of picture are read once and never copied."""
    return xxh3_128_digest(memoryview(raw))


def chat(body: Chat) -> tuple[bytes, int]:
    """The canonical text of a chat and how many media parts are in it."""
    out: list[bytes] = []
    media = 0
    raws = (body.chat_template, body.chat_template_kwargs, body.reasoning_effort, body.documents)
    if body.tools or raws != _NO_RAWS:
        _before_messages(body, out)
    messages = body.messages or ()
    asked = len(messages) - 1  # the index of the last user message
    while asked > 0 and messages[asked].role != "user":
        asked -= 1
    for index, message in enumerate(messages):
        media += _message(message, out, index < asked)
    return b"".join(out), media


def answer(message: Message) -> bytes:
    """What an answer adds to the canonical text of the chat that it ends."""
    out: list[bytes] = []
    _message(message, out, False)
    return b"".join(out)


def _before_messages(body: Chat, out: list[bytes]) -> None:
    """Append settings, tools and documents."""
    for setting in (body.chat_template, body.chat_template_kwargs, body.reasoning_effort):
        if setting is not ABSENT:
            out += _SETTING, compact(setting)
    for tool in body.tools or ():
        out += _TOOL, compact(tool)
    if body.documents is not ABSENT:
        out += _DOCUMENTS, compact(body.documents)


def _message(message: Message, out: list[bytes], past: bool) -> int:
    """Append one message in the order role, name, reasoning, content, calls; count its media.

    `past`: it is before the last question, and its reasoning is forgotten.
    """
    role, content = message.role, message.content
    bare = message == Message(role, content)
    if bare and not past and isinstance(content, str):
        out += _ROLE, role.encode(), _CONTENT, content.encode()
        return 0
    media = 0
    out += _ROLE, role.encode()
    if not bare:
        _extra(out, (message.name, message.tools))
        if not past:
            _reasoning(message, out)
    out.append(_CONTENT)
    if isinstance(content, str):
        if past and _THOUGHT in content and role == "assistant":
            content = content.rpartition(_THOUGHT)[2]
        out.append(content.encode())
    elif content is not None:
        media = _parts(content, out)
    if not bare:
        _tool_calls(message.tool_calls, out)
        _extra(out, (message.function_call, message.tool_call_id))
    return media


def _reasoning(message: Message, out: list[bytes]) -> None:
    """vLLM and SGLang call it by different names; clients quote either."""
    text = compact(message.reasoning) or compact(message.reasoning_content)
    if text:
        out += _EXTRA, b"r", text


def _tool_calls(raw: Raw, out: list[bytes]) -> None:
    """Append calls by what templates print of them, however the client wrote them down."""
    if raw is ABSENT:
        return
    try:
        calls = _calls.decode(raw)
    except msgspec.ValidationError:
        out += _EXTRA, b"c", compact(raw)
        return
    for call in calls or ():
        arguments = _arguments(call.function.arguments)
        out += _CALL, (call.id or "").encode(), _PART, call.function.name.encode(), _PART, arguments


def _arguments(raw: Raw) -> bytes:
    """Engines parse a call's arguments before they render them: JSON in a string is JSON."""
    if raw is ABSENT or bytes(memoryview(raw)[:1]) != b'"':
        return compact(raw)
    text = _string.decode(raw).encode()
    try:
        return compact(Raw(text))
    except (msgspec.DecodeError, RecursionError):
        return text


def _extra(out: list[bytes], raws: tuple[Raw, ...]) -> None:
    for index, raw in enumerate(raws):
        if raw is not ABSENT and (text := compact(raw)):
            out += _EXTRA, b"%d" % index, text


def _parts(parts: list[Raw], out: list[bytes]) -> int:
    """Append content parts; a single text part reads like the plain string, as templates do."""
    media = 0
    for index, raw in enumerate(parts):
        if index:
            out.append(_PART)
        text = _text(raw)
        if text is None:
            out += _MEDIA, digest(raw)
            media += 1
        else:
            out.append(text.encode())
    return media


def _text(raw: Raw) -> str | None:
    """The text of a content part; None when it is a picture, sound, or anything else."""
    try:
        part = _part.decode(raw)
    except msgspec.ValidationError:
        return None
    if part.text is not None:
        return part.text
    return part.thinking if part.thinking is not None else part.refusal
