"""A chat's messages are tokenized once, and give the ids that the whole chat has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from paceline.engines.segments import Segments
from tests.real.tiny_llama import words, write_tokenizer

TURN = "<|im_start|>user\n{}<|im_end|>\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Counting(Segments):
    """Counts the characters that the tokenizer sees."""

    seen = 0

    def whole(self, text: str, *, special: bool) -> bytes:
        self.seen += len(text)
        return super().whole(text, special=special)


def test_a_turn_costs_what_is_new_in_it(tokenizer: Tokenizer) -> None:
    """The turns before it are remembered."""
    segments = Counting(tokenizer)
    first, second = (TURN.format(words(seed, 200)) for seed in "ab")
    segments.encode(first)
    segments.seen = 0
    assert segments.encode(first + second) == Segments(tokenizer).whole(
        first + second, special=False
    )
    assert segments.seen == len(second) - len("<|im_start|><|im_end|>\n")


def test_what_was_not_used_for_long_is_forgotten(tokenizer: Tokenizer) -> None:
    """So that memory is bounded."""
    segments = Counting(tokenizer, characters=2500)
    a, b, c = (words(seed, 200) for seed in "abc")
    for text in (a, b, a, c):
        segments.encode(text)
    segments.seen = 0
    segments.encode(a)
    assert segments.seen == 0
    segments.encode(b)
    assert segments.seen == len(b)


def test_tokenizers_that_look_beyond_a_piece_get_it_whole() -> None:
    """Such as those that put a space before the first piece alone."""
    vocabulary = {"<s>": 0, "\u2581Hi": 1, "Hi": 2, "?": 3}
    first = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    first.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    first.add_special_tokens(["<s>"])
    segments = Counting(first)
    segments.seen = 0
    assert segments.encode("<s>Hi<s>Hi") == bytes([0, 0, 0, 0, 2, 0, 0, 0] * 2)
    assert segments.seen == len("<s>Hi<s>Hi")


def test_without_special_tokens_there_is_nothing_to_cut_at(tokenizer: Tokenizer) -> None:
    """The text is one piece, and tokenized each time."""
    bare = Tokenizer.from_str(tokenizer.to_str().replace('"special":true', '"special":false'))
    segments = Counting(bare)
    for _ in range(2):
        segments.encode("bada")
    assert segments.seen == 8


PIECES = ["<|im_start|>", "<|im_end|>", "<s>", "<|im", "bada", " bada", "\n", "  ", "é", "x<", ">"]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_has_the_tokenizers_ids(tokenizer: Tokenizer, text: str) -> None:
    """Whatever stands beside a special token, or looks like one."""
    segments = Segments(tokenizer)
    for _ in range(2):
        assert segments.encode(text) == segments.whole(text, special=False)
