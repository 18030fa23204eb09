"""The roster hands out addresses of backends that are up, in turn."""

from __future__ import annotations

from paceline.proxy.config import BackendConfig
from paceline.proxy.directory import Directory
from paceline.proxy.roster import Roster


def two() -> tuple[Directory, Roster]:
    """A directory of `a` and `b`, both up with model `m`."""
    configs = [
        BackendConfig(url="http://10.0.0.7:8000", name="a"),
        BackendConfig(url="https://b.example/engine", name="b"),
    ]
    directory = Directory(configs)
    for entry in directory:
        entry.up, entry.models = True, ("m",)
    return directory, Roster(directory)


def test_get_gives_the_address() -> None:
    """Scheme, host, port and path of the URL are there; an unknown name is None."""
    _, roster = two()
    backend = roster.get("b")
    assert backend is not None
    assert (backend.host, backend.port, backend.tls) == ("b.example", 443, True)
    assert backend.base == "/engine"
    assert roster.get("c") is None


def test_only_those_that_are_up() -> None:
    """A backend that went down is neither listed nor picked."""
    directory, roster = two()
    directory["a"].up = False
    assert [backend.id for backend in roster.up()] == ["b"]
    picked = {backend.id for _ in range(4) if (backend := roster.pick("m"))}
    assert picked == {"b"}


def test_avoids_one_while_there_is_another() -> None:
    """`avoid` is never picked of two, and always when it is alone."""
    directory, roster = two()
    assert {b.id for _ in range(4) if (b := roster.pick("m", avoid="a"))} == {"b"}
    directory["b"].up = False
    alone = roster.pick("m", avoid="a")
    assert alone is not None
    assert alone.id == "a"
    assert roster.pick("other") is None
