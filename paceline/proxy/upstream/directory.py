"""The backends that the proxy knows: where they are, what they serve, whether they are up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from paceline.engines.base import OWNERS, Kind
from paceline.proxy.config import BackendConfig
from paceline.proxy.upstream.address import Address, reach
from paceline.proxy.upstream.standing import Standing


class Entry(Struct):
    """One backend, as far as it is known."""

    address: Address
    config: BackendConfig
    kind: Kind | None = None
    models: tuple[str, ...] = ()
    up: bool = False
    """Whether it is sent requests."""
    standing: Standing = field(default_factory=Standing)
    draining: bool = False
    """It finishes what it has and gets nothing new."""

    @property
    def id(self) -> str:
        """The scheduler's name for it."""
        return self.address.id

    def serves(self, model: str) -> bool:
        """Whether a request for `model` (empty for any) can be sent here now."""
        return self.up and not self.draining and (not model or model in self.models)


class Directory:
    """The entries by id, in the order of the configuration; the health checks keep them true."""

    def __init__(self, backends: Sequence[BackendConfig]) -> None:
        """Reads all URLs; raises BadAddress."""
        self._entries: dict[str, Entry] = {}
        self.entry = self._entries.get
        """The backend with this name; None if there is none."""
        self._turn = 0
        for config in backends:
            self.add(config)

    def __getitem__(self, id: str) -> Entry:
        return self._entries[id]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: str) -> bool:
        return id in self._entries

    def add(self, config: BackendConfig) -> Entry:
        """One more, not yet up; raises BadAddress."""
        entry = Entry(reach(config), config)
        self._entries[entry.id] = entry
        return entry

    def remove(self, id: str) -> None:
        """It is gone for good."""
        del self._entries[id]

    def get(self, id: str) -> Address | None:
        """The address of the backend with this name, whether up or not."""
        entry = self._entries.get(id)
        return None if entry is None else entry.address

    def alone(self, entry: Entry) -> bool:
        """Whether no other backend that is up serves any of its models."""
        others = (other for other in self if other is not entry and other.up)
        return not any(other.serves(model) for other in others for model in entry.models)

    def up(self) -> list[Address]:
        """The backends that may be sent requests now."""
        return [entry.address for entry in self if entry.serves("")]

    def pick(self, model: str = "", avoid: str = "", path: str = "") -> Address | None:
        """The one whose turn it is to serve `model`; `avoid` only if there is no other.

        `path`: what is asked; of different engines, one is picked that has it.
        """
        able = [entry for entry in self if entry.serves(model)]
        if path in OWNERS:
            able = [entry for entry in able if entry.kind == OWNERS[path]] or able
        if not able:
            return None
        others = [entry.address for entry in able if entry.id != avoid]
        others = others or [entry.address for entry in able]
        self._turn += 1
        return others[self._turn % len(others)]

    def models(self) -> tuple[str, ...]:
        """The models that can be had now, each once."""
        return tuple(dict.fromkeys(name for entry in self if entry.up for name in entry.models))
