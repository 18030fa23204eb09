"""Fits step-time and front-end coefficients to measurements, starting from a preset.

Relative errors are made least, every measurement alike, but those far off count for less: an engine
has effects that the formula lacks, and a few points must not bend it. Coefficients that the data
say little about (the split of `tw` and `c0`, say) stay near the preset: leaving it by a factor of e
costs as much as an error of `PULL` in one measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import copysign, exp, sqrt
from pathlib import Path
from statistics import median

from msgspec import Struct, structs

from paceline.engines.measure.measurement import Measurement
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.engines.model.presets import TRITON_PAD, Preset
from paceline.engines.model.steptime import StepTime, Work
from paceline.sim.calibration import Calibration
from paceline.sim.frontend import FRONTENDS, SERIAL, FrontendTime
from paceline.sim.least_squares import minimise
from paceline.sim.measurements import read_measurements

PULL = 0.02
OUTLIER = 0.04
"""Relative error from which a measurement's cost grows linearly, not as the square (Huber)."""
BUSY = 1.05
"""What an H100 showed over recorded runs of both engines. Not fitted: the only rows with prefills
that follow one another are bursts, and they say 1.10, which no longer run bears out."""
HOST = 50.0
"""Where the fit of `host` starts, in microseconds, when the preset has none."""
STEP_FIELDS = ("c0", "tw", "k", "a", "b", "g", "host", "again")
FRONTEND_FIELDS = ("latency", "token", "request", "burst")
LEAST = 1e-6
"""Of a coefficient, in its unit over the default one's: logarithms need something."""
CHUNK = EngineConfig().chunk_tokens
"""Prefill tokens a step of the engine that was measured, unless it is told."""


class Coefficients(Struct, frozen=True):
    """What is fitted."""

    time: StepTime
    frontend: FrontendTime
    busy: float


def calibrate(engine: ModelKind, paths: Iterable[Path], preset: Preset) -> Calibration:
    """Read and fit; CalibrationError about the files."""
    return calibrated(engine, read_measurements(paths), preset)


def calibrated(
    engine: ModelKind,
    measured: Sequence[Measurement],
    preset: Preset,
    chunk: int = CHUNK,
    attention: str | None = None,
) -> Calibration:
    """Fit to measurements of an engine that prefills up to `chunk` tokens a step.

    `attention` is what SGLang says its backend is: measurements cannot tell that one pads.
    """
    start = preset.vllm if engine == "vllm" else preset.sglang
    if attention == "triton":
        start = structs.replace(start, pad=TRITON_PAD)
    found = fit(measured, start, FRONTENDS[engine], chunk)
    errors: dict[str, list[float]] = {}
    for m in measured:
        what = f"{m.kind} on a shared prefix" if m.shared else m.kind
        errors.setdefault(what, []).append(predict(m, found, chunk) / m.seconds - 1)
    return Calibration(
        engine=engine,
        time=found.time,
        frontend=found.frontend,
        busy=found.busy,
        rows=len(measured),
        error=median(abs(error) for its in errors.values() for error in its),
        errors={what: median(its) for what, its in errors.items()},
    )


def fit(
    measured: Sequence[Measurement], start: StepTime, front: FrontendTime, chunk: int = CHUNK
) -> Coefficients:
    """The coefficients near `start` and `front` that explain the measurements best; `s` is 1."""
    base = [*_steps(start), *(getattr(front, name) for name in FRONTEND_FIELDS)]

    def residuals(logs: Sequence[float]) -> list[float]:
        found = _coefficients(start, front, base, logs)
        errors = [_huber(predict(m, found, chunk) / m.seconds - 1) for m in measured]
        return errors + [PULL * value for value in logs]

    return _coefficients(start, front, base, minimise(residuals, [0.0] * len(base)))


def predict(measured: Measurement, found: Coefficients, chunk: int = CHUNK) -> float:
    """Seconds that the model would take for what was measured."""
    time, frontend = found.time, found.frontend
    if measured.kind in ("decode", "mixed", "stall"):
        return found.busy * sum(map(time.seconds, _decodes(measured)))
    outside = frontend.latency + frontend.token * measured.prompt + frontend.request
    first, *rest = (time.seconds(work) for work in _prefills(measured, 1, chunk))
    alone = outside + first + found.busy * sum(rest)
    if measured.kind == "lone":
        return alone
    each = frontend.request + SERIAL * frontend.token * measured.prompt
    whole = outside + frontend.burst + each * (measured.batch - 1)
    others = [time.seconds(work) for work in _prefills(measured, measured.batch - 1, chunk)]
    if frontend.reads == 1.0:
        return max(alone, whole) + found.busy * sum(others)
    handed_on = outside + frontend.burst + frontend.reads * each * (measured.batch - 1)
    return max(handed_on + first + found.busy * sum(others), whole + found.busy * others[-1])


def _decodes(measured: Measurement) -> list[Work]:
    """The step in which a batch decodes, and in it or before it another prompt's prefill."""
    step = Work()
    for _ in range(measured.batch):
        step.decode(measured.prompt)
    step.shared = (measured.batch - 1) * measured.shared
    if not measured.new:
        return [step]
    prefill = step if measured.kind == "mixed" else Work()
    prefill.prefill(measured.new, 0)
    return [step] if prefill is step else [prefill, step]


def _prefills(measured: Measurement, prompts: int, chunk: int) -> list[Work]:
    """The steps that prefill so many prompts in chunks, while those that are done decode."""
    steps = [Work()]
    for number in range(prompts):
        done = measured.cached
        while done < measured.prompt:
            if steps[-1].tokens == chunk:
                steps.append(Work())
                for _ in range(number):
                    steps[-1].decode(measured.prompt)
            count = min(measured.prompt - done, chunk - steps[-1].tokens)
            steps[-1].prefill(count, done)
            done += count
    return steps


def _steps(start: StepTime) -> list[float]:
    """Values to start from, `s` worked in."""
    values = {name: getattr(start, name) * start.s for name in STEP_FIELDS}
    values |= {"host": start.host or HOST, "again": start.again}
    return [max(value, LEAST) for value in values.values()]


def _coefficients(
    start: StepTime, start_front: FrontendTime, base: Sequence[float], logs: Sequence[float]
) -> Coefficients:
    values = [value * exp(x) for value, x in zip(base, logs, strict=True)]
    step = dict(zip(STEP_FIELDS, values[: len(STEP_FIELDS)], strict=True))
    front = dict(zip(FRONTEND_FIELDS, values[len(STEP_FIELDS) :], strict=True))
    frontend = structs.replace(start_front, **front)
    return Coefficients(structs.replace(start, s=1.0, **step), frontend, BUSY)


def _huber(error: float) -> float:
    """The residual whose square is Huber's cost of `error`."""
    if abs(error) <= OUTLIER:
        return error
    return copysign(sqrt(2 * OUTLIER * abs(error) - OUTLIER**2), error)
