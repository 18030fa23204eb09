"""Shows the directory of backends to the HTTP half, as addresses to connect to."""

from __future__ import annotations

from collections.abc import Sequence

from paceline.proxy.directory import Directory, Entry
from paceline.proxy.gateway import Backend


class Roster:
    """The `BackendDirectory` of a gateway, over what the monitor keeps up to date."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._backends = {entry.id: _backend(entry) for entry in directory}

    def get(self, id: str) -> Backend | None:
        """The backend with this name, whether up or not."""
        return self._backends.get(id)

    def up(self) -> Sequence[Backend]:
        """The backends that may be sent requests now."""
        return [self._backends[entry.id] for entry in self._directory if entry.up]

    def pick(self, model: str, avoid: str = "") -> Backend | None:
        """The one whose turn it is to serve `model`; `avoid` only if there is no other."""
        id = self._directory.pick(model)
        if id is not None and id == avoid:
            id = self._directory.pick(model)  # the next in turn: another one, if there is one
        return None if id is None else self._backends[id]


def _backend(entry: Entry) -> Backend:
    target = entry.target
    return Backend(
        id=entry.id,
        host=target.host,
        port=target.port,
        tls=target.tls,
        base=target.base_path,
    )
