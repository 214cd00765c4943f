"""Statistics as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from agents_sessions.features.statistics.prices import EXTRA

if TYPE_CHECKING:
    from agents_sessions.features.statistics.figures import (
        Cost,
        Figures,
        SessionShare,
        Share,
    )

UNNAMED = "(not recorded)"
NOTHING = "-"


def sections(figures: Figures) -> list[str]:
    """Return what every page about figures has."""
    usage = figures.usage
    return [
        _money(figures),
        table(
            ["Requests", "Input", "cached", "written to cache", "Output", "reasoning", "by agents used as tools"],
            [
                [
                    f"{usage.requests:,}",
                    f"{usage.input_tokens:,}",
                    f"{usage.cached_tokens:,}",
                    f"{usage.cache_write_tokens:,}",
                    f"{usage.output_tokens:,}",
                    f"{usage.reasoning_tokens:,}",
                    f"{figures.nested.total_tokens:,}",
                ]
            ],
        ),
        table(
            ["Turns", "Time", "of it in models", "Messages", "Other items"],
            [
                [
                    _counts({**figures.turns, "awaiting approval": figures.awaiting_approval}),
                    duration(figures.turn_time),
                    duration(figures.model_time),
                    _counts(figures.messages),
                    _counts(figures.other_items),
                ]
            ],
        ),
        _rows("Turns ended by", ["Error", "Turns"], figures.failures.items()),
        shares("Agent", figures.by_agent),
        shares("Model", figures.by_model),
        shares("Day", figures.by_day),
        _rows("Tools", ["Tool", "Calls", "Errors"], [list(dict(tool).values()) for tool in figures.tools]),
        _rows(
            "Handoffs",
            ["From", "To", "Times"],
            [(each.from_agent, each.to_agent, each.count) for each in figures.handoffs],
        ),
    ]


def _money(figures: Figures) -> str:
    cost, prices = figures.cost, figures.price_list or f"no price list is installed ({EXTRA})"
    if not figures.usage.requests:
        return "No model was asked."
    said = [f"**{dollars(cost)}**, pricing coverage {cost.coverage} % of the tokens ({prices})."]
    if cost.unpriced:
        said.append(f"Without a price: {', '.join(map(in_line, cost.unpriced))}.")
    if cost.unreported_requests:
        said.append(f"{cost.unreported_requests:,} requests whose tokens were not reported are not in it.")
    return " ".join(said)


def dollars(cost: Cost) -> str:
    """Return an amount for people: in cents, or as exactly as a small one needs."""
    if cost.usd is None:
        return "price unknown"
    whole = cost.usd == 0 or cost.usd >= 1
    shown = cost.usd.quantize(Decimal("0.01") if whole else Decimal("0.000001"), ROUND_HALF_UP)
    part = "" if not (cost.unpriced or cost.unreported_requests) else "more than "
    return f"{part}${shown:,}"


def shares(what: str, found: Sequence[Share]) -> str:
    """Return who or what has spent how much."""
    rows = [
        (share.name or UNNAMED, f"{share.usage.requests:,}", f"{share.usage.total_tokens:,}", dollars(share.cost))
        for share in found
    ]
    return _rows(f"By {what.lower()}", [what, "Requests", "Tokens", "Cost"], rows)


def top(title: str, found: Sequence[SessionShare]) -> str:
    """Return the sessions that come first in something."""
    rows = [
        (share.id, share.name or NOTHING, share.agent_id, f"{share.usage.total_tokens:,}", dollars(share.cost))
        for share in found
    ]
    return _rows(title, ["Session", "Name", "Agent", "Tokens", "Cost"], rows)


def _rows(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    found = list(rows)
    return f"## {title}\n\n{table(heads, found)}" if found else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(in_line(str(cell)) for cell in line)} |" for line in lines)


def in_line(text: str) -> str:
    """Return a text that stays in its cell, whatever a user has named a session."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0"


def duration(span: timedelta) -> str:
    """Return a time as one reads it."""
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def page(parts: Iterable[str]) -> str:
    """Return the parts that say something, one below the other."""
    return "\n\n".join(filter(None, parts)) + "\n"
