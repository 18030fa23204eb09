"""SGLang's policies: who is admitted first when one request fits a batch."""

import pytest

from paceline.engines.model.engine import SequenceRequest
from paceline.engines.model.sglang import SglangEngine
from tests.engines.model.dialogue import add, ask, config, drain, finished

HOT = range(200)


def order(policy: str, *requests: SequenceRequest, **fields: object) -> list[str]:
    """The order in which an engine that has `HOT` cached ends `requests`, one at a time."""
    options = {"policy": policy, "kv_tokens": 9000, "max_running": 1} | fields
    sglang = SglangEngine(config("sglang", **options))
    add(sglang, ask("warm", HOT))
    drain(sglang)
    add(sglang, *requests)
    return finished(drain(sglang))


def test_fcfs_keeps_the_order() -> None:
    """fcfs does not look at prefixes."""
    cold, hot = ask("cold", range(500, 700)), ask("hot", HOT)
    assert order("fcfs", cold, hot) == ["cold", "hot"]


def test_lpm_prefers_the_longest_match() -> None:
    """lpm takes the longest cached prefix first; ties stay as they came."""
    cold, some, hot = ask("cold", range(500, 700)), ask("some", range(150)), ask("hot", HOT)
    assert order("lpm", cold, some, hot) == ["hot", "some", "cold"]


def test_lpm_leaves_siblings_of_a_cold_prompt_for_last() -> None:
    """Of two that share an uncached prefix, the second is not in the batch of the first."""
    first, sibling = ask("first", range(500, 600)), ask("sibling", range(500, 600))
    other = ask("other", range(900, 950))
    queue = (first, sibling, other)
    assert order("fcfs", *queue, max_running=2) == ["first", "sibling", "other"]
    assert order("lpm", *queue, max_running=2) == ["first", "other", "sibling"]


def test_lpm_gives_up_on_long_queues() -> None:
    """With more than 128 waiting, lpm leaves the order as it is."""
    cold = [ask(f"c{i}", range(1000 + 9 * i, 1005 + 9 * i)) for i in range(128)]
    assert order("lpm", *cold, ask("hot", HOT))[0] == "c0"
    assert order("lpm", *cold[1:], ask("hot", HOT))[0] == "hot"


def test_hrrn_prefers_little_work() -> None:
    """hrrn divides the wait by the uncached tokens: who waits as long but has less to do goes."""
    first, cold = ask("first", range(900, 950)), ask("cold", range(500, 700))
    assert order("hrrn", first, cold, ask("hot", HOT)) == ["first", "hot", "cold"]


def test_dfs_weight_serves_the_heaviest_branch() -> None:
    """dfs-weight goes down where most wait and serves a node's own after its children."""
    sglang = SglangEngine(config("sglang", policy="dfs-weight", kv_tokens=9000, max_running=1))
    for name, ids in (("x", [1, 2, 3]), ("y", [1, 2, 4]), ("z", [7, 8])):
        add(sglang, ask(name, ids))
        drain(sglang)
    light, own = ask("light", [7, 8, 9]), ask("own", [1, 2, 9])
    heavy = [ask("heavy0", [1, 2, 4, 5]), ask("heavy1", [1, 2, 4, 6])]
    add(sglang, light, own, *heavy)
    assert finished(drain(sglang)) == ["heavy0", "heavy1", "own", "light"]


def test_random_depends_on_its_seed_alone() -> None:
    """Equal seeds shuffle equally, another seed does not."""
    requests = [ask(f"r{i}", range(500 + i * 10, 505 + i * 10)) for i in range(9)]
    assert order("random", *requests, seed=1) == order("random", *requests, seed=1)
    assert order("random", *requests, seed=1) != order("random", *requests, seed=2)


def test_priority_highest_first() -> None:
    """With priority scheduling the highest number is admitted first, then the earliest."""
    requests = [ask(f"p{p}", range(500 + p * 50, 505 + p * 50), priority=p) for p in (1, 5, 3)]
    assert order("fcfs", *requests, priority=True) == ["p5", "p3", "p1"]


@pytest.mark.parametrize(("policy", "priority"), [("priority", False), ("lpm", True)])
def test_what_sglang_refuses(policy: str, priority: bool) -> None:
    """There is no policy called priority, and priorities exclude prefix-aware orders."""
    with pytest.raises(ValueError, match="priority"):
        order(policy, priority=priority)
