"""The request bodies that the routes take, as far as the emulator reads them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from paceline.engines.emulator.errors import Refused

Prompt = str | list[int] | list[str] | list[list[int]]


class StreamOptions(Struct):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class OpenAIBody(Struct, kw_only=True):
    """What /v1/completions and /v1/chat/completions share; other fields are ignored."""

    model: str = ""
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    priority: int | None = 0
    rid: str | None = None
    """SGLang's name for the request id."""
    request_id: str | None = None
    """vLLM's."""
    cache_salt: str | None = None
    extra_key: str | None = None
    """SGLang's second salt."""


class CompletionBody(OpenAIBody, kw_only=True):
    """POST /v1/completions."""

    prompt: Any
    """A `Prompt`."""


class ChatBody(OpenAIBody, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None


class ResponsesBody(Struct, kw_only=True):
    """POST /v1/responses."""

    input: str | list[dict[str, Any]]
    model: str = ""
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = True
    tools: list[Any] | None = None
    max_output_tokens: int | None = None
    stream: bool | None = False
    priority: int | None = 0


class ToolChoice(Struct):
    """Anthropic's `tool_choice`."""

    type: str
    name: str | None = None


class Tool(Struct):
    """One of Anthropic's `tools`."""

    name: str
    input_schema: dict[str, Any]


class CountBody(Struct, kw_only=True):
    """POST /v1/messages/count_tokens."""

    messages: list[dict[str, Any]]
    model: str = ""
    system: Any = None
    tools: list[dict[str, Any]] | None = None


class MessagesBody(CountBody, kw_only=True):
    """POST /v1/messages."""

    max_tokens: int
    stream: bool | None = False
    tool_choice: ToolChoice | None = None


class SamplingParams(Struct):
    """The part of SGLang's `sampling_params` that decides how much work there is."""

    max_new_tokens: int | None = None
    n: int = 1


class GenerateBody(Struct, kw_only=True):
    """POST /generate."""

    text: str | list[str] | None = None
    input_ids: Any = None
    """A list of ids, or a list of such lists."""
    sampling_params: SamplingParams | list[SamplingParams] | None = None
    rid: str | list[str] | None = None
    stream: bool | None = False
    priority: int | None = 0
    cache_salt: str | None = None
    extra_key: str | None = None


class AbortBody(Struct):
    """POST /abort_request."""

    rid: str = ""
    abort_all: bool = False


class TokenizeBody(Struct):
    """POST /tokenize."""

    model: str = ""
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[Any] | None = None


class EmbeddingBody(Struct):
    """POST /v1/embeddings."""

    input: Any
    """A `Prompt`."""
    model: str = ""


Body = TypeVar("Body", bound=Struct)


def decode(data: bytes, body: type[Body]) -> Body:
    """`data` as a `body`; Refused with 400 when it is not one."""
    try:
        return msgspec.json.decode(data, type=body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, str(error)) from error


def as_prompts(value: object) -> list[str | list[int]]:
    """The prompts in a `Prompt`; Refused with 400 when it is none, or empty."""
    try:
        prompt = msgspec.convert(value, str | list[Any])
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            return list(msgspec.convert(prompt, list[str | list[int]]))
        return [msgspec.convert(prompt, str | list[int])]
    except msgspec.ValidationError as error:
        raise Refused(400, f"prompt: {error}", "prompt") from error
