"""How a reply of SGLang's /generate looks: cumulative text, `meta_info`, an index where many."""

from __future__ import annotations

from collections.abc import Iterator

from paceline.engines.emulator.generation import Generation, Piece
from paceline.engines.emulator.shapes import DONE, Json, sse
from paceline.engines.emulator.text import tokenize


class GenerateShape:
    """/generate."""

    def __init__(self, *, many: bool) -> None:
        self._many = many
        """A batch or several choices: a list, or chunks with an index."""

    def whole(self, generation: Generation) -> object:
        """The body of a reply that is not streamed."""
        reason = generation.finish_reason
        answers = [self._answer(generation, i, reason) for i in range(len(generation.answers))]
        return answers if self._many else answers[0]

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """Nothing."""
        yield from ()

    def piece(self, generation: Generation, piece: Piece) -> bytes:
        """All of the answer up to this token."""
        answer = self._answer(generation, piece.index, piece.finish_reason)
        return sse(answer | {"index": piece.index} if self._many else answer)

    def closing(self, generation: Generation) -> Iterator[bytes]:
        """The end mark."""
        yield DONE

    def aborted(self, generation: Generation) -> bytes:
        """The last chunk of a stream that /abort_request ended."""
        answer = self._answer(generation, 0, None)
        reason = {"type": "abort", "message": "Abort in waiting queue", "status_code": 503}
        answer["meta_info"]["finish_reason"] = reason
        return sse(answer)

    def _answer(self, generation: Generation, index: int, reason: str | None) -> Json:
        answer = generation.answers[index]
        text = answer.so_far
        meta = {
            "id": generation.ask.id,
            "finish_reason": self._reason(reason, answer.tokens),
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.tokens,
            "cached_tokens": answer.cached_tokens,
        }
        return {"text": text, "output_ids": tokenize(text).tolist(), "meta_info": meta}

    def _reason(self, reason: str | None, tokens: int) -> Json | None:
        if reason is None:
            return None
        return {"type": "length", "length": tokens} if reason == "length" else {"type": "stop"}
