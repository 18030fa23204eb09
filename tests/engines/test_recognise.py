"""Which engine is it?"""

from __future__ import annotations

import pytest

from paceline.engines.recognise import ADAPTERS, recognise
from tests.engines.replies import OTHER, SGLANG, VLLM


@pytest.mark.parametrize(("replies", "kind"), [(VLLM, "vllm"), (SGLANG, "sglang")])
def test_engines_are_told_apart_by_any_of_their_replies(
    replies: dict[str, bytes], kind: str
) -> None:
    """All replies, the signed model list alone, or the metrics behind a rewritten list."""
    assert recognise(replies) == kind
    assert recognise({"/v1/models": replies["/v1/models"]}) == kind
    assert recognise(OTHER | {"/metrics": replies["/metrics"]}) == kind


def test_any_other_server_is_an_openai_one() -> None:
    """Its models are all that is known."""
    assert recognise(OTHER) == "openai"
    assert recognise(OTHER | {"/metrics": b"# other\n", "/server_info": b"{}"}) == "openai"
    facts = ADAPTERS["openai"].facts(OTHER)
    assert (facts.models, facts.kv_tokens) == (("a", "b"), None)


@pytest.mark.parametrize(
    "reply", [b"", b"{}", b'{"data": []}', b'{"data": [{"id": 5}]}', b"<html>"]
)
def test_nothing_is_known_before_models_are_listed(reply: bytes) -> None:
    """A server that is still loading is asked again."""
    assert recognise({"/v1/models": reply}) is None
    assert recognise({}) is None
