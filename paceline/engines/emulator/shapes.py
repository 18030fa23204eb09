"""How an OpenAI reply looks: completions and chat, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from paceline.engines.emulator.generation import Generation, Piece

Json = dict[str, Any]


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Shape(Protocol):
    """One route's reply."""

    def whole(self, generation: Generation) -> object:
        """The body of a reply that is not streamed."""
        ...

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """What a stream says before the first token."""
        ...

    def piece(self, generation: Generation, piece: Piece) -> bytes:
        """What it says for one token."""
        ...

    def closing(self, generation: Generation) -> Iterator[bytes]:
        """What it says after the last one."""
        ...


class OpenAIShape:
    """What completions and chat share."""

    kind = ""
    """`object` of a whole reply."""
    chunk = ""
    """`object` of a streamed one."""

    def __init__(self, created: int, *, report_cached: bool) -> None:
        self._created = created
        self._report_cached = report_cached

    def whole(self, generation: Generation) -> object:
        """The body of a reply that is not streamed."""
        choices = [
            self._choice(i, answer.text, generation.finish_reason)
            for i, answer in enumerate(generation.answers)
        ]
        return self._head(generation, self.kind, choices) | {"usage": self.usage(generation)}

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """What a stream says before the first token."""
        yield from ()

    def piece(self, generation: Generation, piece: Piece) -> bytes:
        """What it says for one token."""
        choice = self._delta(piece.index, piece.text, piece.finish_reason)
        return sse(self._head(generation, self.chunk, [choice]))

    def closing(self, generation: Generation) -> Iterator[bytes]:
        """What it says after the last one."""
        if generation.ask.include_usage:
            head = self._head(generation, self.chunk, [])
            yield sse(head | {"usage": self.usage(generation)})
        yield DONE

    def usage(self, generation: Generation) -> Json:
        """OpenAI's `usage`."""
        prompt, output, cached = generation.usage()
        usage: Json = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + output,
            "completion_tokens": output,
        }
        if self._report_cached:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
        return usage

    def _head(self, generation: Generation, kind: str, choices: list[Json]) -> Json:
        ask = generation.ask
        return {
            "id": ask.id,
            "object": kind,
            "created": self._created,
            "model": ask.model,
            "choices": choices,
        }

    def _choice(self, index: int, text: str, reason: str | None) -> Json:
        return {
            "index": index,
            "text": text,
            "logprobs": None,
            "finish_reason": reason,
            "stop_reason": None,
        }

    def _delta(self, index: int, text: str, reason: str | None) -> Json:
        return self._choice(index, text, reason)


class CompletionShape(OpenAIShape):
    """/v1/completions."""

    kind = chunk = "text_completion"


class ChatShape(OpenAIShape):
    """/v1/chat/completions."""

    kind = "chat.completion"
    chunk = "chat.completion.chunk"

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """The role of every choice, as both engines send it together with the first token."""
        for index in range(len(generation.answers)):
            delta = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            yield sse(self._head(generation, self.chunk, [choice]))

    def _choice(self, index: int, text: str, reason: str | None) -> Json:
        message = {"role": "assistant", "content": text, "tool_calls": []}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}

    def _delta(self, index: int, text: str, reason: str | None) -> Json:
        delta = {"content": text}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
