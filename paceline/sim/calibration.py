"""A calibration file: the step times and front-end times fitted to one real engine."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from paceline.engines.model.engine import ModelKind
from paceline.engines.model.steptime import StepTime
from paceline.sim.frontend import FrontendTime


class CalibrationError(Exception):
    """The file, or the rows to fit, cannot be used; the message is one line."""


class Calibration(Struct, frozen=True, kw_only=True):
    """What `paceline calibrate` found."""

    engine: ModelKind
    time: StepTime
    frontend: FrontendTime
    busy: float
    """Time of a step that follows another at once over that of one after a pause."""
    rows: int
    """Measurements that were fitted, repetitions counted once."""
    error: float
    """Median of |fitted / measured - 1| over them."""
    errors: dict[str, float] = {}
    """Median of fitted / measured - 1 by what was measured."""


def read_calibration(path: Path) -> Calibration:
    """The file's contents; CalibrationError when it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise CalibrationError(f"{path}: {error}") from None


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it, for people to read too; OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(calibration), indent=2) + b"\n")
