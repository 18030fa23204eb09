"""The step-time formula against the grid that it was fitted to."""

import pytest
from msgspec import structs

from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime, Work


def prefill(time: StepTime, new: int, before: int = 0) -> float:
    """Milliseconds of one request's prefill."""
    work = Work()
    work.prefill(new, before)
    return time.seconds(work) / time.s * 1e3


def decode(time: StepTime, batch: int, context: int) -> float:
    """Milliseconds of one decode step."""
    work = Work()
    for _ in range(batch):
        work.decode(context)
    return time.seconds(work) / time.s * 1e3


@pytest.mark.parametrize(
    ("preset", "new", "before", "expected"),
    [
        ("llama-3.1-8b-h100", 2048, 0, 43.5),
        ("llama-3.1-8b-h100", 2048, 8192, 56.4),
        ("llama-3.1-8b-a100", 8192, 0, 557),
        ("llama-3.1-8b-a100", 2048, 8192, 173),
    ],
)
def test_prefill_anchor(preset: str, new: int, before: int, expected: float) -> None:
    """A prefill takes what the measured kernels add up to, within 5%."""
    assert prefill(PRESETS[preset].vllm, new, before) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("preset", "batch", "context", "expected"),
    [
        ("llama-3.1-8b-h100", 32, 1024, 8.3),
        ("llama-3.1-8b-h100", 32, 8192, 17.7),
        ("llama-3.1-8b-a100", 128, 1024, 24.8),
        ("llama-3.1-70b-h100x4", 256, 1024, 30.5),
    ],
)
def test_decode_anchor(preset: str, batch: int, context: int, expected: float) -> None:
    """A decode takes what the measured kernels add up to, within 6%."""
    assert decode(PRESETS[preset].vllm, batch, context) == pytest.approx(expected, rel=0.06)


def test_work_is_taken_back() -> None:
    """Taking back what was added leaves no work."""
    work = Work()
    work.prefill(7, 100)
    work.decode(50)
    work.prefill(7, 100, -1)
    work.decode(50, -1)
    assert (work.tokens, work.area, work.decodes, work.context, work.cross) == (0, 0, 0, 0, 0)


def test_padding_lengthens_the_others() -> None:
    """With padding every prefill reads its cached part as if it were as long as the longest."""
    work = Work()
    work.prefill(200, 0)
    work.prefill(10, 1000)
    area = StepTime(c0=0, tw=0, k=0, a=1e6, b=0, g=0)
    padded = StepTime(c0=0, tw=0, k=0, a=1e6, b=0, g=0, pad=128)
    assert area.seconds(work) == 200 * 100 + 10 * 1005
    assert padded.seconds(work) == 200 * 100 + 10 * 5 + 256 * 1000


def test_what_is_read_again_costs_less() -> None:
    """KV that another sequence of the step has read comes from L2: part of its cost falls away."""
    time = StepTime(c0=0, tw=0, k=0, a=0, b=0, g=1e6, again=0.25)
    work = Work(tokens=2, decodes=2, context=100, shared=40)
    assert time.seconds(work) == 60 + 40 * 0.75


def test_prefills_are_launched_kernel_by_kernel() -> None:
    """A step with a prefill takes `eager` more, and one that only decodes does not."""
    time = StepTime(c0=1e6, tw=0, k=0, a=0, b=0, g=0, s=2.0, eager=5e5)
    assert time.seconds(Work(tokens=5, decodes=5)) == 2.0
    assert time.seconds(Work(tokens=5, prefill_tokens=5)) == 3.0


def test_the_host_is_the_floor() -> None:
    """A step takes no less than the host's time for its sequences, whatever `s` says."""
    time = StepTime(c0=1e6, tw=0, k=0, a=0, b=0, g=0, s=2.0, host=1e5)
    assert time.seconds(Work(tokens=5, decodes=5)) == 2.0
    assert time.seconds(Work(tokens=50, decodes=50)) == 5.0


@pytest.mark.parametrize("host", [0.0, 1e4])
def test_steps_ahead(host: float) -> None:
    """Steps ahead take, to the last bit, what each of them would take when it comes."""
    time = structs.replace(PRESETS["llama-3.1-8b-h100"].vllm, host=host)
    work = Work(tokens=3, decodes=3, context=1001, shared=300)
    expected = []
    for _ in range(50):
        work.context += 3
        expected.append(time.seconds(work))
    work.context = 1001
    assert time.ahead(work, 50) == expected
    assert time.ahead(work, 0) == []
