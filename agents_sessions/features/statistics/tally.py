"""The spend of sessions, added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Any

from agents_sessions.features.statistics.figures import HandoffCount, SessionShare, Share, ToolUse
from agents_sessions.features.statistics.money import Account, money_of
from agents_sessions.features.statistics.report import Report, SessionStatistics
from agents_sessions.model.entries import parse_time

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import PriceBook
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.spend import Line, SessionSpend, Spend, Sums

_ROLES = ("user", "assistant", "system", "developer", "tool")


class _Top:
    """The sessions with most of something. The others are let go at once: ten thousand of them are much to hold."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, SessionSpend]] = []

    def see(self, amount: int, number: int, session: SessionSpend) -> None:
        """Note how much a session has. Of two with as much, the one with the smaller number comes first."""
        if not amount:
            return
        if len(self._heap) < self._size:
            heappush(self._heap, (amount, -number, session))
        elif self._heap and amount > self._heap[0][0]:
            heapreplace(self._heap, (amount, -number, session))

    def sessions(self) -> list[SessionSpend]:
        """Return them in order."""
        return [session for _, _, session in sorted(self._heap, key=lambda each: each[:2], reverse=True)]


class Tally:
    """What sessions have done and spent, one after the other.

    It stands in the way of ten thousand sessions: what can wait until all are there is done in `report`. Requests are
    added up by line before they are grouped, since many sessions have few days, agents and models between them.

    Args:
        book: What models cost.
        top: How many sessions the lists of the largest and the dearest have.
    """

    def __init__(self, book: PriceBook, top: int) -> None:
        self._book = book
        self._sessions = 0
        self._largest = _Top(top)
        self._dearest = _Top(top)
        self._lines: dict[Line, Sums] = {}
        self._users: dict[str | None, Account] = {}
        self._unreadable: list[SessionKey] = []
        self._counts: dict[str, dict[str, int]] = {name: {} for name in _COUNTS}
        self._handoffs: dict[tuple[str, str], int] = {}
        self._handoff_tools: set[str] = set()
        self._awaiting = 0
        self._turn_ms = 0

    def add(self, session: SessionSpend) -> None:
        """Add one session."""
        spend = session.spend
        if spend is None:
            self._unreadable.append(session.key)
            return
        self._add_counts(spend)
        self._sessions += 1
        user = self._users.get(session.user_id)
        if user is None:
            user = self._users[session.user_id] = Account()
        tokens = money = 0
        for line, sums in spend.lines:
            before = self._lines.get(line)
            self._lines[line] = sums if before is None else before.plus(sums)
            cost = money_of(line, sums, self._book)
            user.add(line, sums, cost)
            tokens += sums.total_tokens
            money += cost or 0
        self._largest.see(tokens, self._sessions, session)
        self._dearest.see(money, self._sessions, session)

    def report(self) -> Report:
        """Return what all of them have done and spent."""
        return Report(
            **self._figures(),
            sessions=self._sessions,
            by_user=_by_tokens(self._users),
            largest=tuple(map(self._share, self._largest.sessions())),
            dearest=tuple(map(self._share, self._dearest.sessions())),
            unreadable=tuple(key.session_id for key in self._unreadable),
        )

    def of_session(self, info: SessionInfo, spend: Spend) -> SessionStatistics:
        """Return what the one session that was added has done and spent."""
        first, last = spend.first_at, spend.last_at
        return SessionStatistics(
            **self._figures(),
            id=info.id,
            agent_id=info.agent_id,
            user_id=info.user_id,
            name=info.name,
            wall_time=parse_time(last) - parse_time(first) if first and last else timedelta(0),
            context_tokens=info.context.context_tokens,
            inherited_entries=spend.inherited,
        )

    def _add_counts(self, spend: Spend) -> None:
        for name, counts in self._counts.items():
            if found := getattr(spend, name):
                for key, count in found.items():
                    counts[key] = counts.get(key, 0) + count
        for source, target, count in spend.handoffs:
            self._handoffs[source, target] = self._handoffs.get((source, target), 0) + count
        self._handoff_tools.update(spend.handoff_tools)
        self._awaiting += spend.awaiting
        self._turn_ms += spend.turn_ms

    def _figures(self) -> dict[str, Any]:
        """Return the fields of `Figures`."""
        items, whole = self._counts["items"], self._account(self._lines.items())
        nested = self._account((line, sums) for line, sums in self._lines.items() if line.nested)
        return {
            "messages": {role: items[role] for role in _ROLES if role in items},
            "other_items": {kind: count for kind, count in _most_first(items) if kind not in _ROLES},
            "tools": self._tools(),
            "handoffs": tuple(
                HandoffCount(from_agent=source, to_agent=target, count=count)
                for (source, target), count in _most_first(self._handoffs)
            ),
            "turns": dict(_most_first(self._counts["turns"])),
            "awaiting_approval": self._awaiting,
            "failures": dict(_most_first(self._counts["failures"])),
            "turn_time": timedelta(milliseconds=self._turn_ms),
            "model_time": timedelta(milliseconds=whole.sums.model_ms),
            "usage": whole.usage(),
            "nested": nested.usage(),
            "by_agent": _by_tokens(self._grouped(lambda line: line.agent)),
            "by_model": _by_tokens(self._grouped(lambda line: line.model)),
            "by_day": tuple(sorted(_by_tokens(self._grouped(lambda line: line.day)), key=lambda day: day.name or "")),
            "cost": whole.cost(),
            "price_list": self._book.source,
        }

    def _tools(self) -> tuple[ToolUse, ...]:
        errors = self._counts["errors"]
        return tuple(
            ToolUse(name=name, calls=count, errors=errors.get(name, 0))
            for name, count in _most_first(self._counts["calls"])
            if name not in self._handoff_tools
        )

    def _grouped(self, group: Callable[[Line], str | None]) -> dict[str | None, Account]:
        """Return what was spent, by something that lines have in common."""
        found: dict[str | None, list[tuple[Line, Sums]]] = {}
        for line, sums in self._lines.items():
            found.setdefault(group(line), []).append((line, sums))
        return {name: self._account(lines) for name, lines in found.items()}

    def _account(self, lines: Iterable[tuple[Line, Sums]]) -> Account:
        account = Account()
        for line, sums in lines:
            account.add(line, sums, money_of(line, sums, self._book))
        return account

    def _share(self, session: SessionSpend) -> SessionShare:
        key, account = session.key, self._account([] if session.spend is None else session.spend.lines)
        return SessionShare(
            id=key.session_id,
            agent_id=key.agent_id,
            user_id=session.user_id,
            name=session.name,
            usage=account.usage(),
            cost=account.cost(),
        )


_COUNTS = ("items", "calls", "errors", "turns", "failures")
"""What of a spend is added up by name."""


def _most_first(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _by_tokens(accounts: Mapping[str | None, Account]) -> tuple[Share, ...]:
    ordered = sorted(accounts.items(), key=lambda each: (-each[1].sums.total_tokens, each[0] or ""))
    return tuple(Share(name=name, usage=account.usage(), cost=account.cost()) for name, account in ordered)
