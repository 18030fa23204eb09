"""One generation as every route sees it: what was asked, the pieces that come, the answers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from zlib import crc32

from msgspec import Struct

from paceline.engines.emulator.text import TOKEN_CHARS, answer, tokenize
from paceline.engines.model.engine import Output, SequenceRequest


class Ask(Struct, frozen=True, kw_only=True):
    """What a client asked for, whatever the route."""

    id: str
    model: str
    prompts: list[Sequence[int]]
    """Token ids of each prompt."""
    max_tokens: int | None
    n: int = 1
    priority: int = 0
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with its usage."""
    salt: str = ""
    """Prompts with different salts share nothing in the cache."""


class Piece(Struct, frozen=True):
    """One more token of one answer."""

    index: int
    """Place of the answer: prompts in order, choices within."""
    text: str
    """What this token adds."""
    finish_reason: str | None


class Answer(Struct):
    """One answer, as far as it has come."""

    prompt_tokens: int
    text: str
    """The whole text, also of what has not come yet."""
    tokens: int = 0
    cached_tokens: int = 0

    @property
    def so_far(self) -> str:
        """The text that has come."""
        return self.text[: self.tokens * TOKEN_CHARS]


class Generation:
    """The requests that `ask` means to the engine, and its answers as they come."""

    def __init__(self, ask: Ask, engine_id: str, default_tokens: int) -> None:
        self.ask = ask
        self.finish_reason = "stop" if ask.max_tokens is None else "length"
        self.answers: list[Answer] = []
        self.requests: list[SequenceRequest] = []
        self._first: dict[str, int] = {}
        tokens = default_tokens if ask.max_tokens is None else ask.max_tokens
        for number, prompt in enumerate(ask.prompts):
            self._add(prompt, f"{engine_id}-{number}" if number else engine_id, tokens)
        self._open = len(self.answers)

    @property
    def done(self) -> bool:
        """Whether all answers are complete."""
        return not self._open

    def take(self, outputs: list[Output]) -> Iterator[Piece]:
        """Turn the engine's tokens into text."""
        for output in outputs:
            index = self._first[output.request_id] + output.index
            its = self.answers[index]
            its.tokens, its.cached_tokens = output.tokens, output.cached_tokens
            self._open -= output.finished
            end = output.tokens * TOKEN_CHARS
            reason = self.finish_reason if output.finished else None
            yield Piece(index, its.text[end - TOKEN_CHARS : end], reason)

    def usage(self) -> tuple[int, int, int]:
        """Prompt, output and cached tokens; a prompt counts once for all its choices."""
        firsts = self.answers[:: self.ask.n]
        return (
            sum(answer.prompt_tokens for answer in firsts),
            sum(answer.tokens for answer in self.answers),
            sum(answer.cached_tokens for answer in firsts),
        )

    def _add(self, prompt: Sequence[int], request_id: str, tokens: int) -> None:
        self._first[request_id] = len(self.answers)
        for choice in range(self.ask.n):
            self.answers.append(Answer(len(prompt), answer(prompt, choice, tokens)))
        request = SequenceRequest(
            id=request_id,
            prompt=_salted(prompt, self.ask.salt),
            output_tokens=tokens,
            max_tokens=self.ask.max_tokens,
            output=tokenize(self.answers[-self.ask.n].text),
            n=self.ask.n,
            priority=self.ask.priority,
        )
        self.requests.append(request)


def _salted(prompt: Sequence[int], salt: str) -> Sequence[int]:
    """Other ids for the same prompt, as another salt makes another key of it."""
    if not salt:
        return prompt
    mask = crc32(salt.encode())
    return array("I", [id ^ mask for id in prompt])
