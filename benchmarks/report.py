"""Figures as a Markdown table, and as JSON."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from benchmarks.contenders import FLOOR, NAIVE, OURS, SQLITE
from benchmarks.measure import Figure

_COLUMNS = (OURS.name, SQLITE.name, NAIVE.name, FLOOR.name)
_FORMS = {
    "ms": (1e3, "ms"),
    "s": (1, "s"),
    "turns/s": (1, "/s"),
    "items": (1, "items"),
    "B": (1, "B"),
    "MB": (1e-6, "MB"),
    "MB/s": (1e-6, "MB/s"),
}


@dataclass(slots=True)
class Row:
    """One case."""

    case: str
    unit: Literal["ms", "s", "turns/s", "items", "B", "MB", "MB/s"]
    figures: dict[str, Figure]
    goal: float | None = None
    goal_is: Literal["at most", "at least"] = "at most"
    against: str = SQLITE.name
    """What the ratio is to: a column, or the seconds of a fixed bound."""
    bound: float | None = None
    """A fixed bound in place of a rival, in the unit's base."""
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours divided by theirs, of medians."""
        theirs = self.figures.get(self.against)
        return self.figures[OURS.name].median / theirs.median if theirs is not None else None

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None if there is none, or if the quartiles lie on both sides of it."""
        goal = self.goal if self.bound is None else self.bound
        spread = self._spread()
        if spread is None or goal is None or spread[0] <= goal < spread[1]:
            return None
        return spread[1] <= goal if self.goal_is == "at most" else spread[0] >= goal

    def _spread(self) -> tuple[float, float] | None:
        """Return between what the value lies that the goal is for, as far as the quartiles of both sides say."""
        ours, theirs = self.figures[OURS.name], self.figures.get(self.against)
        if self.bound is not None:
            return ours.low, ours.high
        return None if theirs is None else (ours.low / theirs.high, ours.high / theirs.low)


def environment(file_system: str) -> str:
    """Return the machine in a line."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sdk = version("openai-agents")
    system = f"{platform.system()}, {cpus} x {_processor()}, {file_system}, load {os.getloadavg()[0]:.1f}"
    return f"Python {platform.python_version()}, openai-agents {sdk}, {system}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def table(rows: Iterable[Row]) -> str:
    """Return the Markdown table."""
    head = ["case", *_COLUMNS, "ratio", "goal", "met"]
    lines = [head, ["---", *["---:"] * (len(head) - 2), "---"], *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> Sequence[str]:
    figures = [_show(row.figures.get(name), row.unit) for name in _COLUMNS]
    ratio = "" if row.ratio is None else f"**{row.ratio:.2f}**"
    met = {True: "yes", False: "**no**", None: "" if row.goal is None and row.bound is None else "noise"}[row.met]
    return [row.case, *figures, ratio, _goal(row), met]


def _goal(row: Row) -> str:
    sign = "≤" if row.goal_is == "at most" else "≥"
    if row.bound is not None:
        scale, unit = _FORMS[row.unit]
        return f"{sign} {row.bound * scale:g} {unit}"
    return "" if row.goal is None else f"{sign} {row.goal:g}"


def _show(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    scale, name = _FORMS[unit]
    median, low, high = (_digits(value * scale) for value in figure[:3])
    return f"{median} {name}" if low == high else f"{median} ({low} to {high}) {name}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_json(rows: Iterable[Row], environment: str) -> dict[str, Any]:
    """Return all figures, in seconds, bytes and turns per second."""
    return {"environment": environment, "rows": [{**_plain(row), "ratio": row.ratio, "met": row.met} for row in rows]}


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "figures": {name: figure._asdict() for name, figure in row.figures.items()}}
