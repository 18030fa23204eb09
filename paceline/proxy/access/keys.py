"""API keys: kept as hashes, looked up by hash, each naming whose it is."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

PREFIX = "pl-"
"""Of the keys made here, so that people and secret scanners recognise them."""
BYTES = 32
"""Of randomness in a key: with so many, a fast hash is as good as a slow one, since guessing is out
of the question."""
_LINE = re.compile(r"(?P<holder>[A-Za-z0-9._@:-]{1,64})\s+sha256:(?P<hash>[0-9a-fA-F]{64})")


class BadKeys(ValueError):
    """Not a list of keys; the message names the line and never shows a key."""


class Keys:
    """Who holds which key.

    A key is looked up by its SHA-256 in a dict. What that comparison takes depends on the hash
    alone, and nobody can steer a key's hash towards another one: timing tells nothing of the keys.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """Reads lines `HOLDER sha256:HEX`, blank ones and those with a `#`; raises BadKeys."""
        self._holders: dict[bytes, str] = {}
        self.read(lines)

    def read(self, lines: Iterable[str], source: str = "") -> None:
        """More of them; `source`, a file or a variable, is named in errors."""
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text:
                self._add(text, f"{source}: line {number}" if source else f"line {number}")

    def __bool__(self) -> bool:
        return bool(self._holders)

    def holder(self, key: bytes) -> str | None:
        """Whose key it is; None for nobody's."""
        return self._holders.get(hashlib.sha256(key).digest())

    def _add(self, text: str, where: str) -> None:
        match = _LINE.fullmatch(text)
        if match is None:
            raise BadKeys(f"{where}: expected `NAME sha256:` and 64 hexadecimal digits")
        digest = bytes.fromhex(match["hash"])
        if self._holders.setdefault(digest, match["holder"]) != match["holder"]:
            raise BadKeys(f"{where}: the same key as of `{self._holders[digest]}`")


def read_keys(file: str, variable: str) -> Keys:
    """The keys in a file and in an environment variable; either name may be empty.

    Raises BadKeys.
    """
    found = Keys()
    if file:
        try:
            lines = Path(file).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeys(f"{file}: {getattr(error, 'strerror', None) or error}") from None
        found.read(lines, file)
    if variable:
        found.read(secret(variable).replace(",", "\n").splitlines(), variable)
    if (file or variable) and not found:
        raise BadKeys("there is no key; nobody could ask anything")
    return found


def secret(variable: str) -> str:
    """What an environment variable holds; raises BadKeys if that is nothing."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise BadKeys(f"the environment has no {variable}")
    return value


def make(holder: str) -> tuple[str, str]:
    """A new key, and the line for it; raises BadKeys about the holder's name."""
    key = PREFIX + secrets.token_urlsafe(BYTES)
    line = f"{holder} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    Keys([line])
    return key, line
