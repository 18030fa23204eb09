"""What SGLang says of itself, from a real server's replies."""

from __future__ import annotations

import json

import pytest

from paceline.engines import sglang
from paceline.engines.base import Facts, Load
from tests.engines.replies import SGLANG, VLLM

LOADS = "/v1/loads?include=core"


def info(**fields: object) -> dict[str, bytes]:
    return {"/server_info": json.dumps({"max_total_num_tokens": 1000} | fields).encode()}


def test_facts_of_a_real_server() -> None:
    """Models, pool, chunk, limit and page are read from a real reply."""
    facts = sglang.facts(SGLANG)
    assert facts == Facts(
        kind="sglang",
        models=("tiny",),
        kv_tokens=20_000,
        chunk_tokens=4096,
        max_running=2048,
        block_size=1,
        started_at=facts.started_at,
    )


def test_another_start_is_noticed() -> None:
    """The durations of the start differ each time, and stay while it runs."""
    first = sglang.started_at(SGLANG["/server_info"])
    again = json.loads(SGLANG["/server_info"])
    assert first == sglang.facts(SGLANG).started_at
    again["startup_time"]["scheduler_e2e"] += 0.001
    assert sglang.started_at(json.dumps(again).encode()) not in (None, first)
    assert sglang.started_at(info(random_seed=7)["/server_info"]) == 7


def test_ranks_add_up() -> None:
    """Each data-parallel rank has a pool and a limit of its own."""
    states = [{"effective_max_running_requests_per_dp": 50}] * 2
    facts = sglang.facts(info(dp_size=2, internal_states=states))
    assert (facts.kv_tokens, facts.max_running) == (2000, 100)


def test_who_computes_the_attention_of_prefills() -> None:
    """The backend of prefills where they have one of their own."""
    assert sglang.facts(info(attention_backend="fa3")).attention == "fa3"
    both = {"attention_backend": "fa3", "prefill_attention_backend": "triton"}
    assert sglang.facts(info(**both)).attention == "triton"


def test_without_chunks_a_step_is_bounded_by_its_prefill_limit() -> None:
    """-1 turns chunked prefill off."""
    fields = {"chunked_prefill_size": -1, "max_prefill_tokens": 16384}
    assert sglang.facts(info(**fields)).chunk_tokens == 16384


@pytest.mark.parametrize("reply", [b"", b"[]", b'{"detail":"Not Found"}', b"\xff"])
def test_server_info_may_be_missing(reply: bytes) -> None:
    """The models alone are enough to serve."""
    replies = {"/v1/models": SGLANG["/v1/models"], "/server_info": reply}
    assert sglang.facts(replies) == Facts(kind="sglang", models=("tiny",))
    assert sglang.started_at(reply) is None


def test_load_of_a_real_server() -> None:
    """Both places tell the same."""
    idle = Load(running=0, waiting=0)
    assert sglang.load(SGLANG[LOADS]) == idle
    assert sglang.load(SGLANG["/metrics"]) == idle


def test_load_is_summed_over_ranks() -> None:
    """Requests add up."""
    ranks = [
        {"num_running_reqs": 3, "num_waiting_reqs": 1},
        {"num_running_reqs": 4, "num_waiting_reqs": 0},
    ]
    reply = json.dumps({"loads": ranks}).encode()
    assert sglang.load(reply) == Load(running=7, waiting=1)


@pytest.mark.parametrize("reply", [b"", b'{"detail":"Not Found"}', VLLM["/metrics"], b"\xff{"])
def test_other_replies_tell_no_load(reply: bytes) -> None:
    """An older server without the route, or metrics that are off."""
    assert sglang.load(reply) is None
