"""A look at a store as Markdown for a bug report: numbers and codes, no ids, no names and no content."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from agents_sessions.model.findings import MEANINGS

if TYPE_CHECKING:
    from agents_sessions.model.findings import Finding
    from agents_sessions.model.info import SessionInfo

_PACKAGES = ("agents-sessions", "openai-agents", "openai", "pydantic", "msgspec")
_SEVERITIES = ("error", "warning", "info")


@dataclass(slots=True)
class Census:
    """How many sessions there are, and how large."""

    store: str
    statuses: Counter[str] = field(default_factory=Counter)
    items: int = 0
    largest: int = 0
    bytes: int = 0
    trashed: int = 0

    def count(self, info: SessionInfo) -> None:
        """Count a session."""
        self.statuses[info.status] += 1
        self.items += info.context.items
        self.largest = max(self.largest, info.context.items)


def markdown(census: Census, findings: Sequence[Finding]) -> str:
    """Return the report."""
    lines = ["# agents-sessions: diagnostics", "", *_table(("what", "value"), _facts(census)), "", "## Findings", ""]
    lines += _table(("severity", "code", "how many", "means"), _counted(findings)) if findings else ["None."]
    return "\n".join([*lines, ""])


def _facts(census: Census) -> list[tuple[str, str]]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(census.statuses.items()))
    return [
        *((name, _version(name)) for name in _PACKAGES),
        ("Python", platform.python_version()),
        ("system", f"{platform.system()} {platform.release()}"),
        ("store", census.store),
        ("sessions", f"{census.statuses.total():,}" + (f" ({statuses})" if statuses else "")),
        ("in the trash", f"{census.trashed:,}"),
        ("items", f"{census.items:,}, at most {census.largest:,} in one session"),
        ("bytes", f"{census.bytes:,}"),
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _counted(findings: Sequence[Finding]) -> list[tuple[str, str, str, str]]:
    counts = Counter(finding.code for finding in findings)
    codes = sorted(counts, key=lambda code: (_SEVERITIES.index(MEANINGS[code].severity), code))
    return [(MEANINGS[code].severity, f"`{code}`", f"{counts[code]:,}", MEANINGS[code].means) for code in codes]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
