"""Prompts given as text or token ids, alone or in a batch, made into one canonical prompt."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from paceline.engines.bodies import BadRequest, Generate, Number, present

_rows = msgspec.json.Decoder(list[Raw])


class Prompt(Struct, frozen=True):
    """The canonical prompt: text in UTF-8, or token ids of four bytes each."""

    data: bytes
    """Of the first prompt of a batch: the others follow it in the engine by themselves."""
    is_ids: bool = False
    size: int = 0
    """Bytes of text in all prompts of the batch, from which tokens are estimated."""
    tokens: int = 0
    """Tokens known or guessed beside the text: ids, media."""
    count: int = 1
    """Prompts in the batch."""

    def plus(self, tokens: int) -> Prompt:
        """The same prompt with more tokens beside its text."""
        if not tokens:
            return self
        return Prompt(self.data, self.is_ids, self.size, self.tokens + tokens, self.count)


Item = Number | str | Sequence[Number]


def read(prompt: str | Sequence[Item], field: str) -> Prompt:
    """A text, a list of texts, a list of token ids, or a list of such lists.

    Raises:
        BadRequest: an empty or mixed list, or an id that no vocabulary has.
    """
    if isinstance(prompt, str):
        data = prompt.encode()
        return Prompt(data, size=len(data))
    if not prompt:
        raise BadRequest(f"{field}: must not be an empty list", field)
    first = prompt[0]
    if isinstance(first, str) and all(isinstance(item, str) for item in prompt):
        return _batch([str(item).encode() for item in prompt], field, is_ids=False)
    if isinstance(first, list):
        return _batch([_pack(item, field) for item in prompt], field, is_ids=True)
    return _batch([_pack(prompt, field)], field, is_ids=True)


def _batch(prompts: list[bytes], field: str, *, is_ids: bool) -> Prompt:
    """One prompt for many. Some may be empty for SGLang, none for vLLM, all for neither."""
    if not any(prompts):
        raise BadRequest(f"{field}: must not be empty prompts only", field)
    total = sum(map(len, prompts))
    size, tokens = (0, total // 4) if is_ids else (total, 0)
    return Prompt(prompts[0], is_ids, size, tokens, len(prompts))


def _pack(ids: object, field: str) -> bytes:
    """Four bytes an id, the least significant first.

    A negative id is not passed on: SGLang 0.5.23 (on CPU) looks it up unchecked and ends.
    """
    if not isinstance(ids, list):
        raise BadRequest(f"{field}: must not mix token ids with anything else", field)
    try:
        packed = _array(ids)
    except OverflowError:
        raise BadRequest(f"{field}: a token id is out of range", field) from None
    except (TypeError, ValueError):
        raise BadRequest(f"{field}: must not mix token ids with anything else", field) from None
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _array(ids: list[Any]) -> array[int]:
    """The ids; some may have come as text, which engines read as numbers."""
    try:
        return array("I", ids)
    except TypeError:
        return array("I", [int(item) for item in ids])


def generate(body: Generate) -> Prompt:
    """The prompt of SGLang's `/generate`: text goes before ids, ids before embeddings.

    Raises:
        BadRequest: none of them, or an empty list where no session supplies the prompt.
    """
    if body.text is not None:
        return read(body.text, "text")
    if body.input_ids is not None:
        if not body.input_ids and present(body.session_params):
            return Prompt(b"", is_ids=True)
        return read(body.input_ids, "input_ids")
    if body.input_embeds is not None:
        return _embeds(body.input_embeds)
    raise BadRequest("text: one of text, input_ids and input_embeds is required", "text")


def _embeds(rows: list[Raw]) -> Prompt:
    """Embeddings share no prefix; a row is a token, a list of lists of rows is a batch."""
    if not rows:
        raise BadRequest("input_embeds: must not be an empty list", "input_embeds")
    if not bytes(memoryview(rows[0])[1:16]).lstrip().startswith(b"["):
        return Prompt(b"", tokens=len(rows))
    return Prompt(b"", tokens=sum(len(_rows.decode(row)) for row in rows), count=len(rows))
