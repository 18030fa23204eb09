"""A stream's chunks that differ in their text alone become one, and no others do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paceline.engines.runs import merged

Json = dict[str, Any]
TEXTS = ["a", 'say "b"', "\n", "\\", "é", '"}', "choices", 'a","reasoning":"b', ""]


def chunk(delta: Json, created: int = 1, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return packed({"id": "c", "created": created, "choices": [choice]})


def packed(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def said(chunks: list[bytes]) -> list[Json]:
    return [json.loads(one)["choices"][0]["delta"] for one in chunks]


@pytest.mark.parametrize("turn", range(len(TEXTS)))
def test_the_run_between_others_becomes_one(turn: int) -> None:
    """Whatever the texts hold, the time that SGLang writes, and the text that is looked at."""
    texts = TEXTS[turn:] + TEXTS[:turn]
    first, last = chunk({"role": "assistant"}), chunk({"content": "end"}, finish="stop")
    run = [chunk({"content": text}, created) for created, text in enumerate(texts)]
    whole = {"content": "".join(texts)}
    assert said(merged([first, *run, last])) == [{"role": "assistant"}, whole, {"content": "end"}]


def test_completions_are_texts_too() -> None:
    """Their text stands in the choice itself."""
    run = [packed({"id": "c", "choices": [{"index": 0, "text": text}]}) for text in TEXTS]
    (one,) = merged(run)
    assert json.loads(one)["choices"] == [{"index": 0, "text": "".join(TEXTS)}]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "a", "reasoning": "b"})] * 3,
        [chunk({"content": "a", "tool_calls": [{"index": 0}]})] * 3,
        [chunk({"content": "a"}), chunk({"reasoning": "b"})] * 3,
        [chunk({"content": "a"}).replace(b'"a"', b'"a","reasoning":"b","c":"d"')]
        + [chunk({"content": "a"})] * 2,
        [chunk({"role": "assistant"})] * 3,
        [b'{"text":"a"}'] * 3,
        [b'{"choices":[{"text":"a"'] * 3,
        [b""],
    ],
)
def test_what_says_more_than_its_text_stays(chunks: list[bytes]) -> None:
    """Its chunks are read one by one."""
    assert merged(chunks) == chunks
