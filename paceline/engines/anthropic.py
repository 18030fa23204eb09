"""Reads Anthropic's Messages as the chats that engines make of them, so that both share a prefix.

vLLM 0.32 and SGLang 0.5.23 turn `/v1/messages` into a chat and render that: `system` becomes the
first message, `tool_use` the calls of an answer, each `tool_result` a message of its own, tools
lose their wrapping. Here it is the same, so tools and system lead the canonical text as they lead
the prompt. `cache_control`, which clients move from turn to turn, reaches no engine's prompt, and
is left out.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from paceline.engines.bodies import ABSENT, BadRequest, Chat, Common, Message, decode

BILLING = "x-anthropic-billing-header"
"""Begins a block of Claude Code's system that has a hash of the request; vLLM leaves it out."""


class _Block(Struct):
    """A content block; which fields it has depends on its type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    source: Raw = ABSENT
    id: str = ""
    name: str = ""
    input: Raw = ABSENT
    tool_use_id: str = ""
    content: str | list[Raw] | None = None


class _Turn(Struct):
    role: str
    content: str | list[Raw]


class _Tool(Struct):
    name: str
    description: Raw = ABSENT
    input_schema: Raw = ABSENT


class _Thinking(Struct):
    type: str = ""


class _OutputConfig(Struct):
    effort: Raw = ABSENT


class Messages(Common):
    """`/v1/messages`."""

    messages: list[_Turn] | None = None
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    max_tokens: Any = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    chat_template_kwargs: Raw = ABSENT


class _Function(Struct, kw_only=True, omit_defaults=True):
    name: str
    description: Raw = ABSENT
    parameters: Raw


class _Offer(Struct, kw_only=True):
    type: str = "function"
    function: _Function


class _Made(Struct):
    name: str
    arguments: Raw


class _Call(Struct):
    id: str
    function: _Made


_messages = msgspec.json.Decoder(Messages)
_block = msgspec.json.Decoder(_Block)
_encode = msgspec.json.Encoder().encode
_NOTHING = Raw(b"{}")


def read(body: bytes) -> Chat:
    """The chat that engines make of a body.

    Raises:
        BadRequest: what no engine would serve.
    """
    fields = decode(_messages, body)
    if not fields.messages:
        problem = "must not be empty" if fields.messages == [] else "is required"
        raise BadRequest(f"messages: {problem}", "messages")
    if fields.max_tokens is None:
        raise BadRequest("max_tokens: is required", "max_tokens")
    messages = _system(fields.system)
    for number, turn in enumerate(fields.messages):
        _add_turn(turn, messages, f"messages[{number}].content")
    return Chat(
        model=fields.model,
        stream=fields.stream,
        cache_salt=fields.cache_salt,
        messages=messages,
        max_tokens=fields.max_tokens,
        tools=[_offer(tool) for tool in fields.tools or () if tool.input_schema is not ABSENT],
        chat_template_kwargs=fields.chat_template_kwargs,
        reasoning_effort=_effort(fields),
    )


def answer(blocks: list[Raw]) -> Message:
    """The message that a later turn quotes an answer with; raises msgspec.DecodeError."""
    out: list[Message] = []
    try:
        _add_turn(_Turn("assistant", blocks), out, "content")
    except BadRequest as error:
        raise msgspec.DecodeError(error.message) from None
    return out[0] if out else Message("assistant", "")


def _effort(fields: Messages) -> Raw:
    """What templates are told of how much to think."""
    if fields.thinking is not None and fields.thinking.type == "disabled":
        return Raw(b'"none"')
    return ABSENT if fields.output_config is None else fields.output_config.effort


def _system(given: str | list[_Block] | None) -> list[Message]:
    if isinstance(given, list):
        texts = [block.text for block in given if block.text]
        given = "".join(text for text in texts if not text.startswith(BILLING))
    return [Message("system", given)] if given else []


def _offer(tool: _Tool) -> Raw:
    """A tool as a chat offers it; without a schema it runs at Anthropic and is skipped."""
    function = _Function(name=tool.name, description=tool.description, parameters=tool.input_schema)
    return Raw(_encode(_Offer(function=function)))


def _add_turn(turn: _Turn, out: list[Message], where: str) -> None:
    if isinstance(turn.content, str):
        out.append(Message(turn.role, turn.content))
        return
    parts: list[Raw] = []
    calls: list[_Call] = []
    thoughts: list[str] = []
    for raw in turn.content:
        block = _read_block(raw, where)
        if block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type == "tool_use":
            arguments = _NOTHING if block.input is ABSENT else block.input
            calls.append(_Call(block.id, _Made(block.name, arguments)))
        elif block.type == "tool_result":
            if parts:  # in the order in which they were said
                out.append(Message(turn.role, parts))
                parts = []
            out.append(_result(block, where))
        elif block.type != "redacted_thinking":
            parts.append(_part(block, raw))
    if parts or calls or thoughts:
        message = Message(turn.role, parts or None)
        if calls:
            message.tool_calls = Raw(_encode(calls))
        if thoughts:
            message.reasoning = Raw(_encode("".join(thoughts)))
        out.append(message)


def _result(block: _Block, where: str) -> Message:
    """What a tool said, as a message of its own."""
    content = block.content
    if isinstance(content, list):
        content = [_part(_read_block(raw, where), raw) for raw in content]
    return Message("tool", content, tool_call_id=Raw(_encode(block.tool_use_id)))


def _part(block: _Block, raw: Raw) -> Raw:
    """A part of a chat's content: text, the source of a picture, or the block as it stands."""
    if block.text is not None or block.type == "text":
        return Raw(_encode({"text": block.text or ""}))
    return raw if block.source is ABSENT else block.source


def _read_block(raw: Raw, where: str) -> _Block:
    try:
        return _block.decode(raw)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{where}: {error}", where) from None
