"""Coefficients are found again from measurements that they made, and from real ones."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from msgspec import structs

from paceline.engines.measure.measurement import Measurement
from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime
from paceline.sim.calibrate import BUSY, Coefficients, calibrate, calibrated, fit, predict
from paceline.sim.calibration import CalibrationError, read_calibration, write_calibration
from paceline.sim.frontend import FRONTENDS, FrontendTime
from paceline.sim.least_squares import minimise, solve
from paceline.sim.measurements import read_measurements

PRESET = PRESETS["llama-3.1-8b-h100"]
DATA = Path(__file__).parent / "data"
HEAD = "kind,batch,ctx,prompt,out,cached,sent,first,last"


def measurements(truth: Coefficients) -> list[Measurement]:
    """What an engine with these coefficients would show."""
    points = [("lone", 1, n, 0) for n in (64, 512, 2048, 8192, 12000)]
    points += [("lone", 1, n + 1024, n) for n in (1024, 4096, 8192)]
    points += [("decode", b, n, 0) for b in (1, 8, 32, 128) for n in (160, 1056, 4128)]
    points += [("burst", b, 1024, 0) for b in (4, 16, 64)] + [("burst", 128, 128, 0)]
    found = []
    for kind, batch, prompt, cached in points:
        blank = Measurement(kind=kind, batch=batch, prompt=prompt, cached=cached, seconds=1.0)  # type: ignore[arg-type]
        seconds = predict(blank, truth)
        found.append(
            Measurement(kind=blank.kind, batch=batch, prompt=prompt, cached=cached, seconds=seconds)
        )
    return found


def test_what_made_them_is_found() -> None:
    """From a preset 30% off, every prediction comes within 1% of the truth."""
    time = StepTime(c0=1500, tw=6000, k=27, a=1.2e-3, b=9, g=0.06)
    truth = Coefficients(time, FrontendTime(latency=0.02, request=0.002), BUSY)
    made = measurements(truth)
    found = fit(made, PRESET.vllm, FrontendTime())
    for measured in made:
        assert predict(measured, found) == pytest.approx(measured.seconds, rel=0.01)
    assert found.time.k == pytest.approx(27, rel=0.03)


def test_triton_pads_as_its_engine_says() -> None:
    """What measurements cannot show is taken from the name of SGLang's attention backend."""
    made = measurements(Coefficients(PRESET.sglang, FRONTENDS["sglang"], BUSY))
    assert calibrated("sglang", made, PRESET, attention="fa3").time.pad == 0
    assert calibrated("sglang", made, PRESET, attention="triton").time.pad == 128


def test_bursts_that_are_handed_on_one_by_one() -> None:
    """A front end like SGLang's is found again, and stays one."""
    truth = FrontendTime(latency=0.015, request=0.001, reads=0.5)
    made = measurements(Coefficients(PRESET.sglang, truth, BUSY))
    found = fit(made, PRESET.sglang, FRONTENDS["sglang"])
    assert found.frontend.reads == 0.5
    for measured in made:
        assert predict(measured, found) == pytest.approx(measured.seconds, rel=0.02)


def test_what_shared_kv_saves_is_found() -> None:
    """Decodes on a shared prefix tell it; without them it stays as it is."""
    truth = Coefficients(structs.replace(PRESET.vllm, again=0.7), FrontendTime(), BUSY)
    made = measurements(truth)
    assert fit(made, PRESET.vllm, FrontendTime()).time.again == pytest.approx(0.45)
    blank = Measurement(kind="decode", batch=32, prompt=4128, shared=4096, seconds=1.0)
    shared = structs.replace(blank, seconds=predict(blank, truth))
    found = fit([*made, shared], PRESET.vllm, FrontendTime())
    assert found.time.again == pytest.approx(0.7, abs=0.02)


def test_an_outlier_does_not_bend_the_fit() -> None:
    """One measurement ten times off leaves the others within 3%."""
    truth = Coefficients(PRESET.vllm, FrontendTime(), BUSY)
    made = measurements(truth)
    odd = Measurement(kind="decode", batch=64, prompt=500, seconds=0.1)
    found = fit([*made, odd], PRESET.vllm, FrontendTime())
    for measured in made:
        assert predict(measured, found) == pytest.approx(measured.seconds, rel=0.03)


def test_real_rows(tmp_path: Path) -> None:
    """vLLM on an H100: median error below 3%; the file says the same when it is read."""
    paths = sorted(DATA.glob("vllm_*_calib.csv.gz")) + sorted(DATA.glob("vllm_*_itl.csv.gz"))
    found = calibrate("vllm", paths, PRESET)
    assert found.rows == 40
    assert found.error < 0.03
    write_calibration(tmp_path / "c.json", found)
    assert read_calibration(tmp_path / "c.json") == found


def test_repetitions_count_once(tmp_path: Path) -> None:
    """Lone prompts: the median. A burst: from the first sent to the last first token."""
    path = tmp_path / "rows.csv"
    lone = [f"prefill,1,64,64,1,0,0.0,{first},9" for first in (0.02, 0.03, 0.9)]
    burst = ["decode,2,8,8,64,0,0.1,0.2,9", "decode,2,8,8,64,0,0.2,0.5,9"]
    path.write_text("\n".join([HEAD, *lone, *burst, "decode,1,8,8,64,0,0.1,0.2,9"]))
    one, two = read_measurements([path])
    assert (one.kind, one.seconds) == ("lone", 0.03)
    assert (two.kind, two.batch) == ("burst", 2)
    assert two.seconds == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n", r"rows\.csv:2: no column 'kind'"),
        (HEAD + "\nprefill,1,x,64,1,0,0,1,1\n", r"rows\.csv:2: invalid literal"),
        (HEAD + "\nguess,1,1,64,1,0,0,1,1\n", r"rows\.csv:2: unknown kind `guess`"),
        (HEAD + "\nprefill,1,1\n", r"rows\.csv:2: "),
        (HEAD + "\n", "no row of kind"),
    ],
)
def test_bad_rows(tmp_path: Path, text: str, why: str) -> None:
    """Each says what is wrong and where."""
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=why):
        read_measurements([path])


def test_a_file_that_is_no_calibration(tmp_path: Path) -> None:
    """Missing and malformed files are named."""
    with pytest.raises(CalibrationError, match="No such file"):
        read_calibration(tmp_path / "none")
    (tmp_path / "odd").write_text("{}")
    with pytest.raises(CalibrationError, match=r"odd: .*missing required field `engine`"):
        read_calibration(tmp_path / "odd")


def test_linear_equations() -> None:
    """A random system is solved, pivots included."""
    rng = Random(1)
    matrix = [[rng.gauss(0, 1) for _ in range(6)] for _ in range(6)]
    matrix[0][0] = 0.0
    wanted = [rng.gauss(0, 1) for _ in range(6)]
    right = [sum(a * x for a, x in zip(row, wanted, strict=True)) for row in matrix]
    assert solve(matrix, right) == pytest.approx(wanted)


def test_least_squares() -> None:
    """Rosenbrock's valley is followed to its end."""
    found = minimise(lambda p: [1 - p[0], 10 * (p[1] - p[0] ** 2)], [-1.2, 1.0])
    assert found == pytest.approx([1.0, 1.0], abs=1e-5)
