"""Line charts as inline SVG, on a linear or logarithmic x axis, and their legend; no library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 36
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b8a400",
)  # fmt: skip
"""Okabe and Ito's palette, which colour-blind readers can tell apart; grey, which a dark page shows
too, for its black. The ninth series has the first colour again, in dashes."""
TICKS = 5


def chart(title: str, series: Mapping[str, Points], *, x: str, y: str, log_x: bool = False) -> str:
    """One chart; series without points are left out, on a log axis so are points not above 0.

    A series has the colour of its place in `series`, as in the legend.
    """
    drawable = {
        name: [p for p in points if not log_x or p[0] > 0] for name, points in series.items()
    }
    shown = {name: points for name, points in drawable.items() if points}
    xs = [px for points in shown.values() for px, _ in points]
    ys = [py for points in shown.values() for _, py in points]
    if not xs:
        return ""
    across = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log=log_x)
    up = _Axis(min(0.0, *ys), max(ys), HEIGHT - BOTTOM, TOP)
    body = [_frame(title, x, y), _ticks(across, up)]
    for number, (name, points) in enumerate(drawable.items()):
        if name in shown:
            path = " ".join(f"{across.at(px):.1f},{up.at(py):.1f}" for px, py in points)
            body.append(f'<polyline points="{path}" {_stroke(number)}/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(body)}</svg>'


def legend(names: Iterable[str]) -> str:
    """Which line is whose, for all charts with the same series."""
    items = (
        f'<li><i style="border-color:{_colour(number)};'
        f'border-style:{"dashed" if _dashed(number) else "solid"}"></i>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _stroke(number: int) -> str:
    dashes = ' stroke-dasharray="5 3"' if _dashed(number) else ""
    return f'stroke="{_colour(number)}"{dashes}'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dashed(number: int) -> bool:
    return number // len(COLOURS) % 2 == 1


class _Axis:
    """Values to pixels."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, log: bool = False
    ) -> None:
        self.log = log
        self.low, self.high = low, high if high > low else low + (abs(low) or 1.0)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        part = (self._scaled(value) - low) / (high - low)
        return self._start + part * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if self.log:
            first, last = floor(log10(self.low)), ceil(log10(self.high))
            steps = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
            inside = [step for step in steps if self.low <= step <= self.high]
            if len(inside) > 8:
                return [step for step in inside if log10(step) % 1 < 1e-9]
            if len(inside) > 2:
                return inside
        step = _round_step((self.high - self.low) / TICKS)
        return [i * step for i in range(ceil(self.low / step), floor(self.high / step) + 1)]

    def _scaled(self, value: float) -> float:
        return log10(value) if self.log else value


def _round_step(rough: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    magnitude: float = 10.0 ** floor(log10(rough))
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)


def _frame(title: str, x: str, y: str) -> str:
    bottom = HEIGHT - BOTTOM
    return (
        f'<text x="{LEFT}" y="16" class="title">{escape(title)}'
        f'<tspan class="unit" dx="8">{escape(y)}</tspan></text>'
        f'<path d="M{LEFT},{TOP}V{bottom}H{WIDTH - RIGHT}" class="axis"/>'
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 28}" class="unit" text-anchor="end">'
        f"{escape(x)}</text>"
    )


def _ticks(across: _Axis, up: _Axis) -> str:
    bottom = HEIGHT - BOTTOM
    parts = []
    for value in across.ticks():
        at = across.at(value)
        parts.append(f'<path d="M{at:.1f},{TOP}V{bottom}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 14}" text-anchor="middle">{value:g}</text>')
    for value in up.ticks():
        at = up.at(value)
        parts.append(f'<path d="M{LEFT},{at:.1f}H{WIDTH - RIGHT}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{at + 3:.1f}" text-anchor="end">{value:g}</text>')
    return "".join(parts)
