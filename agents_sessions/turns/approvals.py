"""A turn that awaits approval, kept beside the session so that any process can resume it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agents_sessions.errors import InvalidDecisionError, SessionCorruptedError
from agents_sessions.model.calls import call_id_of
from agents_sessions.model.history import invalid_fields
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json
from agents_sessions.model.usage import UsageMark  # noqa: TC001 -- a field of a pydantic model
from agents_sessions.run_states import RUN_STATE
from agents_sessions.turns.ends import awaits_approval
from agents_sessions.turns.ledger import Ledger
from agents_sessions.turns.past import unanswered
from agents_sessions.turns.sdk_internals import set_max_turns, wrapper_of

if TYPE_CHECKING:
    from agents import Agent, RunResult, RunResultStreaming
    from agents.items import ToolApprovalItem
    from agents.run_state import RunState

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import DecisionRecord, Entry, Item
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.request import Decisions


class PendingApproval(BaseModel):
    """A tool call that waits for a decision."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    tool: str
    arguments: str = ""
    """What the model wants to call the tool with: the JSON text, or for a custom tool the text, that it wrote. For a
    shell or a patch, the commands or the change as JSON text."""
    agent: str
    """The agent that asks."""


class AwaitingTurn(BaseModel):
    """A turn that awaits approval: what is kept of it beside its session."""

    model_config = ConfigDict(frozen=True)

    turn: str
    """The turn's id."""
    agent: str
    """The agent that it started with: the root from which the SDK finds the others again."""
    spent: UsageMark
    """What the run had spent when it stopped to ask. The usage of the resumed run counts on from there."""
    approvals: list[PendingApproval]
    calls: dict[str, str]
    """The unanswered calls of the history: types by ids. For an approval inside an agent used as a tool, that is the
    call of the agent."""
    unapproved: list[str]
    """The calls that the turn asked approval for and did not get."""
    message: list[dict[str, Any]]
    """What the turn was sent while it waited, if it asked again before the Runner had stored that."""
    state: dict[str, Any]
    """The SDK's own run state."""

    @classmethod
    def of(cls, ledger: Ledger, agent: Agent[Any], result: RunResult | RunResultStreaming) -> AwaitingTurn:
        """Return what is to be kept of an interrupted run, which started with `agent`."""
        return cls(
            turn=ledger.turn,
            agent=agent.name,
            spent=ledger.mark(),
            approvals=[pending_approval(item) for item in result.interruptions],
            calls=ledger.unanswered(),
            unapproved=sorted(ledger.unapproved),
            message=ledger.unstored_message(),
            state=_without_contexts(result.to_state().to_json()),
        )

    @property
    def call_ids(self) -> tuple[str, ...]:
        """The calls that wait."""
        return tuple(approval.call_id for approval in self.approvals)

    async def save(self, store: SessionStore, lock: TurnLock) -> None:
        """Keep it beside the session.

        Raises:
            ValueError: A tool's input holds what JSON cannot carry.
        """
        data = self.model_dump(mode="json")
        check_json(data)
        await store.write_sidecar(lock.key, RUN_STATE, encode_json(data), turn=lock)

    async def restore_state(self, agent: Agent[Any], context: Any, max_turns: int | None) -> RunState[Any, Any]:
        """Return the SDK's run state, for agents that are found from this one on.

        `max_turns` counts from the start of the turn; None leaves the number that the turn started with.
        """
        from agents.run_state import RunState  # here: to see what waits, nobody needs the SDK

        state = await RunState.from_json(agent, self.state, context_override=context)
        if max_turns is not None:
            set_max_turns(state, max_turns)
        return state

    def calls_missing_in(self, state: RunState[Any, Any]) -> list[str]:
        """Return the calls that wait and that a restored state does not ask about."""
        asked = Counter(_call_id(item) for item in state.get_interruptions())
        return sorted((Counter(self.call_ids) - asked).elements())

    def restore_ledger(self, state: RunState[Any, Any], last_agent: str | None, message: list[Item]) -> Ledger:
        """Return the account of the run that goes on, with `last_agent` first and perhaps with a message."""
        wrapper = wrapper_of(state)
        return Ledger(
            turn=self.turn,
            message=[*self.message, *message],
            resumed=True,
            agent=last_agent,
            usage=None if wrapper is None else wrapper.usage,
            counted=self.spent,
            calls=dict(self.calls),
            unapproved=set(self.unapproved),
        )

    def is_asked_in(self, entries: Sequence[Entry]) -> bool:
        """Tell whether its calls stand in some entries as they were made, and without outputs."""
        if not set(self.calls) <= set(unanswered(entries)):
            return False
        asked = {call_id_of(entry["item"]): entry["item"] for entry in entries if "item" in entry}
        return all(self._is_as_asked(asked[call_id]) for call_id in set(self.calls) & set(self.unapproved))

    def _is_as_asked(self, call: Item) -> bool:
        wanted = call.get("arguments", call.get("input"))
        shown = [approval.arguments for approval in self.approvals if approval.call_id == call_id_of(call)]
        return not isinstance(wanted, str) or wanted in shown


