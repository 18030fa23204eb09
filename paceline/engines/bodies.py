"""The fields of a request body that routing needs, and how leniently engines read them.

Both engines validate with pydantic in its lax mode: `"n": "2"`, `2.0` and `true` are numbers
there, `"yes"` is a truth value. What an engine would serve must not be refused here, so scalars are
decoded as they come and read by `whole` and `flag`. Fields without a name here are neither decoded
nor kept: what is forwarded is the body itself.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

ABSENT = Raw(b"")
Number = int | float | bool
"""What engines read as a token id: `2.0` and `true` are integers to pydantic."""
LARGEST = 2**31 - 1
"""Numbers are capped here: longer than any context, and still safe to multiply."""
_NOT_JSON = (b"NaN", b"Infinity", b"\xef\xbb\xbf")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


class BadRequest(Exception):
    """No engine would serve this body; says which field is wrong, and how."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


class Message(Struct):
    """One chat message; only the content is decoded, the rest is taken as it stands."""

    role: str
    content: str | list[Raw] | None = None
    name: Raw = ABSENT
    tools: Raw = ABSENT
    reasoning: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    tool_call_id: Raw = ABSENT


class Common(Struct):
    """What all bodies share; `stream`, `n`, `priority` are read by `flag` and `whole`."""

    model: str | None = None
    stream: Any = False
    n: Any = 1
    priority: Any = None
    lora_path: Raw = ABSENT
    cache_salt: Raw = ABSENT
    extra_key: Raw = ABSENT


class Chat(Common):
    """`/v1/chat/completions`."""

    messages: list[Message] | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    tools: list[Raw] | None = None
    documents: Raw = ABSENT
    chat_template: Raw = ABSENT
    chat_template_kwargs: Raw = ABSENT
    reasoning_effort: Raw = ABSENT
    continue_final_message: Any = False
    input_ids: list[int] | None = None
    """SGLang: the rendered prompt, instead of the messages."""


class Completion(Common):
    """`/v1/completions`."""

    prompt: str | list[Number | str | list[Number]] | None = None
    prompt_embeds: Raw = ABSENT
    max_tokens: Any = 16  # the default of vLLM, SGLang and OpenAI
    echo: Any = False


class Sampling(Struct):
    """`sampling_params` of `/generate`."""

    max_new_tokens: Any = 128  # SGLang, sampling_params.py
    n: Any = 1


class Generate(Common):
    """SGLang's `/generate`; its `n` stands in `sampling_params`."""

    text: str | list[str] | None = None
    input_ids: list[Number | list[Number]] | None = None
    input_embeds: list[Raw] | None = None
    image_data: Raw = ABSENT
    video_data: Raw = ABSENT
    audio_data: Raw = ABSENT
    session_params: Raw = ABSENT
    sampling_params: Sampling | list[Sampling] | None = None


Body = TypeVar("Body", bound=Common)


def decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """One pass over the body.

    Lone surrogates are refused, as SGLang 0.5.23 does everywhere and vLLM 0.32 does in prompts.
    `NaN` and a byte order mark are not JSON, but vLLM serves them: they cost a second look.

    Raises:
        BadRequest: malformed JSON, not an object, a field of the wrong type, nested too deeply.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_type(error) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        if any(mark in body for mark in _NOT_JSON):
            return decode(decoder, _strict(body))
        raise BadRequest(f"the body is not JSON: {error}") from None


def _strict(body: bytes) -> bytes:
    """The same body without what only Python's own JSON reader accepts."""
    try:
        value = json.loads(body, parse_constant=lambda _: None)
        return json.dumps(value).removeprefix("\ufeff").encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _wrong_type(error: msgspec.ValidationError) -> BadRequest:
    """msgspec says ``Expected `int`, got `str` - at `$.messages[0].role` ``."""
    problem, _, where = str(error).replace("`", "").partition(" - at $")
    field = where.lstrip(".")
    if not field:
        return BadRequest(f"the body must be a JSON object: {problem}")
    return BadRequest(f"{field}: {problem}", field)


def present(raw: Raw) -> bool:
    """Whether the body has this field, and not as null."""
    return raw is not ABSENT and bytes(memoryview(raw)[:5]) != b"null"


def whole(value: Any, field: str, least: int, default: int | None) -> int | None:
    """The integer that pydantic would read, capped at `LARGEST`; `default` for null.

    Raises:
        BadRequest: not an integer, or below `least`.
    """
    if value is None:
        return default
    number = value if type(value) is int else _to_int(value)
    if number is None:
        raise BadRequest(f"{field}: must be an integer", field)
    if number < least:
        raise BadRequest(f"{field}: must be at least {least}, got {number}", field)
    return number if number < LARGEST else LARGEST


def _to_int(value: Any) -> int | None:
    if isinstance(value, int):  # true and false
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return None


def flag(value: Any, field: str) -> bool:
    """The truth value that pydantic would read; null is false.

    Raises:
        BadRequest: neither true nor false.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise BadRequest(f"{field}: must be true or false", field)
