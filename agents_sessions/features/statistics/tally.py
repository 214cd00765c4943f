"""The spend of sessions, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

from agents_sessions.features.statistics.figures import (
    HandoffCount,
    SessionShare,
    Share,
    ToolUse,
)
from agents_sessions.features.statistics.money import Account, micros_of
from agents_sessions.features.statistics.report import Report, SessionStatistics
from agents_sessions.model.entries import parse_time

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import PriceBook
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.spend import Line, SessionSpend, Spend, Sums

_ROLES = ("user", "assistant", "system", "developer", "tool")


class _Spender(NamedTuple):
    """A session, and what it has spent."""

    key: SessionKey
    user_id: str | None
    name: str | None
    account: Account

    def share(self) -> SessionShare:
        """Return it as users see it."""
        key, account = self.key, self.account
        return SessionShare(
            id=key.session_id,
            agent_id=key.agent_id,
            user_id=self.user_id,
            name=self.name,
            usage=account.usage(),
            cost=account.cost(),
        )


class Tally:
    """What sessions have done and spent, one after the other.

    Requests are added up by line before they are priced and grouped: ten thousand sessions have few days, agents and
    models between them.

    Args:
        book: What models cost.
        top: How many sessions the lists of the largest and the dearest have.
    """

    def __init__(self, book: PriceBook, top: int) -> None:
        self._book = book
        self._top = top
        self._lines: dict[Line, Sums] = {}
        self._users: dict[str | None, Account] = {}
        self._spenders: list[_Spender] = []
        self._unreadable: list[SessionKey] = []
        self._counts: dict[str, Counter[Any]] = {name: Counter() for name in _COUNTS}
        self._handoff_tools: set[str] = set()
        self._awaiting = 0
        self._turn_ms = 0

    def add(self, session: SessionSpend) -> None:
        """Add one session."""
        if session.spend is None:
            self._unreadable.append(session.key)
            return
        self._add_counts(session.spend)
        account = Account()
        user = self._users.setdefault(session.user_id, Account())
        for line, sums in session.spend.lines.items():
            before = self._lines.get(line)
            self._lines[line] = sums if before is None else before.plus(sums)
            micros = micros_of(line, sums, self._book)
            account.add(line, sums, micros)
            user.add(line, sums, micros)
        self._spenders.append(_Spender(session.key, session.user_id, session.name, account))

    def report(self) -> Report:
        """Return what all of them have done and spent."""
        spenders = self._spenders
        largest = nlargest(self._top, spenders, key=lambda each: each.account.sums.total_tokens)
        dearest = nlargest(self._top, spenders, key=lambda each: each.account.micros or Decimal(0))
        return Report(
            **self._figures(),
            sessions=len(spenders),
            by_user=_by_tokens(self._users),
            largest=tuple(each.share() for each in largest if each.account.sums.requests),
            dearest=tuple(each.share() for each in dearest if each.account.micros),
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
        for name, counter in self._counts.items():
            for key, count in getattr(spend, name).items():
                counter[key] += count
        self._handoff_tools |= spend.handoff_tools
        self._awaiting += spend.awaiting
        self._turn_ms += spend.turn_ms

    def _figures(self) -> dict[str, Any]:
        """Return the fields of `Figures`."""
        items, whole = self._counts["items"], self._account(lambda _: None).get(None, Account())
        nested = self._account(lambda line: line.nested).get(True, Account())
        return {
            "messages": {role: items[role] for role in _ROLES if items[role]},
            "other_items": {kind: count for kind, count in items.most_common() if kind not in _ROLES},
            "tools": self._tools(),
            "handoffs": tuple(
                HandoffCount(from_agent=source, to_agent=target, count=count)
                for (source, target), count in self._counts["handoffs"].most_common()
            ),
            "turns": dict(self._counts["turns"].most_common()),
            "awaiting_approval": self._awaiting,
            "failures": dict(self._counts["failures"].most_common()),
            "turn_time": timedelta(milliseconds=self._turn_ms),
            "model_time": timedelta(milliseconds=whole.sums.model_ms),
            "usage": whole.usage(),
            "nested": nested.usage(),
            "by_agent": _by_tokens(self._account(lambda line: line.agent)),
            "by_model": _by_tokens(self._account(lambda line: line.model)),
            "by_day": tuple(sorted(_by_tokens(self._account(lambda line: line.day)), key=lambda day: day.name or "")),
            "cost": whole.cost(),
            "price_list": self._book.source,
        }

    def _tools(self) -> tuple[ToolUse, ...]:
        calls, errors = self._counts["calls"], self._counts["errors"]
        return tuple(
            ToolUse(name=name, calls=count, errors=errors[name])
            for name, count in calls.most_common()
            if name not in self._handoff_tools
        )

    def _account(self, group: Callable[[Line], Any]) -> dict[Any, Account]:
        """Return what was spent, by something that lines have in common."""
        found: dict[Any, Account] = {}
        for line, sums in self._lines.items():
            account = found.setdefault(group(line), Account())
            account.add(line, sums, micros_of(line, sums, self._book))
        return found


_COUNTS = ("items", "calls", "errors", "handoffs", "turns", "failures")
"""What of a spend is added up by name."""


def _by_tokens(accounts: Mapping[str | None, Account]) -> tuple[Share, ...]:
    ordered = sorted(accounts.items(), key=lambda each: (-each[1].sums.total_tokens, each[0] or ""))
    return tuple(Share(name=name, usage=account.usage(), cost=account.cost()) for name, account in ordered)
