"""What one run leaves in the history.

A `Recorder` is the session that the Runner is given for one turn. It stores what the Runner stores, and with it
what only the run's hooks can see: which agent spoke, each model request with its tokens, and each handoff, which
an input filter would hide from the Runner's own result.

Rules that come from the SDK (openai-agents 0.24):

* `on_llm_end` is the only place that has agent, usage and response id together.
* `on_agent_end` comes before the final answer is given to the session. So the answer is kept until the turn
  ends, a moment later, and is stored in one batch with the turn's end: one write less, and never one without
  the other. Any read of the session by the Runner stores it first.
* Agents used as tools run under hooks of their own, but add to the same usage: what the usage has gained beyond
  the requests that the hooks saw is theirs.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from agents import Agent, RunHooks

from agents_sessions.concurrency.settle import settle
from agents_sessions.model.entries import Entry, item_entry, item_kind, record_entry
from agents_sessions.model.usage import NOTHING, UsageMark, rows_since, sum_rows
from agents_sessions.session import StoredSession
from agents_sessions.turns.past import lost_outputs, rolled_back, unanswered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from agents import AgentHookContext, ModelResponse, RunContextWrapper, Tool
    from agents.items import TResponseInputItem

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import DecisionRecord, HandoffRecord, Item, TurnRecord, TurnStatus
    from agents_sessions.model.usage import RequestRow
    from agents_sessions.stores.base import History, SessionStore
    from agents_sessions.turns.approvals import Continued

_INPUT_ROLES = ("user", "system", "developer")


class Recorder(StoredSession):
    """The session of one run.

    Args:
        store: Where the session is kept.
        key: The session.
        turn_id: The turn that all entries of this run belong to.
        message: What the run is given, beside what it has not stored yet of a message that came before. Kept in the
            end of a turn that fails before the Runner has stored it.
        hooks: The user's own hooks, called after ours.
        model: The model that the run config names for all agents, if it does.
        fallback_model: The model of agents that name none.
        continued: Where the run goes on, if it was paused.
        on_handoff: Called with the names of both agents when a handoff happens.
    """

    def __init__(
        self,
        store: SessionStore,
        key: SessionKey,
        turn_id: str,
        *,
        message: list[Item] | None = None,
        hooks: RunHooks[Any] | None = None,
        model: str | None = None,
        fallback_model: str | None = None,
        continued: Continued | None = None,
        on_handoff: Callable[[str, str], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(store, key, create=False)
        self.turn_id = turn_id
        self.hooks = RecorderHooks(self, hooks, on_handoff)
        self.written: list[Entry] = []
        """The entries of this run that are stored."""
        self.spent: list[RequestRow] = []
        """The model requests of this run."""
        self.agent = None if continued is None else continued.agent
        """The agent that speaks."""
        self.usage = None if continued is None else continued.usage
        """The run's own, growing usage, once a hook or a call has shown it."""
        self._continued = continued
        self._message = [*([] if continued is None else continued.message), *(message or [])]
        self._message_lost = False
        self._unseen = list(self._message)
        """What of the message the Runner has not stored yet."""
        self._asked: list[str] = []
        """The calls that the run has paused for."""
        self.held: set[str] = set() if continued is None else {*continued.held}
        """The calls that approval was asked for and that never got it."""
        self._mark = None if continued is None else continued.spent
        self._first_read = continued is None
        self._model = model
        self._fallback_model = fallback_model
        self._rows: list[RequestRow] = []
        self._handoffs: list[HandoffRecord] = []
        self._response = None if continued is None else continued.response
        self._answered = False
        self._waiting: list[Entry] = []
        """What is to be stored with the next batch."""
        self._begun = monotonic()

    # --- the Runner's side ---

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """Return the history, the run's own items included.

        A limit on the first read, the one that becomes the model's input, is moved to a user message: never is a
        call separated from its output, or a reasoning item from what follows it. Later reads, by which the SDK
        checks what it has stored, get exactly the newest items.
        """
        if wrapper is not None and self._mark is None:
            self._mark = UsageMark.of(wrapper.usage)
        await self._flush()
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        first, self._first_read = self._first_read, False
        if first and limit is not None and limit > 0:
            return await self._whole_turns(limit)
        return await super().get_items(limit)

    async def _whole_turns(self, limit: int) -> list[TResponseInputItem]:
        """Return the newest items, from a user message on: up to `limit`, or more if the newest turn is longer."""
        count = limit + 1  # one more tells whether there is anything to cut
        while True:
            items = await super().get_items(count)
            if len(items) <= limit:
                return items
            users = [place for place, item in enumerate(items) if item_kind(cast("Item", item)) == "user"]
            inside = [place for place in users if place >= len(items) - limit]
            if users or len(items) < count:
                return items[(inside[:1] or users[-1:] or [0])[0] :]
            count *= 2

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Store items of the run, with what the hooks saw since the last ones."""
        if wrapper is not None:
            self.usage = wrapper.usage
        self._waiting += [self._attributed(item) for item in cast("list[Item]", items)]
        self._note_seen()
        if not self._answered:
            await self._flush()

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> TResponseInputItem | None:
        """Remove the newest item."""
        await self._flush()
        return await super().pop_item()

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove the whole history."""
        await self._flush()
        await super().clear_session()

    # --- the turn's side ---

    async def decide(self, decision: DecisionRecord) -> None:
        """Store a decision about the calls that wait, before any of them runs: so that none can ever run twice."""
        if decision["approved"] or decision["rejected"]:
            self.held -= set(decision["approved"])
            self._waiting.append(record_entry(decision, turn=self.turn_id))
            await self._flush()

    def forget_message(self) -> None:
        """Do not keep the message in the record of the turn: it is, or its session would be, too large."""
        self._message_lost = self._message != []

    def ask(self, calls: Collection[str]) -> None:
        """Note the calls of the history that the run pauses for: so far they cannot have run."""
        self._asked = sorted(calls)
        self.held |= set(calls)

    def unanswered(self) -> dict[str, str]:
        """Return the calls of the turn that have no output in the history: types by ids."""
        return unanswered(self.written, {} if self._continued is None else self._continued.calls)

    def unstored(self) -> list[Item]:
        """Return what the run was sent, if the history does not have it."""
        return [] if any(map(self._is_message, [*self.written, *self._waiting])) else self._message

    async def finish(self, status: TurnStatus, *, last_agent: str | None = None, error: str | None = None) -> None:
        """Store what is still to be stored and, in the same batch, the end of the turn."""
        if status in ("failed", "cancelled"):
            calls = unanswered(self._waiting, self.unanswered())
            self._waiting += lost_outputs(calls, self.held, agent=self.agent, turn=self.turn_id)
        self._note_seen()
        record: TurnRecord = {
            "type": "turn",
            "status": status,
            "usage": sum_rows(self.spent).row(),
            "duration_ms": round((monotonic() - self._begun) * 1000),
        }
        agent = last_agent or self.agent
        if agent is not None:
            record["last_agent"] = agent
        if error is not None:
            record["error"] = error
        if status == "awaiting_approval":
            record["asked"] = self._asked
        if self._message_lost and self.unstored():
            record["message_lost"] = True
        elif message := self.unstored():
            record["message"] = message
        self._waiting.append(record_entry(record, turn=self.turn_id))
        await self._flush()

    async def roll_back(self, agent: str) -> None:
        """Take what the run has stored out of the history, and of what the run says that it has stored."""

        def change(history: History) -> History:
            return history.with_entries(rolled_back(history.entries, self.turn_id, agent))

        await self.store.rewrite(self.key, change)
        self.written = rolled_back(self.written, self.turn_id, agent)

    def mark(self) -> UsageMark:
        """Return how far the run's usage has grown: what a later continuation must not count again."""
        return (self._mark or UsageMark()) if self.usage is None else UsageMark.of(self.usage)

    async def _flush(self) -> None:
        """Store what waits. A cancellation is raised once it is known whether that is stored."""
        if self._waiting:
            await settle(self._store())

    async def _store(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            stored = await self.store.append(self.key, batch)
        except BaseException:
            # Items that cannot be stored end the run in another way. What it has spent is stored with that end.
            self._waiting = [*filter(_outlives_failure, batch), *self._waiting]
            raise
        self.written += stored.entries

    def _attributed(self, item: Item) -> Entry:
        """Return an item as an entry of who made it. What the run was given is of no agent, whatever it is."""
        given = item in self._unseen
        if given:
            del self._unseen[: self._unseen.index(item) + 1]
        agent = None if given or item_kind(item) in _INPUT_ROLES else self.agent
        return item_entry(item, agent=agent, turn=self.turn_id)

    def _is_message(self, entry: Entry) -> bool:
        """Tell whether an entry shows that the message is in the history.

        A run begins with storing it. One that goes on stores the outputs that were waited for first.
        """
        item = entry.get("item")
        if item is None or self._continued is None:
            return item is not None
        return item_kind(item) in _INPUT_ROLES or item in self._message

    def _note_seen(self) -> None:
        """Put the handoffs and the model requests since the last time with what waits to be stored."""
        rows, self._rows = [*self._rows, *self._nested_rows()], []
        handoffs, self._handoffs = self._handoffs, []
        self._waiting += [record_entry(handoff, agent=handoff["from"], turn=self.turn_id) for handoff in handoffs]
        if rows:
            self._waiting.append(record_entry({"type": "usage", "requests": rows}, turn=self.turn_id))
            self.spent += rows

    def _nested_rows(self) -> list[RequestRow]:
        if self.usage is None:
            return []
        gained = sum_rows(rows_since(self._mark or UsageMark(), self.usage))
        self._mark = UsageMark.of(self.usage)
        rest = (gained - sum_rows(self._rows)).at_least_zero()
        return [{**rest.row(), "nested": True}] if rest != NOTHING else []

    # --- the hooks' side ---

    def saw_agent(self, context: RunContextWrapper[Any], agent: Agent[Any]) -> None:
        """Note who speaks."""
        self.usage = context.usage
        self.agent = agent.name
        if self._handoffs:
            # An input filter left the Runner nothing to store in between: the handoff still comes before its sequel.
            self._note_seen()

    def saw_response(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """Note a model request."""
        self.saw_agent(context, agent)
        self._response = response
        row = sum_rows(rows_since(UsageMark(), response.usage)).row()
        row["agent"] = agent.name
        model = self._model or (self._fallback_model if agent.model is None else _model_name(agent))
        if model is not None:
            row["model"] = model
        if response.response_id is not None:
            row["response_id"] = response.response_id
        self._rows.append(row)

    def saw_handoff(self, source: Agent[Any], target: Agent[Any]) -> None:
        """Note a handoff."""
        record: HandoffRecord = {"type": "handoff", "from": source.name, "to": target.name}
        tool, arguments = _handoff_call(source, target, self._response)
        if tool is not None:
            record["tool"] = tool
        if arguments is not None and arguments not in ("", "{}"):
            record["arguments"] = arguments
        self._handoffs.append(record)

    def saw_answer(self) -> None:
        """Note that the run has its final output, which it will now store."""
        self._answered = True


class RecorderHooks(RunHooks[Any]):
    """Tell a recorder what happens, then the user's own hooks."""

    def __init__(
        self,
        recorder: Recorder,
        users: RunHooks[Any] | None,
        on_handoff: Callable[[str, str], Awaitable[object]] | None,
    ) -> None:
        self._recorder = recorder
        self._users = RunHooks[Any]() if users is None else users
        self._on_handoff = on_handoff

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        """See `RunHooks`."""
        self._recorder.usage = context.usage
        await self._users.on_agent_start(context, agent)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """See `RunHooks`."""
        self._recorder.saw_agent(context, agent)
        await self._users.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """See `RunHooks`."""
        self._recorder.saw_response(context, agent, response)
        await self._users.on_llm_end(context, agent, response)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        """See `RunHooks`; the SDK calls it by keyword."""
        self._recorder.saw_handoff(from_agent, to_agent)
        if self._on_handoff is not None:
            await self._on_handoff(from_agent.name, to_agent.name)
        await self._users.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        """See `RunHooks`."""
        self._recorder.saw_answer()
        await self._users.on_agent_end(context, agent, output)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        """See `RunHooks`."""
        await self._users.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object) -> None:
        """See `RunHooks`."""
        await self._users.on_tool_end(context, agent, tool, result)


def _outlives_failure(entry: Entry) -> bool:
    return "record" in entry and entry["record"]["type"] != "turn"


def _model_name(agent: Agent[Any]) -> str | None:
    if isinstance(agent.model, str):
        return agent.model
    name = getattr(agent.model, "model", None)
    return name if isinstance(name, str) else None


def _handoff_call(
    source: Agent[Any], target: Agent[Any], response: ModelResponse | None
) -> tuple[str | None, str | None]:
    """Return name and arguments of the call in a response by which a handoff was asked for."""
    from agents import Handoff, handoff

    tools = {
        (item if isinstance(item, Handoff) else handoff(item)).tool_name
        for item in source.handoffs
        if target.name in (getattr(item, "name", None), getattr(item, "agent_name", None))
    }
    for item in [] if response is None else response.output:
        if getattr(item, "type", None) == "function_call" and getattr(item, "name", None) in tools:
            return cast("Any", item).name, cast("Any", item).arguments
    return None, None
