"""A session as one HTML file that needs nothing else. Pure; its templates are in `agents_sessions.pages`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from agents_sessions.model.entries import timestamp
from agents_sessions.pages import templates
from agents_sessions.pages.shown import Reader, Shown, counted, starts_turn, utf8

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo


class HtmlWriter:
    """Writes a session as HTML.

    Raises:
        MissingExtraError: Jinja is not installed.
    """

    def __init__(self) -> None:
        self._reader = Reader()
        self._before: Shown | None = None
        self._turns = 0
        self._colours: dict[str, int] = {}
        self._scale = 1
        self._counts = ""

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:  # noqa: D102
        spent = info.context
        self._scale = max(1, 2 * spent.total_tokens // max(1, spent.turns))
        counts = [counted(spent.items, "item")]
        if spent.requests:
            counts += [counted(spent.requests, "model request"), counted(spent.total_tokens, "token")]
        self._counts = " · ".join(counts)
        return utf8(templates.begin(info.name or info.id, _facts(info), left_out))

    def page(self, entries: list[Entry]) -> bytes:  # noqa: D102
        return utf8(templates.rows([self._row(entry) for entry in entries]))

    def end(self, money: str = "") -> bytes:  # noqa: D102
        counts = f"{counted(self._turns, 'turn')} · {self._counts}{' · ' * bool(money)}{money}"
        return utf8(templates.end(self._colours, counts, any_turn=self._turns > 0))

    def _row(self, entry: Entry) -> templates.Row:
        shown = self._reader.show(entry)
        begins = starts_turn(shown, self._before)
        closes = begins and self._before is not None
        self._before = shown
        self._turns += begins
        raw, turn = templates.raw_json(entry), self._turns if begins else None
        return templates.row_of(shown, raw, self._colour(shown.agent), turn, closes=closes, scale=self._scale)

    def _colour(self, agent: str | None) -> int | None:
        if agent is None:
            return None
        return self._colours.setdefault(agent, len(self._colours) % templates.COLOURS)


def _facts(info: SessionInfo) -> list[tuple[str, str]]:
    facts = {
        "agent": info.agent_id,
        "session": info.id,
        "user": info.user_id,
        "status": info.status,
        "begun": timestamp(info.created_at)[:16].replace("T", " "),
        "last change": timestamp(info.updated_at)[:16].replace("T", " "),
        "tokens": f"{info.context.total_tokens:,}" if info.context.total_tokens else None,
    }
    return [(name, value) for name, value in facts.items() if value is not None]
