"""Gathers an answer of Anthropic's Messages from its blocks, whole or as they are streamed."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from paceline.engines import anthropic, canonical


class _Delta(Struct, frozen=True):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _Event(Struct):
    """One event, or the whole message."""

    type: str = ""
    index: int = 0
    content: list[Raw] = []
    content_block: Raw = Raw(b"{}")
    delta: _Delta = _Delta()


class _Block(Struct, omit_defaults=True):
    """A content block as it comes."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


_events = msgspec.json.Decoder(list[_Event])
_block = msgspec.json.Decoder(_Block)


class Blocks:
    """The blocks of one answer."""

    def __init__(self) -> None:
        self.size = 0
        self._whole: list[Raw] | None = None
        self._begun: dict[int, _Block] = {}
        self._deltas: dict[int, list[_Delta]] = {}

    def take(self, chunks: list[bytes]) -> None:
        """Some events, or the message, each JSON."""
        data = b"[%b]" % b",".join(chunks)
        self.size += len(data) >> 4  # an event has some fifteen times the bytes of its text
        for event in _events.decode(data):
            if event.type == "content_block_delta":
                self._deltas.setdefault(event.index, []).append(event.delta)
            elif event.type == "content_block_start":
                self._begun[event.index] = _block.decode(event.content_block)
            elif event.type == "message":
                self._whole = event.content

    def text(self) -> bytes | None:
        """What the next prompt has in its place; None where no block came."""
        blocks = self._whole
        if blocks is None:
            blocks = [self._built(index) for index in sorted(self._begun)]
        return canonical.answer(anthropic.answer(blocks)) if blocks else None

    def _built(self, index: int) -> Raw:
        block, deltas = self._begun[index], self._deltas.get(index, ())
        block.text += "".join(delta.text for delta in deltas)
        block.thinking += "".join(delta.thinking for delta in deltas)
        arguments = "".join(delta.partial_json for delta in deltas)
        if arguments:
            block.input = Raw(arguments.encode())
        return Raw(msgspec.json.encode(block))
