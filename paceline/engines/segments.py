"""Remembers the token ids of what stands between special tokens: a chat's earlier messages.

Tokenizers cut a text at special tokens first and look at each piece by itself, so that the ids of
a rendered chat are those of its messages in a row. Each turn repeats the turns before it; only what
is new has to be tokenized.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHARACTERS = 16_000_000
"""Of text that is remembered, in all: 30 to 80 MB with its ids."""
PROBE = "Hi there.\n\n  A b"


class Segments:
    """Encodes texts of one tokenizer. Safe to use from any thread."""

    def __init__(self, tokenizer: Tokenizer, characters: int = CHARACTERS) -> None:
        self._tokenizer = tokenizer
        self._room = characters
        self._known: OrderedDict[str, bytes] = OrderedDict()
        """The one used last at the end."""
        self._lock = Lock()
        self._specials = {
            token.content: _packed([id])
            for id, token in tokenizer.get_added_tokens_decoder().items()
            if token.special and not (token.lstrip or token.rstrip or token.single_word)
        }
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        if not self._holds():
            self._specials = {}

    def encode(self, text: str) -> bytes:
        """The ids of `text` without what a tokenizer puts around it, four bytes each."""
        if not self._specials:
            return self.whole(text, special=False)
        return b"".join(map(self._piece, self._cut.split(text)))

    def whole(self, text: str, *, special: bool) -> bytes:
        """The ids of a text that is not remembered; `special`: with what is put around it.

        Leaves the interpreter to other threads meanwhile, which `Tokenizer.encode` does not.
        """
        (found,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=special)
        return _packed(found.ids)

    def _piece(self, text: str) -> bytes:
        ids = self._specials.get(text)
        if ids is not None or not text:
            return ids or b""
        with self._lock:
            ids = self._known.get(text)
            if ids is not None:
                self._known.move_to_end(text)
                return ids
        ids = self.whole(text, special=False)
        with self._lock:
            if text not in self._known:
                self._room -= len(text)
            self._known[text] = ids
            while self._room < 0:
                forgotten, _ = self._known.popitem(last=False)
                self._room += len(forgotten)
        return ids

    def _holds(self) -> bool:
        """Whether this tokenizer looks at each piece by itself: some put a space before the first
        only."""
        if not self._specials:
            return False
        special, ids = next(iter(self._specials.items()))
        text = 2 * f"{special}{PROBE}"
        return 2 * (ids + self.whole(PROBE, special=False)) == self.whole(text, special=False)


def _packed(ids: list[int]) -> bytes:
    packed = array("I", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
