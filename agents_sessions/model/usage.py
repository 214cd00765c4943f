"""Token usage of the SDK as rows of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agents.usage import RequestUsage, Usage

    from agents_sessions.model.entries import RequestRow


class UsageMark(NamedTuple):
    """A point in the growth of a run's `Usage`, which the SDK only ever adds to."""

    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    rows: int
    """How many `request_usage_entries` there were."""

    @classmethod
    def of(cls, usage: Usage) -> UsageMark:
        """Return the point that a usage has reached."""
        return cls(usage.requests, *_tokens(usage), len(usage.request_usage_entries))


def rows_since(mark: UsageMark, usage: Usage) -> list[RequestRow]:
    """Return one row per model request that a usage has gained since a mark.

    The SDK itemises only requests that reported tokens. What it counted beyond its items (a retried request, a
    provider that reports no usage) comes as one last row, so that the rows always add up to the gain.
    """
    rows = [_row(1, *_tokens(item)) for item in usage.request_usage_entries[mark.rows :]]
    gained = [now - before for now, before in zip(UsageMark.of(usage)[:6], mark[:6], strict=True)]
    itemised = [sum(row[name] for row in rows) for name in _NAMES]  # type: ignore[literal-required]
    rest = [max(0, total - part) for total, part in zip(gained, itemised, strict=True)]
    if any(rest):
        rows.append(_row(*rest))
    return rows


_NAMES = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "total_tokens")


def _tokens(usage: Usage | RequestUsage) -> tuple[int, int, int, int, int]:
    return (
        usage.input_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
        usage.total_tokens,
    )


def _row(
    requests: int,
    input_tokens: int,
    cached_tokens: int,
    output_tokens: int,
    reasoning_tokens: int,
    total_tokens: int,
) -> RequestRow:
    return {
        "requests": requests,
        "input_tokens": input_tokens,
        "cached_tokens": cached_tokens,
        "output_tokens": output_tokens,
        "reasoning_tokens": reasoning_tokens,
        "total_tokens": total_tokens,
    }
