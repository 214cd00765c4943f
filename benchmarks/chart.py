"""Line charts as SVG: sizes across on a logarithmic axis, figures upwards from zero."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 420, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 34, 72
_COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#57606a")


class Line(NamedTuple):
    """One line, with its name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """One picture."""

    title: str
    across: str
    upwards: str
    lines: Sequence[Line]

    @property
    def top(self) -> float:
        """The upper end of its axis: a round number above all points."""
        most = max(value for line in self.lines for _, value in line.points)
        unit: float = 10.0 ** math.floor(math.log10(most))
        return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= most)

    @property
    def sizes(self) -> list[float]:
        """The marks of its axis across."""
        return sorted({size for line in self.lines for size, _ in line.points})


def svg(charts: Sequence[Chart]) -> str:
    """Return pictures side by side as one SVG document. A line of one name has one colour in all of them."""
    names = dict.fromkeys(line.name for chart in charts for line in chart.lines)
    colours = dict(zip(names, _COLOURS, strict=False))
    parts = [
        f'<g transform="translate({place * _WIDTH} 0)">{_picture(chart, colours)}</g>'
        for place, chart in enumerate(charts)
    ]
    size = f'width="{_WIDTH * len(charts)}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH * len(charts)} {_HEIGHT}"'
    style = 'font-family="system-ui, sans-serif" font-size="11" fill="#57606a"'
    # A background of its own, because a page may be dark where the picture is shown.
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{background}{"".join(parts)}</svg>'


def _picture(chart: Chart, colours: Mapping[str, str]) -> str:
    across = _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 32, chart.across, extra='text-anchor="middle"')
    return "".join(
        [
            _text(_LEFT, 18, chart.title, extra='font-size="13" fill="#1f2328"'),
            _text(_WIDTH - _RIGHT, 18, chart.upwards, extra='text-anchor="end"'),
            *(_grid(chart, chart.top * share) for share in (0, 0.25, 0.5, 0.75, 1)),
            *(_mark(chart, size) for size in chart.sizes),
            across,
            *(_line(chart, line, colours[line.name]) for line in chart.lines),
            *(_legend(place, line.name, colours[line.name]) for place, line in enumerate(chart.lines)),
        ]
    )


def _x(chart: Chart, size: float) -> float:
    low, high = math.log10(chart.sizes[0]), math.log10(chart.sizes[-1])
    share = (math.log10(size) - low) / (high - low) if high > low else 0.5
    return _LEFT + 12 + share * (_WIDTH - _LEFT - _RIGHT - 24)


def _y(chart: Chart, value: float) -> float:
    return _HEIGHT - _BOTTOM - value / chart.top * (_HEIGHT - _TOP - _BOTTOM)


def _grid(chart: Chart, value: float) -> str:
    y = _y(chart, value)
    rule = f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#d0d7de" stroke-width="0.5"/>'
    return rule + _text(_LEFT - 6, y + 4, f"{value:.3g}", extra='text-anchor="end"')


def _mark(chart: Chart, size: float) -> str:
    return _text(_x(chart, size), _HEIGHT - _BOTTOM + 16, f"{size:,.0f}", extra='text-anchor="middle"')


def _line(chart: Chart, line: Line, colour: str) -> str:
    places = [(_x(chart, size), _y(chart, value)) for size, value in sorted(line.points)]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places)
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.8"/>{dots}'


def _legend(place: int, name: str, colour: str) -> str:
    x, y = _LEFT + place % 2 * 170, _HEIGHT - 22 + place // 2 * 15
    return f'<rect x="{x}" y="{y - 8}" width="10" height="8" fill="{colour}"/>' + _text(x + 15, y, name)


def _text(x: float, y: float, text: str, *, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{escape(text)}</text>'
