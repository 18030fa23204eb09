"""Gathers an answer as it is relayed, and makes of it and its prompt what the next turn will quote.

A chat's next turn holds the prompt and the answer of this one, so its block keys begin with those
of both: whoever knows them knows where the next turn's KV is. Events are read in batches, most of
them as one: 0.3 us each, next to the 20 us that relaying one takes.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from paceline.engines import canonical
from paceline.engines.anthropic_answers import Blocks
from paceline.engines.bodies import ABSENT, Message
from paceline.engines.runs import merged
from paceline.scheduler.blocks import BOUNDS, chain_on

Kind = Literal["chat", "completion", "generate", "messages", ""]
"""The shape of an answer; empty where nothing will quote it, or nobody can tell what would."""
Encode = Callable[[str], bytes]
"""Makes token ids of a text, four bytes each."""
BATCH = 64 * 1024
"""Bytes of a stream that are kept before they are read: some 250 events, 0.1 ms at once."""
MOST = 1024 * 1024
"""Bytes of one answer's text, or of a reply in one piece; a longer one is forgotten."""
FEW = 12
"""Chunks that are decoded in the time that it takes to look at how they differ."""
_DONE = b"data: [DONE]\n\n"


class Opening(Struct, frozen=True):
    """A prompt's block keys, and what it takes to go on with them."""

    keys: tuple[int, ...]
    key: int
    """Of the last full block; of the root where there is none."""
    rest: bytes
    """What follows that block."""
    base: int
    """Bytes in a base block."""

    def extended(self, text: bytes) -> tuple[int, ...]:
        """The keys of the prompt with `text` behind it."""
        return self.keys + chain_on(self.key, self.rest + text, self.base, len(self.keys))


def opening(root: int, keys: tuple[int, ...], data: bytes, base: int) -> Opening:
    """Of the prompt `data`, whose `keys` are; `root` is the key before the first."""
    end = BOUNDS[len(keys) - 1] * base if keys else 0
    return Opening(keys, keys[-1] if keys else root, data[end:], base)


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: Message | None = None
    text: str = ""


class _Reply(Struct):
    """A chunk or a whole reply of either OpenAI API."""

    choices: list[_Choice] = []


class _Meta(Struct, frozen=True):
    completion_tokens: int | None = None


class _Generated(Struct):
    text: str | None = None
    output_ids: list[int] | None = None
    meta_info: _Meta = _Meta()


_reply = msgspec.json.Decoder(_Reply)
_replies = msgspec.json.Decoder(list[_Reply])
_generated = msgspec.json.Decoder(_Generated)


