"""Makes one of a stream's chunks that differ in their text alone, as nearly all of them do.

To decode a chunk takes 0.4 us, nearly all of them for what every other chunk has, too.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct

_CHOICES = b'"choices":'
_TEXT = re.compile(rb'"(?:content|text)":"([^"\\]*+(?:\\.[^"\\]*+)*+)"')


class _Delta(Struct):
    content: Literal[""] | None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: None = None
    text: Literal[""] = ""


class _Silent(Struct):
    """A chunk of either OpenAI API that says nothing."""

    choices: list[_Choice]


_silent = msgspec.json.Decoder(_Silent)
_string = msgspec.json.Decoder(str)


def merged(chunks: list[bytes]) -> list[bytes]:
    """The same answer in fewer chunks, or the same chunks where they are not alike.

    What stands before the choices may change, as SGLang's time does, but not its length.
    """
    sample = chunks[len(chunks) // 2]  # streams begin and end with others
    begin = sample.find(_CHOICES)
    found = _TEXT.search(sample, begin) if begin >= 0 else None
    if found is None:
        return chunks
    start, end = found.span(1)
    head, tail = sample[begin:start], sample[end:]
    first, last = 0, len(chunks)
    while not (chunks[first].startswith(head, begin) and chunks[first].endswith(tail)):
        first += 1
    while not (chunks[last - 1].startswith(head, begin) and chunks[last - 1].endswith(tail)):
        last -= 1
    run, behind, inside = chunks[first:last], slice(begin, None), slice(start, -len(tail))
    texts = [chunk[inside] for chunk in run]
    alike = head + (tail + b"\n" + head).join(texts) + tail
    before, text = sample[:start], b"".join(texts)
    if alike != b"\n".join([chunk[behind] for chunk in run]) or not _is_all(text, before + tail):
        return chunks
    return [*chunks[:first], before + text + tail, *chunks[last:]]


def _is_all(text: bytes, rest: bytes) -> bool:
    """Whether chunks say no more than `text`, the inside of a string, if without it they are
    `rest`."""
    try:
        _string.decode(b'"%b"' % text)
        _silent.decode(rest)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
