"""Reads the bodies of the routes that are scheduled into what the scheduler needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs
from xxhash import xxh3_64_intdigest

from paceline.engines import anthropic, canonical, prompts
from paceline.engines.answers import Encode, Kind, Transcript, opening
from paceline.engines.base import native
from paceline.engines.bodies import (
    ABSENT,
    LARGEST,
    BadRequest,
    Chat,
    Common,
    Completion,
    Generate,
    Sampling,
    decode,
    flag,
    present,
    whole,
)
from paceline.engines.canonical import MEDIA_TOKENS
from paceline.engines.prompts import Prompt
from paceline.scheduler.blocks import BLOCK_BYTES, BLOCK_IDS, chain
from paceline.scheduler.types import Request

__all__ = ["PATHS", "RANKED", "BadRequest", "Call", "parse"]

_NO_RAWS = (ABSENT,) * 3
_chat = msgspec.json.Decoder(Chat)
_completion = msgspec.json.Decoder(Completion)
_generate = msgspec.json.Decoder(Generate)


class Call(Struct, frozen=True):
    """What one request body says, before the scheduler's names and clock are put on it."""

    model: str
    """Empty when the body names none: then any backend will do that has the API."""
    streaming: bool
    max_tokens: int | None
    """The limit on a choice, given or the route's default; None for the rest of the context."""
    n: int
    """Choices in all: those asked for a prompt, times the prompts."""
    priority: int | None
    """As the body has it: vLLM serves lower numbers first, SGLang higher ones."""
    prompt: Prompt
    variant: bytes = b""
    """LoRA path, cache salt and extra key: prompts that differ in one share no cache."""
    answer: Kind = ""
    """The shape of the answer that a later prompt may quote."""
    base: int = BLOCK_BYTES
    """Bytes in a base block; a token id has four."""
    encode: Encode | None = None
    """What makes ids of an answer's text, where the prompt's ids were made of text too."""
    native: str = ""
    """The path, when it is an API that only some engines have."""

    def prompt_tokens(self, bytes_per_token: float) -> int:
        """Tokens of all its prompts, text estimated at so many bytes a token."""
        return self.prompt.tokens + ceil(self.prompt.size / bytes_per_token)

    def root(self, seed: bytes) -> bytes:
        """What all keys of prompts that could share a cache with this one come from."""
        if self.prompt.is_ids:
            return ids_root(seed, self.model, self.variant)
        return b"\xff".join((seed, self.model.encode(), self.variant, b"text"))

    def tokenized(self, ids: bytes, block_ids: int, encode: Encode) -> Call:
        """The same with a model's own tokens for its text; `encode` does it for the answer.

        Given as ids, the prompt remains what it is. `block_ids`: tokens in a base block.
        """
        prompt = self.prompt
        if not prompt.is_ids:
            prompt = Prompt(ids, is_ids=True, tokens=len(ids) // 4)
        return structs.replace(self, prompt=prompt, base=block_ids * 4, encode=encode)

    def transcript(self, request: Request, seed: bytes) -> Transcript | None:
        """What gathers the answer to `request`, made of this with the same seed; None where no
        later prompt would quote it."""
        if not self.answer or self.n != 1:
            return None
        keys, prompt = request.prefix, self.prompt
        root = 0 if keys else xxh3_64_intdigest(self.root(seed))
        begun = opening(root, keys, prompt.data, self.base)
        encode = self.encode if self.answer != "generate" else None  # that tells its ids
        return Transcript(begun, self.answer, self.streaming, prompt.is_ids, encode)

    def to_request(
        self,
        *,
        id: str,
        arrived_at: float,
        seed: bytes,
        priority: int = 0,
        tenant: str = "",
        deadline: float | None = None,
        bytes_per_token: float = 4.0,
    ) -> Request:
        """The request for the scheduler, its prompt cut into chained block keys.

        Args:
            seed: secret of this process, of one length, so that keys cannot be made to collide.
            bytes_per_token: how much text is a token for this model; token ids need no estimate.
        """
        prompt = self.prompt
        return Request(
            id=id,
            arrived_at=arrived_at,
            model=native(self.native, self.model) if self.native else self.model,
            prefix=chain(self.root(seed), prompt.data, self.base),
            exact=self.encode is not None and not self.variant,
            block_tokens=self.base / (4.0 if prompt.is_ids else bytes_per_token),
            prompt_tokens=self.prompt_tokens(bytes_per_token),
            max_tokens=self.max_tokens,
            n=self.n,
            streaming=self.streaming,
            priority=priority,
            tenant=tenant,
            deadline=deadline,
        )


def ids_root(seed: bytes, model: str, variant: bytes = b"") -> bytes:
    """What all keys of a model's prompts of token ids come from."""
    return b"\xff".join((seed, model.encode(), variant, b"ids"))


def parse(path: str, body: bytes) -> Call:
    """What the body of a request to `path` (one of `PATHS`) asks for.

    Raises:
        BadRequest: what no engine would serve, naming the field and the problem.
    """
    try:
        return PATHS[path](body)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _parse_chat(body: bytes) -> Call:
    fields = decode(_chat, body)
    if not fields.messages and fields.input_ids is None:
        problem = "must not be empty" if fields.messages == [] else "is required"
        raise BadRequest(f"messages: {problem}", "messages")
    if fields.input_ids is not None:
        prompt = prompts.read(fields.input_ids, "input_ids")
    else:
        text, media = canonical.chat(fields)
        prompt = Prompt(text, False, len(text), media * MEDIA_TOKENS)
    limit = fields.max_tokens
    if fields.max_completion_tokens is not None:
        limit = whole(fields.max_completion_tokens, "max_completion_tokens", 0, None)
    elif limit is not None:
        limit = whole(limit, "max_tokens", 0, None)
    quoted = fields.input_ids is None and not fields.continue_final_message
    return _call(fields, prompt, limit, fields.n, answer="chat" if quoted else "")


def _parse_messages(body: bytes) -> Call:
    fields = anthropic.read(body)
    text, media = canonical.chat(fields)
    prompt = Prompt(text, size=len(text), tokens=media * MEDIA_TOKENS)
    limit = whole(fields.max_tokens, "max_tokens", 0, None)
    return _call(fields, prompt, limit, fields.n, answer="messages")


def _parse_completion(body: bytes) -> Call:
    fields = decode(_completion, body)
    embeds = present(fields.prompt_embeds)
    if fields.prompt is None and not embeds:
        raise BadRequest("prompt: is required", "prompt")
    prompt = Prompt(b"") if fields.prompt is None else prompts.read(fields.prompt, "prompt")
    variant = b""
    if embeds:
        variant = canonical.digest(fields.prompt_embeds)
        prompt = prompt.plus(MEDIA_TOKENS)
    limit = whole(fields.max_tokens, "max_tokens", 0, None)
    quoted = not (prompt.is_ids or fields.echo or embeds)
    answer: Kind = "completion" if quoted else ""
    return _call(fields, prompt, limit, fields.n, variant, answer=answer)


def _parse_generate(body: bytes) -> Call:
    fields = decode(_generate, body)
    media = [
        raw for raw in (fields.image_data, fields.video_data, fields.audio_data) if present(raw)
    ]
    prompt = prompts.generate(fields).plus(MEDIA_TOKENS * len(media))
    sampling = fields.sampling_params or Sampling()
    choices = sampling if isinstance(sampling, list) else [sampling]
    limits = [
        whole(item.max_new_tokens, "sampling_params.max_new_tokens", 0, None) for item in choices
    ]
    limit = None if None in limits else max(known for known in limits if known is not None)
    variant = b"".join(canonical.digest(raw) for raw in media)
    call = _call(fields, prompt, limit, choices[0].n, variant, "sampling_params.n")
    return structs.replace(call, native="/generate", answer="generate")


def _call(
    fields: Common,
    prompt: Prompt,
    max_tokens: int | None,
    choices: Any,
    media: bytes = b"",
    field: str = "n",
    answer: Kind = "",
) -> Call:
    priority, n, streaming = fields.priority, prompt.count, fields.stream
    if priority is not None:
        priority = whole(priority, "priority", -LARGEST, None)
    if choices != 1:
        n = min(n * (whole(choices, field, 1, 1) or 1), LARGEST)
    if not isinstance(streaming, bool):
        streaming = flag(streaming, "stream")
    variant = media
    raws = (fields.lora_path, fields.cache_salt, fields.extra_key)
    if media or raws != _NO_RAWS:
        variant = _variant(media, raws)
    base = BLOCK_IDS * 4 if prompt.is_ids else BLOCK_BYTES
    model = fields.model or ""
    return Call(model, streaming, max_tokens, n, priority, prompt, variant, answer, base)


def _variant(media: bytes, raws: tuple[Raw, ...]) -> bytes:
    """Empty for nearly all requests; a batch's list of salts is taken whole."""
    if not media and not any(map(present, raws)):
        return b""
    return b"\xff".join((media, *map(canonical.compact, raws)))


PATHS: Mapping[str, Callable[[bytes], Call]] = MappingProxyType(
    {
        "/v1/chat/completions": _parse_chat,
        "/v1/completions": _parse_completion,
        "/v1/messages": _parse_messages,
        "/generate": _parse_generate,
    }
)
"""The routes whose requests are scheduled."""
RANKED = frozenset(PATHS) - {"/v1/messages"}
"""Those of them whose bodies may have a `priority`."""
