"""How a reply of Anthropic's Messages looks, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from paceline.engines.emulator.bodies import Tool
from paceline.engines.emulator.generation import Generation, Piece
from paceline.engines.emulator.shapes import Json, sse


class MessagesShape:
    """/v1/messages."""

    def __init__(self, tool: Tool | None = None) -> None:
        """With a `tool` the answer is a call of it: its words are the first argument."""
        self._tool = tool
        self._argument = next(iter(tool.input_schema.get("properties", {})), "") if tool else ""

    def whole(self, generation: Generation) -> object:
        """The body of a reply that is not streamed."""
        block = self._block(generation)
        text = generation.answers[0].so_far
        if self._tool is None:
            block["text"] = text
        elif self._argument:
            block["input"] = {self._argument: text}
        stop = {"stop_reason": self._stop, "usage": self._usage(generation)}
        return self._head(generation) | {"content": [block]} | stop

    def opening(self, generation: Generation) -> Iterator[bytes]:
        """The message and its block, still empty."""
        yield sse(
            {"type": "message_start", "message": self._head(generation)}, event="message_start"
        )
        block = self._block(generation)
        start = {"type": "content_block_start", "index": 0, "content_block": block}
        yield sse(start, "content_block_start")
        if self._argument:
            name = msgspec.json.encode(self._argument).decode()
            yield self._delta(f'{{{name}:"')

    def piece(self, generation: Generation, piece: Piece) -> bytes:
        """One token: letters and blanks, which JSON leaves as they are."""
        return self._delta(piece.text) if self._argument or self._tool is None else b""

    def closing(self, generation: Generation) -> Iterator[bytes]:
        """The reason why it stops, and the usage."""
        if self._argument:
            yield self._delta('"}')
        yield sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
        delta = {"stop_reason": self._stop, "stop_sequence": None}
        event = {"type": "message_delta", "delta": delta, "usage": self._usage(generation)}
        yield sse(event, "message_delta")
        yield sse({"type": "message_stop"}, "message_stop")

    @property
    def _stop(self) -> str:
        return "max_tokens" if self._tool is None else "tool_use"

    def _block(self, generation: Generation) -> Json:
        if self._tool is None:
            return {"type": "text", "text": ""}
        id = f"toolu_{generation.ask.id}"
        return {"type": "tool_use", "id": id, "name": self._tool.name, "input": {}}

    def _delta(self, text: str) -> bytes:
        if self._tool is None:
            delta = {"type": "text_delta", "text": text}
        else:
            delta = {"type": "input_json_delta", "partial_json": text}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        return sse(event, "content_block_delta")

    def _head(self, generation: Generation) -> Json:
        return {
            "id": generation.ask.id,
            "type": "message",
            "role": "assistant",
            "model": generation.ask.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(generation),
        }

    def _usage(self, generation: Generation) -> Json:
        prompt, output, cached = generation.usage()
        return {
            "input_tokens": prompt - cached,
            "cache_read_input_tokens": cached,
            "output_tokens": output,
        }