class Transcript(Struct):
    """One answer on its way: `add` what comes, then ask for the `keys`."""

    opening: Opening
    kind: Kind
    """Empty once there is no telling any more."""
    streaming: bool
    ids: bool = False
    """The prompt is token ids, and so is what an answer adds to it."""
    encode: Encode | None = None
    """Makes them of its text."""
    rest: bytes = b""
    """What was not read yet."""
    reader: _OpenAI | _Generate | Blocks | None = None
    """Has what was read."""

    def add(self, data: bytes) -> None:
        """More of the reply's payload: best much at once, or all."""
        if not self.kind:
            return
        self.rest = self.rest + data if self.rest else data
        if len(self.rest) > BATCH:
            self._spill()

    def keys(self) -> tuple[int, ...]:
        """Of prompt and answer together; empty where they cannot be told."""
        try:
            text = self._text()
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
            return ()
        return () if text is None else self.opening.extended(text)

    def _text(self) -> bytes | None:
        """What the next prompt has in the answer's place."""
        if self.kind == "chat" and not self.streaming and self.encode is None:
            choices = _reply.decode(self.rest).choices
            if len(choices) == 1 and choices[0].message is not None:
                return canonical.answer(choices[0].message)
        return self._read(self.rest).text() if self.kind else None

    def _spill(self) -> None:
        """Read the events that are whole; give up on what is too long to keep."""
        if not self.streaming:
            if len(self.rest) > MOST:
                self._give_up()
            return
        end = self.rest.rfind(b"\n\n") + 2
        try:
            reader = self._read(self.rest[:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._give_up()
            return
        self.rest = self.rest[end:]
        if reader.size + len(self.rest) > MOST:
            self._give_up()

    def _read(self, data: bytes) -> _Reader:
        reader = self.reader
        if reader is None:
            reader = self.reader = _reader(self.kind, self.ids, self.encode)
        if not self.streaming:
            reader.take([data])
        elif data.startswith(b"data: "):
            try:
                reader.take(_chunks(data))
            except msgspec.DecodeError:
                reader.take(_picked(data))
        elif data:
            reader.take(_picked(data))
        return reader

    def _give_up(self) -> None:
        self.kind, self.rest, self.reader = "", b"", None


def _chunks(data: bytes) -> list[bytes]:
    """The chunks, each JSON, where there is nothing but events of one line: no JSON has a line feed
    in a string, so that nothing else becomes one."""
    events = data.removesuffix(_DONE).removesuffix(b"\n\n").removeprefix(b"data: ")
    return events.split(b"\n\ndata: ")


def _picked(data: bytes) -> list[bytes]:
    """The same, picked out from among comments, other fields and other line ends."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    return [one[6:] for one in lines if one.startswith(b"data: ") and one != b"data: [DONE]"]


class _OpenAI:
    """Chat and completions: deltas add up; a whole reply has everything in its one message."""

    def __init__(self, encode: Encode | None) -> None:
        self.size = 0
        self._encode = encode
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._seen = False
        self._is_chat = False
        self._whole: Message | None = None

    def take(self, chunks: list[bytes]) -> None:
        """Some chunks, or the reply, each JSON."""
        alone = merged(chunks) if len(chunks) > FEW else chunks
        replies = _replies.decode(b"[%b]" % b",".join(alone))
        self._seen = self._seen or bool(replies)
        self.size += sum(map(len, chunks)) >> 4  # a chunk has some fifteen times its text's bytes
        texts = self._texts
        for reply in replies:
            for choice in reply.choices:
                delta = choice.delta
                if delta is None:
                    self._add_whole(choice)
                    continue
                self._is_chat = True
                if delta.content:
                    texts.append(delta.content)
                if delta.reasoning or delta.reasoning_content or delta.tool_calls:
                    self._add_unsaid(delta)

    def text(self) -> bytes | None:
        """What the next prompt has in its place: canonical text, or token ids."""
        if self._encode is not None:
            said = self._said()
            return None if said is None else self._encode(said)
        if self._whole is not None:
            return canonical.answer(self._whole)
        if not self._seen:
            return None
        content = "".join(self._texts)
        if not self._is_chat:
            return content.encode()
        thoughts = "".join(self._thoughts)
        reasoning = Raw(msgspec.json.encode(thoughts)) if thoughts else ABSENT
        calls = Raw(msgspec.json.encode(list(self._calls.values()))) if self._calls else ABSENT
        message = Message("assistant", content, reasoning=reasoning, tool_calls=calls)
        return canonical.answer(message)

    def _said(self) -> str | None:
        """The bare text, as the engine generated it; None where a parser took something out."""
        if self._whole is not None:
            content = self._whole.content
            bare = canonical.answer(Message("assistant", content))
            alone = isinstance(content, str) and canonical.answer(self._whole) == bare
            return str(content) if alone else None
        if not self._seen or self._thoughts or self._calls:
            return None
        return "".join(self._texts)

    def _add_whole(self, choice: _Choice) -> None:
        if choice.message is not None:
            self._whole = choice.message
        else:
            self._texts.append(choice.text)

    def _add_unsaid(self, delta: _Delta) -> None:
        if thought := delta.reasoning or delta.reasoning_content:
            self._thoughts.append(thought)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._add_call(call)

    def _add_call(self, piece: _Call) -> None:
        """Its id and name come first, its arguments in pieces."""
        call = self._calls.setdefault(piece.index, _Call(id="", function=_Function("", "")))
        assert call.function is not None
        call.id = call.id or piece.id
        if piece.function is not None:
            call.function.name = call.function.name or piece.function.name
            call.function.arguments = (call.function.arguments or "") + (
                piece.function.arguments or ""
            )


class _Generate:
    """SGLang's own route: each event repeats the answer so far, so that the last one counts."""

    def __init__(self, ids: bool) -> None:
        self.size = 0
        self._ids = ids
        self._last: _Generated | None = None

    def take(self, chunks: list[bytes]) -> None:
        """The answer so far, the latest last, each JSON."""
        if chunks and (last := chunks[-1]):
            self._last = _generated.decode(last)
            self.size = len(last)

    def text(self) -> bytes | None:
        """None where events were not cumulative (`--incremental-streaming-output`)."""
        reply = self._last
        ids = reply.output_ids if reply is not None else None
        if reply is None or ids is None or len(ids) != reply.meta_info.completion_tokens:
            return None
        if self._ids:
            packed = array("I", ids)
            if sys.byteorder == "big":
                packed.byteswap()
            return packed.tobytes()
        return None if reply.text is None else reply.text.encode()


_Reader = _OpenAI | _Generate | Blocks


def _reader(kind: Kind, ids: bool, encode: Encode | None) -> _Reader:
    if kind == "messages":
        return Blocks()
    return _Generate(ids) if kind == "generate" else _OpenAI(encode)
