"""What one run leaves in the history, before it is stored. Pure: no store, no SDK at run time.

The hooks and the session of a run note here what they see. The ledger turns it into entries, keeps those that wait to
be stored, and knows what the run has left open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from agents_sessions.model.entries import Entry, item_entry, item_kind, record_entry
from agents_sessions.model.usage import NOTHING, UsageMark, rows_since, sum_rows
from agents_sessions.turns.past import is_message, lost_outputs, rolled_back, unanswered

if TYPE_CHECKING:
    from agents.usage import Usage

    from agents_sessions.model.entries import DecisionRecord, HandoffRecord, Item, TurnRecord, TurnStart, TurnStatus
    from agents_sessions.model.usage import RequestRow
    from agents_sessions.shared_usage import Run

_INPUT_ROLES = ("user", "system", "developer")


@dataclass(slots=True, kw_only=True)
class Ledger:
    """The account of one run of a turn."""

    turn: str
    """The turn that all entries of the run belong to."""
    message: list[Item] = field(default_factory=list)
    """What the run is given. The record of its end keeps it if the run fails before the Runner has stored it."""
    start: TurnStart | None = None
    """How the first agent of the turn was chosen, if that is not the one that ended the turn before."""
    resumed: bool = False
    """True for a run that goes on with a turn that awaited approval."""
    agent: str | None = None
    """The agent that speaks."""
    usage: Usage | None = None
    """The run's own, growing usage, once a hook or a session call has shown it."""
    run: Run | None = None
    """What tells the share of the run in that usage, which others may grow beside it."""
    counted: UsageMark | None = None
    """How far that usage is in the history, which counts where nothing tells the share."""
    calls: dict[str, str] = field(default_factory=dict)
    """The calls that were unanswered when the run began: types by ids."""
    unapproved: set[str] = field(default_factory=set)
    """The calls that the turn asked approval for and did not get."""
    stored: list[Entry] = field(default_factory=list)
    """The entries of the run that are in the history, in order."""
    waiting: list[Entry] = field(default_factory=list)
    """The entries that go into the next batch."""
    spent: list[RequestRow] = field(default_factory=list)
    """The model requests of the run that have an entry."""
    answered: bool = False
    """True once the run has its final output, which it then gives to the session."""
    _unseen: list[Item] = field(init=False)
    """What of the message the Runner has not given to the session yet."""
    _requests: list[RequestRow] = field(init=False, default_factory=list)
    _handoffs: list[HandoffRecord] = field(init=False, default_factory=list)
    _asked: list[str] = field(init=False, default_factory=list)
    _message_lost: bool = field(init=False, default=False)
    _began: float = field(init=False, default_factory=monotonic)

    def __post_init__(self) -> None:
        self._unseen = list(self.message)

    # --- what the session sees ---

    def begin_count(self, run: Run) -> None:
        """Count what is spent from here on, unless the count has begun."""
        if self.run is None:
            self.run = run
            self.counted = self.counted or UsageMark.of(run.usage)

    def add_items(self, items: Iterable[Item]) -> None:
        """Enter items that the Runner stores, and behind them what the hooks saw since the last ones."""
        self.waiting += [self._attributed(item) for item in items]
        self._enter_seen()

    def take_batch(self) -> list[Entry]:
        """Return what waits to be stored; it waits no more."""
        batch, self.waiting = self.waiting, []
        return batch

    def enter_stored(self, entries: Iterable[Entry]) -> None:
        """Note a batch as the store has it."""
        self.stored += entries

    def put_back(self, batch: Iterable[Entry]) -> None:
        """Let a batch that could not be stored wait again, without its items.

        Items that cannot be stored end the run in another way. What it has spent is stored with that end.
        """
        self.waiting = [*filter(_survives_failure, batch), *self.waiting]

    # --- what the hooks see ---

    def see_agent(self, name: str, usage: Usage) -> None:
        """Note who speaks."""
        self.usage = usage
        self.agent = name
        if self._handoffs:
            # An input filter may leave the Runner nothing to store in between. The handoff still precedes its sequel.
            self._enter_seen()

    def see_request(self, row: RequestRow) -> None:
        """Note a model request of the run itself."""
        self._requests.append(row)

    def see_handoff(self, handoff: HandoffRecord) -> None:
        """Note a handoff."""
        self._handoffs.append(handoff)

    def see_answer(self) -> None:
        """Note that the run has its final output."""
        self.answered = True

    # --- what the turn does ---

    def decide(self, decision: DecisionRecord) -> None:
        """Enter a decision about the calls that wait."""
        self.unapproved -= set(decision["approved"])
        self.waiting.append(record_entry(decision, turn=self.turn))

    def ask(self, calls: Collection[str]) -> None:
        """Note the calls of the history that the turn asks approval for: so far they cannot have run."""
        self._asked = sorted(calls)
        self.unapproved |= set(calls)

    def forget_message(self) -> None:
        """Keep the message out of the record of the end: it is too large, or would make its session too large."""
        self._message_lost = self.message != []

    def unanswered(self) -> dict[str, str]:
        """Return the calls of the turn that have no output in the history: types by ids."""
        return unanswered(self.stored, self.calls)

    def unstored_message(self) -> list[Item]:
        """Return what the run was given, if no item has it."""
        return [] if any(map(is_message, [*self.stored, *self.waiting])) else self.message

    def unstored_requests(self) -> list[RequestRow]:
        """Return the model requests that have an entry which is not stored."""
        records = [entry["record"] for entry in self.waiting if "record" in entry]
        return [row for record in records if record["type"] == "usage" for row in record["requests"]]

    def mark(self) -> UsageMark:
        """Return how far the run's usage has grown: a resumed run counts on from there."""
        return (self.counted or UsageMark()) if self.usage is None else UsageMark.of(self.usage)

    def end(
        self,
        status: TurnStatus,
        *,
        last_agent: str | None = None,
        error: str | None = None,
        answer: str | None = None,
    ) -> None:
        """Enter the end of the turn, with all that is still to be entered before it."""
        if status != "awaiting_approval":
            calls = unanswered(self.waiting, self.unanswered())
            self.waiting += lost_outputs(calls, self.unapproved, agent=self.agent, turn=self.turn)
        self._enter_seen()
        record: TurnRecord = {
            "type": "turn",
            "status": status,
            "usage": sum_rows(self.spent).row(),
            "duration_ms": round((monotonic() - self._began) * 1000),
        }
        if (agent := last_agent or self.agent) is not None:
            record["last_agent"] = agent
        if self.start is not None:
            record["start"] = self.start
        if answer is not None:
            record["answer"] = answer
        if error is not None:
            record["error"] = error
        if status == "awaiting_approval":
            record["asked"] = self._asked
        self._keep_message(record)
        self.waiting.append(record_entry(record, turn=self.turn))

    def roll_back(self, agent: str) -> None:
        """Take out of what is stored what a rollback took out of the history."""
        self.stored = rolled_back(self.stored, self.turn, agent)

    # --- inside ---

    def _keep_message(self, record: TurnRecord) -> None:
        message = self.unstored_message()
        if message and self._message_lost:
            record["message_lost"] = True
        elif message:
            record["message"] = message

    def _attributed(self, item: Item) -> Entry:
        """Return an item as an entry of who made it. What the run was given is of no agent, whatever it is."""
        given = item in self._unseen
        if given:
            del self._unseen[: self._unseen.index(item) + 1]
        agent = None if given or item_kind(item) in _INPUT_ROLES else self.agent
        return item_entry(item, agent=agent, turn=self.turn)

    def _enter_seen(self) -> None:
        """Enter the handoffs and the model requests since the last time."""
        rows, self._requests = [*self._requests, *self._nested_requests()], []
        handoffs, self._handoffs = self._handoffs, []
        self.waiting += [record_entry(handoff, agent=handoff["from"], turn=self.turn) for handoff in handoffs]
        if rows:
            self.waiting.append(record_entry({"type": "usage", "requests": rows}, turn=self.turn))
            self.spent += rows

    def _nested_requests(self) -> list[RequestRow]:
        """Return what agents used as tools have spent: what the usage has gained beyond the requests of the run."""
        if self.usage is None:
            return []
        gained = sum_rows(rows_since(self.counted or UsageMark(), self.usage) if self.run is None else self.run.take())
        self.counted = UsageMark.of(self.usage)
        rest = (gained - sum_rows(self._requests)).at_least_zero()
        return [{**rest.row(), "nested": True}] if rest != NOTHING else []


def lost_spend(rows: Iterable[RequestRow]) -> Entry:
    """Return the account of a turn that has lost its session, for beside the turn that may have it now.

    Its requests say nothing of what the model sees, or of who speaks: so they count as those of nested runs do.
    """
    requests: list[RequestRow] = [{**row, "nested": True} for row in rows]
    return record_entry({"type": "usage", "requests": requests, "lost": True})


def _survives_failure(entry: Entry) -> bool:
    return "record" in entry and entry["record"]["type"] != "turn"