async def load_awaiting(store: SessionStore, info: SessionInfo) -> AwaitingTurn | None:
    """Return the turn of a session that awaits approval, or None.

    The history decides: a state that an ended or resumed turn has left behind does not count, nor one whose calls
    were taken back, edited or answered.

    Raises:
        SessionCorruptedError: What is kept of it is damaged.
    """
    if not awaits_approval(info):
        return None
    data = await store.read_sidecar(info.key, RUN_STATE)
    if data is None:
        return None
    try:
        awaiting = AwaitingTurn.model_validate(decode_json(data))
    except ValidationError as error:
        reason = f"invalid value of {invalid_fields(error)}"
    except ValueError as error:
        reason = str(error)
    else:
        return awaiting if await _is_asked(awaiting, store, info.key) else None
    # Raise outside the handlers: the caught error contains the file's content, and would be chained to ours.
    reason = f"the turn that waits for approval cannot be used ({reason}); manager.give_up(id) ends it"
    raise SessionCorruptedError(info.key, RUN_STATE, reason)


async def _is_asked(awaiting: AwaitingTurn, store: SessionStore, key: SessionKey) -> bool:
    count = 16
    while True:
        entries = await store.entries(key, limit=count)
        if awaiting.is_asked_in(entries):
            return True
        if len(entries) < count:
            return False
        count *= 4


def asked_for(result: RunResult | RunResultStreaming) -> set[str]:
    """Return the run's own calls that wait for approval, without those inside agents used as tools."""
    return {_call_id(item) for item in result.interruptions if item.agent is result.last_agent}


def decide(key: SessionKey, state: RunState[Any, Any], decisions: Decisions) -> DecisionRecord:
    """Enter decisions about tool calls into a run state, and return them as they are to be stored.

    Calls inside two agents used as tools may have one id between them: it names neither, and only True decides about
    both.

    Raises:
        InvalidDecisionError: A call id is not one that waits, is one of several that do, or is both approved and
            rejected.
    """
    waiting: dict[str, list[ToolApprovalItem]] = {}
    for item in state.get_interruptions():
        waiting.setdefault(_call_id(item), []).append(item)
    approved, rejected = list(decisions.approved), dict(decisions.rejected)
    for call_id in [*approved, *rejected]:
        _check_named(key, call_id, waiting)
    if both := [call_id for call_id in rejected if call_id in approved]:
        raise InvalidDecisionError(key, f"call {both[0]!r} is both approved and rejected")
    undecided = [call_id for call_id in waiting if call_id not in approved and call_id not in rejected]
    if decisions.approve is True:
        approved += undecided
    elif decisions.reject is True:
        rejected.update(dict.fromkeys(undecided))
    for call_id in approved:
        for item in waiting[call_id]:
            state.approve(item)
    for call_id, reason in rejected.items():
        for item in waiting[call_id]:
            state.reject(item, rejection_message=reason)
    return {"type": "decision", "approved": approved, "rejected": list(rejected)}


def _check_named(key: SessionKey, call_id: str, waiting: Mapping[str, list[ToolApprovalItem]]) -> None:
    if call_id not in waiting:
        known = ", ".join(waiting)
        raise InvalidDecisionError(key, f"call {call_id!r} does not wait for approval; waiting: {known}")
    if len(waiting[call_id]) > 1:
        count = len(waiting[call_id])
        raise InvalidDecisionError(
            key, f"call {call_id!r} is ambiguous: {count} calls of that id wait; True decides about all"
        )


def _without_contexts(state: Any) -> Any:
    """Return a run state, and those of agents used as tools inside it, without the caller's context objects.

    They may hold what JSON cannot, or what should not lie on a disk. Who resumes the turn gives one again.
    """
    if isinstance(state, list):
        return [_without_contexts(part) for part in state]
    if not isinstance(state, dict):
        return state
    kept = {**state, "context": None} if "context_meta" in state else state
    return {name: _without_contexts(part) for name, part in kept.items()}


def pending_approval(item: ToolApprovalItem) -> PendingApproval:
    """Return what a user sees of a tool call that waits."""
    return PendingApproval(
        call_id=_call_id(item), tool=item.tool_name or "", arguments=_arguments(item), agent=item.agent.name
    )


def _arguments(item: ToolApprovalItem) -> str:
    if item.arguments:
        return item.arguments
    call = item.raw_item.model_dump(exclude_unset=True) if isinstance(item.raw_item, BaseModel) else item.raw_item
    act = call.get("action", call.get("operation"))
    return "" if act is None else encode_json(act).decode()


def _call_id(item: ToolApprovalItem) -> str:
    return item.call_id or ""
