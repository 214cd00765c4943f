"""Run one turn on one session: lock, plan, run, record, whatever happens.

Every way to run a turn (send, stream, resume, retry) takes the same road::

    async with turns.open(request) as turn:   # takes the lock, plans, stores the decision; records a failure
        outcome = await turn.run()            # or a stream
        reply = await turn.finish(outcome)    # stores the end
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from agents import Runner, RunResult, RunResultStreaming, RunState

from agents_sessions.concurrency.settle import settle
from agents_sessions.errors import (
    ApprovalPendingError,
    NothingToResumeError,
    NothingToUndoError,
    ReplyNotStoredError,
    SessionCorruptedError,
    SessionLimitError,
    SessionStorageError,
    TurnLostError,
)
from agents_sessions.model.turn_list import message_of, unstored_message_of
from agents_sessions.run_states import RUN_STATE, delete_run_states
from agents_sessions.turns import rewinding
from agents_sessions.turns.approvals import AwaitingTurn, asked_for, load_awaiting
from agents_sessions.turns.compacting import Compactor
from agents_sessions.turns.ends import awaits_approval, end_interrupted, give_up
from agents_sessions.turns.events import ApprovalNeeded, Listeners, TurnFailed, TurnFinished, TurnStarted
from agents_sessions.turns.hooks import TurnHooks
from agents_sessions.turns.ledger import lost_spend
from agents_sessions.turns.lock import current_task, exclusive_turn
from agents_sessions.turns.plan import Planner, ready
from agents_sessions.turns.positions import newest_spans
from agents_sessions.turns.recorder import Recorder
from agents_sessions.turns.reply import Reply, answer_beside_messages, reply_of
from agents_sessions.turns.request import Again, Prompt, Resume, Retry, Send
from agents_sessions.turns.running import RunningTurns
from agents_sessions.turns.sdk_internals import wrapper_of
from agents_sessions.turns.summarising import Summarisers

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Entry, TurnStatus
    from agents_sessions.model.info import Compaction, SessionInfo
    from agents_sessions.stores.base import Appended, SessionStore, TurnLock
    from agents_sessions.turns.agents import AgentRegistry
    from agents_sessions.turns.options import TurnSettings
    from agents_sessions.turns.plan import Plan
    from agents_sessions.turns.request import Request

logger = logging.getLogger("agents_sessions")

Result: TypeAlias = RunResult | RunResultStreaming


class Outcome(NamedTuple):
    """What the Runner returned."""

    result: Result
    cancelled: bool = False
    """True for a stream that was cancelled before it had an answer."""

    @property
    def status(self) -> TurnStatus:
        """How the turn ends, if its end can be stored."""
        if self.result.interruptions:
            return "awaiting_approval"
        return "cancelled" if self.cancelled else "completed"


class Turn:
    """One turn, from its decision to its end. The session is held by whoever opened it."""

    def __init__(
        self, plan: Plan, recorder: Recorder, hooks: TurnHooks, settings: TurnSettings, listeners: Listeners
    ) -> None:
        self._plan = plan
        self._recorder = recorder
        self._hooks = hooks
        self._settings = settings
        self._listeners = listeners
        self._ledger = plan.ledger
        self._key = recorder.key
        self.is_ending = False
        """True once `finish` was called: from then on it stores the end, whatever that is."""

    async def begin(self) -> None:
        """Store the decision, before any approved call runs: no call can ever run twice."""
        decision = self._plan.decision
        if decision is not None and (decision["approved"] or decision["rejected"]):
            self._ledger.decide(decision)
            await self._recorder.flush()
        key, turn_id = self._key, self._ledger.turn
        logger.info("turn %s begins on session %r of agent %r", turn_id, key.session_id, key.agent_id)
        await self._listeners.tell(TurnStarted(key, turn_id, self._plan.agent.name))

    async def run(self) -> Outcome:
        """Call the Runner and wait for the end of its run."""
        self._count_resumed()
        return Outcome(await Runner.run(self._plan.agent, self._plan.input, **self._arguments))

    def run_streamed(self) -> RunResultStreaming:
        """Call the Runner; the run goes on in the background."""
        self._count_resumed()
        return Runner.run_streamed(self._plan.agent, self._plan.input, **self._arguments)

    async def finish(self, outcome: Outcome) -> Reply:
        """Store the end of the turn and return its reply. A cancellation waits until the end is stored.

        Raises:
            ReplyNotStoredError, TurnLostError: The end could not be stored. The error carries the reply.
        """
        self.is_ending = True
        return await settle(self._end(outcome))

    async def fail(self, error: BaseException) -> None:
        """Store that the turn has failed, with all that it has spent."""
        status: TurnStatus = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
        logger.warning(
            "turn %s of session %r of agent %r is %s: %s",
            self._ledger.turn,
            self._key.session_id,
            self._key.agent_id,
            status,
            type(error).__name__,
        )
        if isinstance(error, SessionLimitError):
            self._ledger.forget_message()
        # A decision that could not be stored changes nothing: no tool ran, and the turn still awaits approval.
        if self._plan.decision is None or self._ledger.stored:
            await self._store_failure(status, error)
        await self._listeners.tell(TurnFailed(self._key, self._ledger.turn, error))

    def _count_resumed(self) -> None:
        """Count what approved tools spend: they run before the Runner asks the session for anything."""
        if isinstance(self._plan.input, RunState) and (wrapper := wrapper_of(self._plan.input)) is not None:
            self._recorder.count(wrapper)

    @property
    def _arguments(self) -> dict[str, Any]:
        return {**self._settings.runner, "session": self._recorder, "hooks": self._hooks}

    async def _end(self, outcome: Outcome) -> Reply:
        status, result = outcome.status, outcome.result
        try:
            await self._store_end(status, result)
        except Exception as error:
            lost = isinstance(error, TurnLostError)
            failure = TurnLostError(self._key) if lost else ReplyNotStoredError(self._key)
            await self._store_failure("failed", error)
            failure.reply = reply_of(self._key.session_id, self._ledger, status, result)
            await self._listeners.tell(TurnFailed(self._key, self._ledger.turn, failure))
            raise failure from error
        reply = reply_of(self._key.session_id, self._ledger, status, result)
        await self._tell_end(reply)
        return reply

    async def _store_end(self, status: TurnStatus, result: Result) -> None:
        if status == "awaiting_approval":
            self._ledger.ask(asked_for(result) & set(self._ledger.unanswered()))
            awaiting = AwaitingTurn.of(self._ledger, self._plan.agent, result)
            await awaiting.save(self._recorder.store, self._recorder.lock)
        answer = answer_beside_messages(result) if status == "completed" else None
        self._ledger.end(status, last_agent=result.last_agent.name, answer=answer)
        await self._recorder.flush()
        if status == "cancelled" and self._settings.on_failure == "rollback":
            await self._recorder.roll_back(self._plan.agent.name)
        if status == "cancelled" or (status == "completed" and self._plan.decision is not None):
            await self._drop_state()

    async def _store_failure(self, status: TurnStatus, error: BaseException) -> None:
        try:
            self._ledger.end(status, error=type(error).__name__)
            await self._recorder.flush()
            if self._settings.on_failure == "rollback":
                await self._recorder.roll_back(self._plan.agent.name)
            await self._drop_state()
        except Exception as second:  # noqa: BLE001
            # The first error is the one to raise. The turn stays open, and the next one calls it interrupted. The text
            # of this error is not logged: a store of another maker may quote what it could not keep.
            name = type(second).__name__
            logger.error("the end of turn %s could not be stored: %s", self._ledger.turn, name)  # noqa: TRY400
            if isinstance(second, TurnLostError):
                await self._keep_spent()

    async def _keep_spent(self) -> None:
        """Store what a turn has spent that has lost its lock: of no turn, since another one may run by now."""
        if not (rows := self._ledger.unstored_requests()):
            return
        try:
            await self._recorder.store.append(self._key, [lost_spend(rows)])
        except Exception as error:  # noqa: BLE001 -- the first error is the one to raise
            name = type(error).__name__
            logger.error("what turn %s has spent could not be stored: %s", self._ledger.turn, name)  # noqa: TRY400

    async def _drop_state(self) -> None:
        """Remove what was kept of the turn while it awaited approval."""
        await self._recorder.store.delete_sidecar(self._key, RUN_STATE, turn=self._recorder.lock)

    async def _tell_end(self, reply: Reply) -> None:
        key, turn_id = self._key, self._ledger.turn
        logger.info("turn %s of session %r of agent %r ends: %s", turn_id, key.session_id, key.agent_id, reply.status)
        if reply.status == "awaiting_approval":
            calls = tuple(item.call_id or "" for item in reply.interruptions)
            await self._listeners.tell(ApprovalNeeded(key, turn_id, calls))
        elif reply.status == "cancelled":
            await self._listeners.tell(TurnFailed(key, turn_id, asyncio.CancelledError()))
        else:
            await self._listeners.tell(TurnFinished(key, turn_id, reply.last_agent, reply.usage))


class Turns:
    """Runs turns on the sessions of a store, for a manager or, among those of one, for a view of it."""

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        registry: AgentRegistry,
        *,
        compaction: Compaction | None = None,
        among: Turns | None = None,
    ) -> None:
        self.store = store
        self.lookup = lookup
        self.registry = registry
        self.compaction = compaction
        self.listeners: Listeners = Listeners() if among is None else among.listeners
        self.running: RunningTurns = RunningTurns(None if among is None else among.running)

    def on(self, store: SessionStore, lookup: SessionLookup) -> Turns:
        """Return what runs turns on another view of the sessions, with all else shared."""
        return Turns(store, lookup, self.registry, compaction=self.compaction, among=self)

    async def run(self, request: Request) -> Reply:
        """Run a turn without streaming."""
        async with self.open(request) as turn:
            return await turn.finish(await turn.run())

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Turn]:
        """Hold a session for one turn that is ready to run. Whatever ends the block before `finish` is recorded."""
        with self.running.entered(request.session_id):
            # Expired or archived is for `ready` to say, under the lock.
            key = await self.lookup.key(request.session_id, request.settings.agent_id, whatever=True)
            if isinstance(request, Resume) and request.decisions.are_about_all:
                # True means the calls that wait now, and not others that may wait once the lock is ours.
                request = replace(request, seen=await self._waiting_calls(key))
            async with exclusive_turn(self.store, key, request.settings.lock_timeout) as lock:
                self.running.check_open(request.session_id)  # it may have been closed while this one waited
                async with self._recorded(await self._planned(request, lock)) as turn:
                    yield turn

    @contextlib.asynccontextmanager
    async def _recorded(self, turn: Turn) -> AsyncIterator[Turn]:
        task = current_task()
        try:
            await turn.begin()
            yield turn
        except BaseException as error:
            if not turn.is_ending and current_task() is task:
                await settle(turn.fail(error))
            raise

    async def add(self, key: SessionKey, entry: Entry, lock_timeout: float | None) -> Appended:
        """Add to the history what no model said, between two turns."""
        async with exclusive_turn(self.store, key, lock_timeout) as lock:
            info = await ready(self.store, lock, self.lookup)
            if (awaiting := await load_awaiting(self.store, info)) is not None:
                raise ApprovalPendingError(key, awaiting.call_ids)
            return await self.store.append(key, [entry], turn=lock)

    async def clear(self, key: SessionKey, lock_timeout: float | None) -> None:
        """Remove the history, and a turn that awaits approval."""
        async with exclusive_turn(self.store, key, lock_timeout) as lock:
            try:
                await self.store.rewrite(key, lambda history: history.with_entries([]), turn=lock)
            except SessionCorruptedError:  # clearing is the way out of damage: the file is kept aside
                await self.store.start_over(key, turn=lock)
            await delete_run_states(self.store, key, turn=lock)

    async def give_up(self, key: SessionKey, lock_timeout: float | None) -> None:
        """End the turn that awaits approval, or whose process died, without any agent."""
        async with exclusive_turn(self.store, key, lock_timeout) as lock:
            info = await self.store.existing(key)
            if (turn := info.context.open_turn) is not None:
                await end_interrupted(self.store, lock, info, turn)
            elif awaits_approval(info):
                await give_up(self.store, lock, info, "given up")
            else:
                raise NothingToResumeError(key, "no turn awaits approval; there is nothing to give up")

    async def move(self, key: SessionKey, agent_id: str, lock_timeout: float | None) -> SessionInfo:
        """Give the session to another agent."""
        async with exclusive_turn(self.store, key, lock_timeout) as lock:
            return await self.store.move(key, agent_id, turn=lock)

    async def delete(self, key: SessionKey, lock_timeout: float | None) -> None:
        """Remove the session."""
        async with exclusive_turn(self.store, key, lock_timeout):
            await self.store.delete(key)

    async def is_archived(self, key: SessionKey) -> bool:
        """Tell whether the history of a session is in the archive."""
        try:
            info = await self.store.load(key)
        except SessionStorageError:  # what is damaged has its history with it
            return False
        return info is not None and info.status == "archived"

    async def _planned(self, request: Request, lock: TurnLock) -> Turn:
        info = await ready(self.store, lock, self.lookup)
        settings = request.settings.of_session(info)
        plan = await self._plan(request, settings, lock, info)
        compaction = info.compaction or self.compaction
        if compaction is not None and not isinstance(request, Resume):
            summarisers = Summarisers(self.registry, settings.runner.get("run_config"))
            if isinstance(request, Retry) and compaction.keep_turns == 0:  # what is answered now must be seen
                compaction = compaction.model_copy(update={"keep_turns": 1})
            compactor = Compactor(self.store, lock, summarisers)
            await compactor.compact_if_full(compaction, plan.ledger.turn, plan.ledger.message, self.listeners)
        recorder = Recorder(self.store, lock, plan.ledger, info.history_limit)
        hooks = TurnHooks(plan.ledger, lock.key, self.listeners, settings, plan.last_response)
        return Turn(plan, recorder, hooks, settings, self.listeners)

    async def _plan(self, request: Request, settings: TurnSettings, lock: TurnLock, info: SessionInfo) -> Plan:
        if not isinstance(request, Again):
            return await Planner(self.store, self.registry, lock, info, settings).plan(request)
        send = await self._send_instead(request, lock)
        await rewinding.undo(self.store, lock, 1)
        try:
            info = await self.store.existing(lock.key)
            return await Planner(self.store, self.registry, lock, info, settings).plan(send)
        except BaseException:  # nothing was sent: the turn that was to be replaced is there again
            await settle(rewinding.redo(self.store, lock))
            raise

    async def _send_instead(self, request: Again, lock: TurnLock) -> Send:
        """Return what is sent in the place of the last turn.

        Raises:
            NothingToUndoError: There is no turn, or its message is not there.
        """
        prompt = request.prompt
        if prompt is None:
            last = await newest_spans(self.store, lock.key, 1)
            items = [entry["item"] for span in last for entry in message_of(span)]
            items = items or [item for span in last for item in unstored_message_of(span)]
            if not items:
                raise NothingToUndoError(lock.key, "there is no turn with a message to answer again")
            prompt = Prompt.of_stored(items)
        return Send(session_id=request.session_id, settings=request.settings, prompt=prompt)

    async def _waiting_calls(self, key: SessionKey) -> tuple[str, ...]:
        info = await self.store.load(key)
        awaiting = None if info is None else await load_awaiting(self.store, info)
        return () if awaiting is None else awaiting.call_ids
