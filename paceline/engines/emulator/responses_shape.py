"""How a reply of OpenAI's Responses looks, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paceline.engines.emulator.generation import Generation, Piece
from paceline.engines.emulator.shapes import Json, sse


class ResponsesShape:
    """/v1/responses."""

    def __init__(self, created: int, keep: Callable[[Json], None] | None = None) -> None:
        """`keep` is given the response when it is complete."""
        self._created = created
        self._keep = keep

    def whole(self, generation: Generation) -> object:
        """The body of a reply that is not streamed."""
        prompt, output, cached = generation.usage()
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + output,
        }
        head = self._head(generation, "completed", [self._message(generation)])
        reply = head | {"usage": usage}
        if self._keep is not None:
            self._keep(reply)
        return reply

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """The response, still empty."""
        head = self._head(generation, "in_progress", [])
        yield sse({"type": "response.created", "response": head}, "response.created")

    def piece(self, generation: Generation, piece: Piece) -> bytes:
        """One token."""
        kind = "response.output_text.delta"
        event = {
            "type": kind,
            "item_id": f"msg_{generation.ask.id}",
            "output_index": 0,
            "content_index": 0,
            "delta": piece.text,
        }
        return sse(event, kind)

    def closing(self, generation: Generation) -> Iterator[bytes]:
        """The response, complete."""
        event = {"type": "response.completed", "response": self.whole(generation)}
        yield sse(event, "response.completed")

    def _head(self, generation: Generation, status: str, output: list[Json]) -> Json:
        return {
            "id": generation.ask.id,
            "object": "response",
            "created_at": self._created,
            "model": generation.ask.model,
            "status": status,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }

    def _message(self, generation: Generation) -> Json:
        text = generation.answers[0].so_far
        return {
            "id": f"msg_{generation.ask.id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
