"""vLLM's waiting queue."""

from paceline.engines.model.tape import encode
from paceline.engines.model.waiting import VllmSequence, WaitingQueue
from tests.engines.model.dialogue import ask


def waiting(*order: int) -> VllmSequence:
    """A sequence with that place in the queue."""
    sequence = VllmSequence(ask("a", [1]), 0, encode([1, 2]), 10)
    sequence.order = (order[0], order[1])
    return sequence


def test_lowest_place_first() -> None:
    """The head is the lowest priority number, then the earliest arrival, whenever it was pushed."""
    queue = WaitingQueue()
    late, early, urgent = waiting(1, 8), waiting(1, 2), waiting(0, 9)
    for sequence in (late, early, urgent):
        queue.push(sequence)
    assert [queue.pop() for _ in range(3)] == [urgent, early, late]
    assert queue.head() is None


def test_remove_keeps_the_order_of_the_rest() -> None:
    """Taking one out from the middle leaves the others in order; a stranger changes nothing."""
    queue = WaitingQueue()
    sequences = [waiting(0, place) for place in range(6)]
    for sequence in reversed(sequences):
        queue.push(sequence)
    queue.remove(sequences[0])
    queue.remove(sequences[3])
    queue.remove(waiting(0, 1))
    assert [queue.pop() for _ in range(len(queue))] == [sequences[i] for i in (1, 2, 4, 5)]
