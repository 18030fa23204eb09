"""The backends that the proxy knows."""

from __future__ import annotations

from paceline.proxy.config import BackendConfig
from paceline.proxy.upstream.directory import Directory


def directory(*names: str) -> Directory:
    """Backends of these names, all up with the model `m`."""
    known = Directory([BackendConfig(url=f"http://{name}", name=name) for name in names])
    for entry in known:
        entry.models, entry.up = ("m",), True
    return known


def picked(known: Directory, model: str = "", avoid: str = "") -> list[str]:
    """Whose turn it is, four times over, sorted and each once."""
    turns = [known.pick(model, avoid) for _ in range(4)]
    return sorted({address.id for address in turns if address})


def test_gives_addresses_by_name() -> None:
    """Scheme, host, port and path of the URL are there; an unknown name is None."""
    known = Directory([BackendConfig(url="https://b.example/engine", name="b")])
    address = known.get("b")
    assert address is not None
    assert address.url("/x") == "https://b.example:443/engine/x"
    assert known.get("c") is None


def test_backends_take_turns() -> None:
    """Only those that are up and serve the model are picked."""
    known = directory("a", "b", "c")
    known["b"].models = ("m", "n")
    known["c"].up = False
    assert picked(known, "m") == ["a", "b"]
    assert picked(known, "n") == ["b"]
    assert picked(known) == ["a", "b"]
    assert picked(known, "other") == []
    assert known.models() == ("m", "n")


def test_only_those_that_are_up() -> None:
    """A backend that went down is neither listed nor picked."""
    known = directory("a", "b")
    known["a"].up = False
    assert [address.id for address in known.up()] == ["b"]
    assert picked(known, "m") == ["b"]


def test_avoids_one_while_there_is_another() -> None:
    """`avoid` is never picked of two, and always when it is alone."""
    known = directory("a", "b")
    assert picked(known, "m", avoid="a") == ["b"]
    known["b"].up = False
    assert picked(known, "m", avoid="a") == ["a"]


def test_a_path_of_one_engine_goes_to_that_engine() -> None:
    """To another only where there is none: it may know the path by now, or says itself that not."""
    known = directory("a", "b", "c")
    known["a"].kind, known["b"].kind, known["c"].kind = "vllm", "sglang", "openai"
    turns = {path: known.pick(path=path) for path in ("/get_model_info", "/version") * 3}
    assert {path: address.id for path, address in turns.items() if address} == {
        "/get_model_info": "b",
        "/version": "a",
    }
    known["b"].up = False
    alone = [known.pick("m", path="/get_model_info") for _ in range(4)]
    assert {address.id for address in alone if address} == {"a", "c"}
