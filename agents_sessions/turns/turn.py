"""Run one turn on one session: lock, choose the agent, run, record, whatever happens.

Every way to run a turn (send, stream, resume, retry) is the same road with another beginning (`_Plan`) or
another way to call the Runner (`Execute`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast
from uuid import uuid4

from agents import Runner, RunResult, RunResultStreaming, UserError

from agents_sessions.concurrency.settle import settle
from agents_sessions.errors import (
    ApprovalPendingError,
    InvalidItemError,
    NothingToResumeError,
    ReplyNotStoredError,
    SessionClosedError,
    SessionLimitError,
    SessionPausedError,
    UnknownAgentError,
)
from agents_sessions.model.entries import DecisionRecord, Item, TurnRecord, check_entries, item_entry
from agents_sessions.session import RUN_STATE
from agents_sessions.turns.approvals import AwaitingTurn, asked_for, decide, load_awaiting
from agents_sessions.turns.events import (
    ApprovalNeeded,
    Listeners,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from agents_sessions.turns.hooks import TurnHooks
from agents_sessions.turns.ledger import Ledger
from agents_sessions.turns.lock import current_task, exclusive_turn
from agents_sessions.turns.options import Chosen, RunArguments, of_session
from agents_sessions.turns.past import interrupted, newest_end
from agents_sessions.turns.recorder import Recorder
from agents_sessions.turns.reply import Reply, reply_of
from agents_sessions.turns.sdk_internals import last_response_of

if TYPE_CHECKING:
    from agents import Agent, ModelResponse
    from agents.items import TResponseInputItem

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import TurnStatus
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.agents import AgentRegistry

logger = logging.getLogger("agents_sessions")

Content: TypeAlias = "str | list[TResponseInputItem]"
Result: TypeAlias = RunResult | RunResultStreaming


class Outcome(NamedTuple):
    """What the Runner returned."""

    result: Result
    cancelled: bool = False
    """True for a stream that was cancelled before it had an answer."""


Execute: TypeAlias = Callable[..., Awaitable[Outcome]]
"""Calls the Runner with agent, input and keyword arguments, and returns when the run has ended."""


@dataclass(slots=True)
class _Run:
    """One run, ready to go."""

    info: SessionInfo
    lock: TurnLock
    agent: Agent[Any]
    input: Any
    recorder: Recorder
    hooks: TurnHooks
    decision: DecisionRecord | None = None
    """What was decided about the calls that it was paused for."""


_Plan: TypeAlias = Callable[["SessionInfo", RunArguments, "TurnLock"], Awaitable[_Run]]


async def run_to_end(agent: Agent[Any], content: Any, **arguments: Any) -> Outcome:
    """Run without streaming."""
    return Outcome(await Runner.run(agent, content, **arguments))


class Turns:
    """Runs turns on the sessions of a store."""

    def __init__(self, store: SessionStore, registry: AgentRegistry) -> None:
        self.store = store
        self.registry = registry
        self.listeners = Listeners()

    async def send(self, key: SessionKey, content: Content, chosen: Chosen, execute: Execute) -> Reply:
        """Run a turn with a new message."""
        message = _items_of(content)

        async def plan(info: SessionInfo, arguments: RunArguments, lock: TurnLock) -> _Run:
            paused = await load_awaiting(self.store, info)
            if paused is None:
                return await self._new_run(info, content, message, chosen, arguments, lock)
            if chosen.on_pending == "error":
                raise ApprovalPendingError(key, paused.call_ids)
            try:
                run = await self._paused_run(info, paused, arguments, lock, message)
            except (UserError, UnknownAgentError) as error:
                return await self._instead(info, paused, error, content, message, chosen, arguments, lock)
            run.decision = decide(key, run.input, approve=False, reject=True)
            run.decision["message"] = message
            run.input.add_input(content)
            return run

        return await self._turn(key, plan, chosen, execute)

    async def resume(
        self,
        key: SessionKey,
        approve: Iterable[str] | bool,
        reject: Mapping[str, str | None] | Iterable[str] | bool,
        chosen: Chosen,
        execute: Execute,
    ) -> Reply:
        """Go on with a turn that waits for approval."""
        seen = None if approve is not True and reject is not True else await self._waiting_calls(key)

        async def plan(info: SessionInfo, arguments: RunArguments, lock: TurnLock) -> _Run:
            paused = await load_awaiting(self.store, info)
            if paused is None:
                raise NothingToResumeError(key, "no tool call waits for approval")
            if seen is not None and seen != paused.call_ids:
                # Someone else has decided meanwhile. What waits now, the caller has not seen.
                calls = ", ".join(paused.call_ids)
                raise NothingToResumeError(key, f"other calls wait by now: {calls}")
            run = await self._paused_run(info, paused, arguments, lock)
            run.decision = decide(key, run.input, approve, reject)
            return run

        return await self._turn(key, plan, chosen, execute)

    async def retry(self, key: SessionKey, chosen: Chosen, execute: Execute) -> Reply:
        """Run the last turn again if it has failed, was cancelled or was interrupted.

        What the turn has stored, its message and the outputs of its tools, is not stored again: the model sees
        it as history.
        """

        async def plan(info: SessionInfo, arguments: RunArguments, lock: TurnLock) -> _Run:
            if info.context.last_status not in ("failed", "cancelled", "interrupted"):
                raise NothingToResumeError(key, "its last turn has not failed")
            message = await self._last_message(key)
            return await self._new_run(info, cast("Content", message), message, chosen, arguments, lock)

        return await self._turn(key, plan, chosen, execute)

    async def _last_message(self, key: SessionKey) -> list[Item]:
        """Return the message of the last turn if no item of the history has it."""
        end = await self._last_end(key)
        if end.get("message_lost"):
            raise NothingToResumeError(key, "the message of its last turn was too large to be kept; send it again")
        return end.get("message", [])

    async def _last_end(self, key: SessionKey) -> TurnRecord:
        """Return the end of the last turn. Behind it there may be items that came through another session object."""
        count = 4
        while True:
            entries = await self.store.entries(key, limit=count)
            if (end := newest_end(entries)) is not None:
                return end
            if len(entries) < count:
                raise NothingToResumeError(key, "the end of its last turn was removed")
            count *= 4

    async def clear(self, key: SessionKey, timeout: float | None) -> None:
        """Remove the history, and a turn that waits for approval."""
        async with exclusive_turn(self.store, key, timeout) as lock:
            await self.store.rewrite(key, lambda history: history.with_entries([]), turn=lock)
            await self.store.delete_sidecar(key, RUN_STATE, turn=lock)

    async def delete(self, key: SessionKey, timeout: float | None) -> None:
        """Remove the session."""
        async with exclusive_turn(self.store, key, timeout):
            await self.store.delete(key)

    # --- the road ---

    async def _turn(self, key: SessionKey, plan: _Plan, chosen: Chosen, execute: Execute) -> Reply:
        async with exclusive_turn(self.store, key, chosen.lock_timeout) as lock:
            task = current_task()
            info = await self._ready(lock)
            arguments = of_session(chosen.runner, info)
            run = await plan(info, arguments, lock)
            recorder = run.recorder
            try:
                if run.decision is not None and (run.decision["approved"] or run.decision["rejected"]):
                    recorder.ledger.decide(run.decision)
                    await recorder.flush()
                await self._tell_start(run)
                arguments = {**arguments, "hooks": run.hooks}
                outcome = await execute(run.agent, run.input, session=recorder, **arguments)
            except BaseException as error:
                if current_task() is not task:
                    raise
                await settle(self._failed(run, error, chosen))
                raise
            return await settle(self._ended(run, outcome, chosen))

    async def _ready(self, lock: TurnLock) -> SessionInfo:
        """Return a session that may take a turn. We hold its lock: a turn that is open has died."""
        key = lock.key
        info = await self.store.existing(key)
        if info.status == "paused":
            raise SessionPausedError(key)
        if info.status == "closed":
            raise SessionClosedError(key)
        return info if info.context.open_turn is None else await self._interrupted(info, info.context.open_turn, lock)

    async def _interrupted(self, info: SessionInfo, turn_id: str, lock: TurnLock) -> SessionInfo:
        """Store the end of a turn that could not do it itself."""
        key = info.key
        logger.warning(
            "turn %s of session %r of agent %r was interrupted before its end was stored",
            turn_id,
            key.session_id,
            key.agent_id,
        )
        mine = [entry for entry in await self.store.entries(key) if entry.get("turn") == turn_id]
        await self.store.delete_sidecar(key, RUN_STATE, turn=lock)
        end = interrupted(mine, agent=info.context.last_agent, turn=turn_id)
        totals = await self.store.append(key, end, turn=lock)
        return info.model_copy(update={"seq": totals.seq, "context": totals.context})

    async def _new_run(
        self,
        info: SessionInfo,
        content: Content,
        message: list[Item],
        chosen: Chosen,
        arguments: RunArguments,
        lock: TurnLock,
    ) -> _Run:
        last = info.context.last_agent
        if chosen.start == "entry" or last is None:
            agent = await self.registry.entry(info)
        else:
            agent = await self.registry.by_name(info, last)
        return self._run(info, lock, agent, content, Ledger(turn=uuid4().hex[:12], message=message), arguments)

    async def _instead(
        self,
        info: SessionInfo,
        paused: AwaitingTurn,
        error: Exception,
        content: Content,
        message: list[Item],
        chosen: Chosen,
        arguments: RunArguments,
        lock: TurnLock,
    ) -> _Run:
        """Give a paused turn up that no one can go on with, as an agent of it is gone, and begin a new one."""
        if paused.message:
            message = [*paused.message, *message]
            content = cast("list[TResponseInputItem]", message)
        try:
            run = await self._new_run(info, content, message, chosen, arguments, lock)
        except UnknownAgentError:  # it is the agent that spoke last
            run = await self._new_run(info, content, message, replace(chosen, start="entry"), arguments, lock)
        logger.warning("turn %s of session %r is given up: %s", paused.turn, info.key.session_id, type(error).__name__)
        end = paused.abandoned(info.context.last_agent, type(error).__name__, message)
        await self.store.append(info.key, end, turn=lock)
        await self.store.delete_sidecar(info.key, RUN_STATE, turn=lock)
        return run

    async def _paused_run(
        self,
        info: SessionInfo,
        paused: AwaitingTurn,
        arguments: RunArguments,
        lock: TurnLock,
        message: list[Item] | None = None,
    ) -> _Run:
        root = await self.registry.by_name(info, paused.agent)
        state = await paused.restore_state(root, arguments.get("context"), arguments.get("max_turns"))
        ledger = paused.restore_ledger(state, info.context.last_agent, message or [])
        return self._run(info, lock, root, state, ledger, arguments, last_response_of(state))

    def _run(
        self,
        info: SessionInfo,
        lock: TurnLock,
        agent: Agent[Any],
        content: Any,
        ledger: Ledger,
        arguments: RunArguments,
        last_response: ModelResponse | None = None,
    ) -> _Run:
        recorder = Recorder(self.store, lock, ledger, info.history_limit)
        hooks = TurnHooks(ledger, info.key, self.listeners, arguments, last_response)
        return _Run(info, lock, agent, content, recorder, hooks)

    async def _ended(self, run: _Run, outcome: Outcome, chosen: Chosen) -> Reply:
        """Store the end of a run and return its reply."""
        recorder, result = run.recorder, outcome.result
        status: TurnStatus = "cancelled" if outcome.cancelled else "completed"
        if result.interruptions:
            status = "awaiting_approval"
        try:
            if status == "awaiting_approval":
                recorder.ledger.ask(asked_for(result) & set(recorder.ledger.unanswered()))
                await AwaitingTurn.of(recorder.ledger, run.agent, result).save(self.store, run.lock)
            recorder.ledger.end(status, last_agent=result.last_agent.name)
            await recorder.flush()
            if status == "cancelled" and chosen.on_failure == "rollback":
                await recorder.roll_back(run.agent.name)
            if status == "cancelled" or (status == "completed" and run.decision is not None):
                await self.store.delete_sidecar(recorder.key, RUN_STATE, turn=run.lock)
        except Exception as error:
            failure = ReplyNotStoredError(recorder.key)
            await self._store_failure(run, error, chosen)
            failure.reply = reply_of(recorder.session_id, recorder.ledger, status, result)
            await self.listeners.tell(TurnFailed(recorder.key, recorder.ledger.turn, failure))
            raise failure from error
        reply = reply_of(recorder.session_id, recorder.ledger, status, result)
        await self._tell_end(recorder, reply)
        return reply

    async def _failed(self, run: _Run, error: BaseException, chosen: Chosen) -> None:
        """Store that a run has failed, with all that it has spent."""
        recorder = run.recorder
        status: TurnStatus = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
        self._log_failure(recorder, status, error)
        if isinstance(error, SessionLimitError):
            recorder.ledger.forget_message()
        if run.decision is None or recorder.ledger.stored:
            await self._store_failure(run, error, chosen, status)
        # Else its decision is not stored: nothing of a paused turn has happened, and it waits on.
        await self.listeners.tell(TurnFailed(recorder.key, recorder.ledger.turn, error))

    async def _store_failure(
        self, run: _Run, error: BaseException, chosen: Chosen, status: TurnStatus = "failed"
    ) -> None:
        recorder = run.recorder
        try:
            recorder.ledger.end(status, error=type(error).__name__)
            await recorder.flush()
            if chosen.on_failure == "rollback":
                await recorder.roll_back(run.agent.name)
            await self.store.delete_sidecar(recorder.key, RUN_STATE, turn=run.lock)
        except Exception as second:  # noqa: BLE001
            # The first error is the one to raise; the turn stays open and the next one calls it interrupted.
            # Its text is not logged: a store of another maker may quote what it could not keep.
            logger.error("the end of turn %s could not be stored: %s", recorder.ledger.turn, type(second).__name__)  # noqa: TRY400

    async def _waiting_calls(self, key: SessionKey) -> tuple[str, ...]:
        info = await self.store.load(key)
        paused = None if info is None else await load_awaiting(self.store, info)
        return () if paused is None else paused.call_ids

    # --- around it ---

    async def _tell_start(self, run: _Run) -> None:
        key, turn_id = run.recorder.key, run.recorder.ledger.turn
        logger.info("turn %s begins on session %r of agent %r", turn_id, key.session_id, key.agent_id)
        await self.listeners.tell(TurnStarted(key, turn_id, run.agent.name))

    async def _tell_end(self, recorder: Recorder, reply: Reply) -> None:
        key, turn_id = recorder.key, recorder.ledger.turn
        logger.info("turn %s of session %r of agent %r ends: %s", turn_id, key.session_id, key.agent_id, reply.status)
        if reply.status == "awaiting_approval":
            calls = tuple(item.call_id or "" for item in reply.interruptions)
            await self.listeners.tell(ApprovalNeeded(key, turn_id, calls))
        elif reply.status == "cancelled":
            await self.listeners.tell(TurnFailed(key, turn_id, asyncio.CancelledError()))
        else:
            await self.listeners.tell(TurnFinished(key, turn_id, reply.last_agent, reply.usage))

    def _log_failure(self, recorder: Recorder, status: TurnStatus, error: BaseException) -> None:
        logger.warning(
            "turn %s of session %r of agent %r is %s: %s",
            recorder.ledger.turn,
            recorder.key.session_id,
            recorder.key.agent_id,
            status,
            type(error).__name__,
        )


def _items_of(content: Content) -> list[Item]:
    """Return a message as items.

    Raises:
        InvalidItemError: It is neither a text nor a list, or an item cannot be stored as JSON without loss.
    """
    if not isinstance(content, str | list):
        raise InvalidItemError("the message", f"is a {type(content).__name__!r}, not a text or a list of items")
    message = [{"role": "user", "content": content}] if isinstance(content, str) else content
    items = cast("list[Item]", message)
    check_entries([item_entry(item) for item in items])
    return items
