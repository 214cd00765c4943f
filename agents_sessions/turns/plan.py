"""Make a session ready for a turn, and plan the turn: which agent, which input, in which ledger."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agents import UserError

from agents_sessions.errors import (
    ApprovalPendingError,
    MessageNotKeptError,
    NothingToResumeError,
    NothingToRetryError,
    SessionClosedError,
    SessionPausedError,
    UnknownAgentError,
)
from agents_sessions.session import RUN_STATE
from agents_sessions.turns.approvals import decide, load_awaiting
from agents_sessions.turns.ledger import Ledger
from agents_sessions.turns.past import interrupted, newest_end
from agents_sessions.turns.request import REJECT_ALL, Prompt, Resume, Send
from agents_sessions.turns.sdk_internals import last_response_of

if TYPE_CHECKING:
    from agents import Agent, ModelResponse, RunState

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import DecisionRecord, Item, TurnRecord
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.agents import AgentRegistry
    from agents_sessions.turns.approvals import AwaitingTurn
    from agents_sessions.turns.options import TurnSettings
    from agents_sessions.turns.request import Content, Request

logger = logging.getLogger("agents_sessions")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a turn, ready to go."""

    agent: Agent[Any]
    """The agent that the Runner starts at."""
    input: Content | RunState[Any, Any]
    ledger: Ledger
    decision: DecisionRecord | None = None
    """What was decided about the calls that the turn awaited approval for."""
    last_response: ModelResponse | None = None
    """What the model said last, in a turn that goes on."""


async def ready(store: SessionStore, lock: TurnLock) -> SessionInfo:
    """Return a session that may take a turn.

    A turn that is still open has died, since its lock is ours: its end is stored first.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionStatusError: Its status forbids turns.
    """
    info = await store.existing(lock.key)
    if info.status == "paused":
        raise SessionPausedError(lock.key)
    if info.status == "closed":
        raise SessionClosedError(lock.key)
    turn = info.context.open_turn
    return info if turn is None else await _end_interrupted(store, lock, info, turn)


async def _end_interrupted(store: SessionStore, lock: TurnLock, info: SessionInfo, turn: str) -> SessionInfo:
    key = lock.key
    logger.warning(
        "turn %s of session %r of agent %r was interrupted before its end was stored",
        turn,
        key.session_id,
        key.agent_id,
    )
    entries = [entry for entry in await store.entries(key) if entry.get("turn") == turn]
    await store.delete_sidecar(key, RUN_STATE, turn=lock)
    end = interrupted(entries, agent=info.context.last_agent, turn=turn)
    stored = await store.append(key, end, turn=lock)
    return info.model_copy(update={"seq": stored.seq, "context": stored.context})


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans one turn on a session that is ready for it."""

    store: SessionStore
    registry: AgentRegistry
    lock: TurnLock
    info: SessionInfo
    settings: TurnSettings

    async def plan(self, request: Request) -> Plan:
        """Plan what is wanted.

        Raises:
            SessionError: It cannot be had of this session: see `SessionManager.send_message`, `resume` and `retry`.
        """
        if isinstance(request, Send):
            return await self._send(request.prompt)
        if isinstance(request, Resume):
            return await self._resume(request)
        return await self._retry()

    async def _send(self, prompt: Prompt) -> Plan:
        awaiting = await load_awaiting(self.store, self.info)
        if awaiting is None:
            return await self._start(prompt, self.settings.start)
        if self.settings.on_pending == "error":
            raise ApprovalPendingError(self.lock.key, awaiting.call_ids)
        try:
            root, state = await self._restore(awaiting)
        except (UserError, UnknownAgentError) as error:
            return await self._start_instead(awaiting, error, prompt)
        decision = decide(self.lock.key, state, REJECT_ALL)
        decision["message"] = prompt.items
        state.add_input(prompt.content)
        return self._go_on(awaiting, root, state, decision, prompt.items)

    async def _resume(self, request: Resume) -> Plan:
        awaiting = await load_awaiting(self.store, self.info)
        if awaiting is None:
            raise NothingToResumeError(self.lock.key, "no tool call waits for approval")
        if request.seen is not None and request.seen != awaiting.call_ids:
            # Someone else has decided meanwhile. The caller has not seen the calls that wait now.
            calls = ", ".join(awaiting.call_ids)
            raise NothingToResumeError(self.lock.key, f"other calls wait by now: {calls}")
        root, state = await self._restore(awaiting)
        return self._go_on(awaiting, root, state, decide(self.lock.key, state, request.decisions), [])

    async def _retry(self) -> Plan:
        if self.info.context.last_status not in ("failed", "cancelled", "interrupted"):
            raise NothingToRetryError(self.lock.key, "its last turn has not failed")
        end = await _last_end(self.store, self.lock.key)
        if end.get("message_lost"):
            reason = "the message of its last turn was too large to be kept; send it again"
            raise MessageNotKeptError(self.lock.key, reason)
        return await self._start(Prompt.of_stored(end.get("message", [])), self.settings.start)

    async def _start(self, prompt: Prompt, start: str) -> Plan:
        """Plan a new turn."""
        last = self.info.context.last_agent
        if start == "entry" or last is None:
            agent = await self.registry.entry(self.info)
        else:
            agent = await self.registry.by_name(self.info, last)
        return Plan(agent, prompt.content, Ledger(turn=uuid4().hex[:12], message=prompt.items))

    async def _start_instead(self, awaiting: AwaitingTurn, error: Exception, prompt: Prompt) -> Plan:
        """Abandon an awaiting turn whose agents no longer exist, and plan a new one with this message."""
        prompt = prompt.behind(awaiting.message)
        try:
            plan = await self._start(prompt, self.settings.start)
        except UnknownAgentError:  # the agent that is gone spoke last
            plan = await self._start(prompt, "entry")
        key, reason = self.lock.key, type(error).__name__
        logger.warning("turn %s of session %r is given up: %s", awaiting.turn, key.session_id, reason)
        end = awaiting.abandoned(self.info.context.last_agent, reason, prompt.items)
        await self.store.append(key, end, turn=self.lock)
        await self.store.delete_sidecar(key, RUN_STATE, turn=self.lock)
        return plan

    async def _restore(self, awaiting: AwaitingTurn) -> tuple[Agent[Any], RunState[Any, Any]]:
        """Return the agent that a turn started with, and the run state of the turn."""
        root = await self.registry.by_name(self.info, awaiting.agent)
        runner = self.settings.runner
        return root, await awaiting.restore_state(root, runner.get("context"), runner.get("max_turns"))

    def _go_on(
        self,
        awaiting: AwaitingTurn,
        root: Agent[Any],
        state: RunState[Any, Any],
        decision: DecisionRecord,
        message: list[Item],
    ) -> Plan:
        ledger = awaiting.restore_ledger(state, self.info.context.last_agent, message)
        return Plan(root, state, ledger, decision, last_response_of(state))


async def _last_end(store: SessionStore, key: SessionKey) -> TurnRecord:
    """Return the end of the last turn. Items that came through another session object may stand behind it."""
    count = 4
    while True:
        entries = await store.entries(key, limit=count)
        if (end := newest_end(entries)) is not None:
            return end
        if len(entries) < count:
            raise NothingToRetryError(key, "the end of its last turn was removed")
        count *= 4
