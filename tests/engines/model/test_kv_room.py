"""SGLang's KV accounting and admission budget."""

from paceline.engines.model.kv_room import AdmissionBudget, KvRoom, SglangSequence
from paceline.engines.model.tape import encode
from tests.engines.model.dialogue import ask


def sequence(prompt: range, output: int) -> SglangSequence:
    """A sequence that nobody has admitted."""
    tape = encode(prompt) + encode(range(10**6, 10**6 + output))
    return SglangSequence(ask("a", prompt, output), 0, tape, output)


def prefill(room: KvRoom, one: SglangSequence) -> None:
    """Pin, compute and publish a prompt."""
    room.pin(one)
    room.take(room.pages(one.known - one.prefix))
    one.kv = one.known
    room.publish(one, one.known)


def test_publishing_makes_private_tokens_shared() -> None:
    """A second copy of what the tree has is freed when it is published."""
    room = KvRoom(100, 1)
    one, two = sequence(range(30), 5), sequence(range(30), 5)
    for each in (one, two):
        room.pin(each)
        room.take(30)
        each.kv = 30
    assert room.available == 40
    room.publish(one, 30)
    room.publish(two, 30)
    assert (room.available, room.private, room.tree.tokens) == (70, 0, 30)


def test_how_much_is_evicted() -> None:
    """What is missing, to the leaf; or as much as is asked for, where the release does so."""
    for evicts_all, left in ((False, 80), (True, 70)):
        room = KvRoom(100, 1, evicts_all=evicts_all)
        for start in range(0, 90, 10):
            one = sequence(range(start, start + 10), 1)
            prefill(room, one)
            room.release(one)
        room.clear(20)
        assert room.tree.tokens == left


def test_release_leaves_the_prompt_cached() -> None:
    """What a sequence had in the tree stays there, unlocked; the rest is free."""
    room = KvRoom(100, 1)
    one = sequence(range(30), 5)
    prefill(room, one)
    room.take(1)
    one.kv += 1
    assert room.available == 69
    room.release(one)
    assert (room.available, room.private, room.tree.evictable) == (100, 0, 30)


def test_budget_reserves_a_part_of_the_running_output() -> None:
    """Running sequences count with the ratio, a candidate with all of its output, a page on top."""
    room = KvRoom(200, 1)
    running = sequence(range(50), 100)
    prefill(room, running)
    fits, does_not = sequence(range(500, 550), 48), sequence(range(500, 550), 49)
    for one, expected in ((fits, True), (does_not, False)):
        budget = AdmissionBudget(room, 8192, [running], 0.5)
        assert budget.total == 200 - 50 - 50
        room.pin(one)
        assert budget.fits(one) is expected


def test_output_is_clipped() -> None:
    """No more than 4096 tokens of output are reserved."""
    assert sequence(range(10), 5000).reserve == 4096
