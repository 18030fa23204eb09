"""What vLLM says of itself, from a real server's replies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines import vllm
from paceline.engines.base import Facts, Load
from tests.engines.replies import VLLM

METRICS = VLLM["/metrics"]


def metrics(*lines: str) -> bytes:
    return "\n".join(("# HELP x y", *lines, "")).encode()


def test_facts_of_a_real_server() -> None:
    """Models, pool, block and start time are read from a real reply."""
    assert vllm.facts(VLLM) == Facts(
        kind="vllm",
        models=("tiny",),
        kv_tokens=1_048_576,
        block_size=32,
        started_at=1.79535617075e09,
    )


def test_an_older_server_tells_blocks_only() -> None:
    """Without `kv_cache_size_tokens` the pool is blocks times their size."""
    line = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="4096"} 1.0'
    assert vllm.facts({"/metrics": metrics(line)}).kv_tokens == 65_536


def test_pools_of_data_parallel_engines_add_up() -> None:
    """Each engine has a line of its own."""
    line = 'vllm:cache_config_info{{engine="{}",block_size="16",num_gpu_blocks="100"}} 1.0'
    assert vllm.facts({"/metrics": metrics(line.format(0), line.format(1))}).kv_tokens == 3200


def test_metrics_may_be_off() -> None:
    """The models alone are enough to serve."""
    facts = vllm.facts({"/v1/models": VLLM["/v1/models"]})
    assert facts == Facts(kind="vllm", models=("tiny",))
    assert vllm.load(b"# nothing\n") is None


def test_an_idle_server_has_no_load() -> None:
    """Metrics whose names only begin alike are not counted."""
    assert vllm.load(METRICS) == Load(running=0, waiting=0)


def test_load_is_summed_over_engines() -> None:
    """Requests add up."""
    text = metrics(
        'vllm:num_requests_running{engine="0",model_name="a } b"} 3.0',
        'vllm:num_requests_running{engine="1",model_name="a } b"} 4.0',
        'vllm:num_requests_waiting{engine="0"} 2.0',
        'vllm:num_requests_waiting_by_reason{engine="0"} 99.0',
    )
    assert vllm.load(text) == Load(running=7, waiting=2)


@given(st.binary(max_size=200) | st.sampled_from([b"nan", b"inf", b"", b"x", b"-1"]))
@settings(deadline=None)
def test_no_reply_breaks_it(noise: bytes) -> None:
    """A reply may be cut or not from vLLM at all."""
    config = b'vllm:cache_config_info{num_gpu_blocks="' + noise + b'"} 1'
    facts = vllm.facts({"/metrics": config, "/v1/models": noise})
    assert (facts.models, facts.kv_tokens) == ((), None)
    load = vllm.load(b"vllm:num_requests_waiting 1\nvllm:num_requests_running " + noise)
    assert load is None or load.waiting == 1
