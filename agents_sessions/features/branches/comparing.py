"""What two branches have in common, and what each has beyond it. Pure but for the reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict

from agents_sessions.model.turn_list import TurnInfo, TurnSpan, spans, turn_info
from agents_sessions.model.view import NOTHING_HIDDEN, kept

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Item
    from agents_sessions.stores.base import SessionStore


class BranchDiff(BaseModel):
    """Two branches, side by side."""

    model_config = ConfigDict(frozen=True)

    common_turns: int
    """How many turns they have in common, from the beginning on."""
    common_until: int
    """The number of the last entry of these in the first branch; 0 if there is none."""
    only_in_a: tuple[TurnInfo, ...]
    """The turns that the first one has beyond that."""
    only_in_b: tuple[TurnInfo, ...]
    """The turns that the second one has beyond that."""

    @property
    def are_equal(self) -> bool:
        """Whether both say the same."""
        return not self.only_in_a and not self.only_in_b


class Sides(NamedTuple):
    """The turns of two branches, without what was taken back, and how many they have in common."""

    a: list[TurnSpan]
    b: list[TurnSpan]
    common: int

    @property
    def until(self) -> int:
        """The last number, in the first one, of what they have in common."""
        return max((span.last for span in self.a[: self.common]), default=0)


async def sides(store: SessionStore, a: SessionKey, b: SessionKey) -> Sides:
    """Read two branches, and find where they part."""
    left, right = await _turns_of(store, a), await _turns_of(store, b)
    pairs = enumerate(zip(left, right, strict=False))
    parted = next((place for place, (one, other) in pairs if _items(one) != _items(other)), None)
    return Sides(left, right, min(len(left), len(right)) if parted is None else parted)


def diff_of(found: Sides) -> BranchDiff:
    """Return two branches as users see them side by side."""
    return BranchDiff(
        common_turns=found.common,
        common_until=found.until,
        only_in_a=tuple(turn_info(span, NOTHING_HIDDEN) for span in found.a[found.common :]),
        only_in_b=tuple(turn_info(span, NOTHING_HIDDEN) for span in found.b[found.common :]),
    )


async def _turns_of(store: SessionStore, key: SessionKey) -> list[TurnSpan]:
    return [span for span in spans(kept(await store.entries(key))) if _items(span)]


def _items(span: TurnSpan) -> list[Item]:
    return [entry["item"] for entry in span.entries if "item" in entry]
