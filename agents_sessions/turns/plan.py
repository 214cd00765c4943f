"""Make a session ready for a turn, and plan the turn: which agent, which input, in which ledger."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from agents_sessions.errors import (
    AgentAmbiguousError,
    ApprovalPendingError,
    MessageNotKeptError,
    NothingToResumeError,
    NothingToRetryError,
    SessionClosedError,
    SessionPausedError,
    TurnNotResumableError,
    UnknownAgentError,
)
from agents_sessions.model.view import kept
from agents_sessions.turns.approvals import decide, load_awaiting
from agents_sessions.turns.ends import awaits_approval, end_interrupted, give_up, last_end
from agents_sessions.turns.ledger import Ledger
from agents_sessions.turns.past import has_message_to_answer, newest_end, unstored_message
from agents_sessions.turns.request import REJECT_ALL, Prompt, Resume, Send
from agents_sessions.turns.sdk_internals import last_response_of
from agents_sessions.turns.way import speakers

logger = logging.getLogger("agents_sessions")

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import Agent, ModelResponse, RunState

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import DecisionRecord, Item, TurnRecord, TurnStart
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.agents import AgentRegistry
    from agents_sessions.turns.approvals import AwaitingTurn
    from agents_sessions.turns.options import TurnSettings
    from agents_sessions.turns.request import Content, Request
    from agents_sessions.turns.way import Some


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


async def ready(store: SessionStore, lock: TurnLock, lookup: SessionLookup) -> SessionInfo:
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
    lookup.check(info)
    turn = info.context.open_turn
    return info if turn is None else await end_interrupted(store, lock, info, turn)


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
        if self.settings.on_pending == "give_up" and awaits_approval(self.info):
            return await self._start_instead("given up", prompt)
        awaiting = await self._awaiting()
        if awaiting is None:
            return await self._start(prompt, self.settings.start)
        if self.settings.on_pending == "error":
            raise ApprovalPendingError(self.lock.key, awaiting.call_ids)
        try:
            root, state = await self._restore(awaiting)
        except (TurnNotResumableError, UnknownAgentError, AgentAmbiguousError) as error:
            return await self._start_instead(type(error.__cause__ or error).__name__, prompt)
        decision = decide(self.lock.key, state, REJECT_ALL)
        decision["message"] = prompt.items
        state.add_input(prompt.content)
        return self._go_on(awaiting, root, state, decision, prompt.items)

    async def _resume(self, request: Resume) -> Plan:
        awaiting = await self._awaiting()
        if awaiting is None:
            raise NothingToResumeError(self.lock.key, "no tool call waits for approval")
        if request.seen is not None and request.seen != awaiting.call_ids:
            # Someone else has decided meanwhile. The caller has not seen the calls that wait now.
            calls = ", ".join(awaiting.call_ids)
            raise NothingToResumeError(self.lock.key, f"other calls wait by now: {calls}")
        root, state = await self._restore(awaiting, chosen=True)
        decision = decide(self.lock.key, state, request.decisions)
        if not decision["approved"] and not decision["rejected"]:
            calls = ", ".join(awaiting.call_ids)
            raise NothingToResumeError(self.lock.key, f"nothing is decided; approve= or reject= some of {calls}")
        return self._go_on(awaiting, root, state, decision, [])

    async def _retry(self) -> Plan:
        if self.info.context.last_status not in ("failed", "cancelled", "interrupted"):
            raise NothingToRetryError(self.lock.key, "its last turn has not failed")
        entry = await last_end(self.store, self.lock.key)
        if entry is None:
            raise NothingToRetryError(self.lock.key, "the end of its last turn was removed")
        end = cast("TurnRecord", entry["record"])
        if end.get("message_lost"):
            reason = "the message of its last turn was too large to be kept; send it again"
            raise MessageNotKeptError(self.lock.key, reason)
        message = end.get("message", [])
        if not message and not has_message_to_answer(kept(await self.store.entries(self.lock.key))):
            raise NothingToRetryError(self.lock.key, "the message of its last turn was taken back; send it again")
        return await self._start(Prompt.of_stored(message), self.settings.start)

    async def _awaiting(self) -> AwaitingTurn | None:
        """Return the turn that awaits approval. One that no one can resume by now is ended."""
        awaiting = await load_awaiting(self.store, self.info)
        if awaiting is None and awaits_approval(self.info):
            await give_up(self.store, self.lock, self.info, "its run state or its calls are gone")
        return awaiting

    async def _start(self, prompt: Prompt, start: str) -> Plan:
        """Plan a new turn."""
        agent, chosen = await self._first_agent(start)
        return Plan(agent, prompt.content, Ledger(turn=uuid4().hex[:12], message=prompt.items, start=chosen))

    async def _first_agent(self, start: str) -> tuple[Agent[Any], TurnStart | None]:
        """Return the agent that takes the message and, for those who follow the way later, how it was chosen."""
        last = self.info.context.last_agent
        if (agent := self.settings.agent) is not None and start == "last":
            return (await self.registry.by_name(self.info, agent) if isinstance(agent, str) else agent), "agent"
        if last is None:
            return await self.registry.entry(self.info), None
        if start == "entry":
            return await self.registry.entry(self.info), "entry"
        return await self._speaker(last)

    async def _speaker(self, name: str) -> tuple[Agent[Any], TurnStart | None]:
        """Return the agent that ended the last turn.

        Without any handoff, that was the session's own agent, perhaps under a name that it had then.
        """
        try:
            return await self.registry.by_name(self.info, name, self._way), None
        except UnknownAgentError:
            if self.registry.missing_agent == "error" and self.info.context.handoffs:
                raise
            agent = await self.registry.entry(self.info)
        text = "agent %r is gone; session %r goes on with %r"
        logger.warning(text, name, self.info.id, agent.name)
        return agent, "entry"

    async def _way(self, entry: Agent[Any], named: Callable[[str], Some], until: str = "") -> Some:
        """Return the agents that the conversation may be with, by the way that its history records."""
        return speakers(entry, kept(await self.store.entries(self.lock.key)), named, until)

    async def _start_instead(self, reason: str, prompt: Prompt) -> Plan:
        """Give up the turn that awaits approval, and plan a new one with this message."""
        entries = kept(await self.store.entries(self.lock.key))
        end = newest_end(entries)
        turn = None if end is None else end.get("turn")
        unsent = unstored_message(entry for entry in entries if entry.get("turn") == turn)
        whole = prompt.behind(unsent)
        try:
            plan = await self._start(whole, self.settings.start)
        except (UnknownAgentError, AgentAmbiguousError):  # the agent that is gone spoke last
            plan = await self._start(whole, "entry")
        await give_up(self.store, self.lock, self.info, reason, prompt.items)
        return plan

    async def _restore(self, awaiting: AwaitingTurn, *, chosen: bool = False) -> tuple[Agent[Any], RunState[Any, Any]]:
        """Return the agent that a turn started with, by name or as the caller has chosen it, and the run state.

        Raises:
            UnknownAgentError, AgentAmbiguousError: That agent is gone, or one of several.
            TurnNotResumableError: The SDK cannot make the state out of these agents. Whatever it raises is chained;
                of an agent used as a tool that is gone it only logs, and the calls inside are missing.
        """
        root = await self._root_of(awaiting, self.settings.agent if chosen else None, chosen=chosen)
        runner = self.settings.runner
        try:
            state = await awaiting.restore_state(root, runner.get("context"), runner.get("max_turns"))
        except Exception as error:
            raise TurnNotResumableError(self.lock.key, type(error).__name__) from error
        if missing := awaiting.calls_missing_in(state):
            raise TurnNotResumableError(self.lock.key, f"no agent makes call {missing[0]!r}")
        return root, state

    async def _root_of(self, awaiting: AwaitingTurn, agent: Agent[Any] | str | None, *, chosen: bool) -> Agent[Any]:
        if agent is not None and not isinstance(agent, str):
            return agent
        if chosen and self.settings.start == "entry":
            return await self.registry.entry(self.info)
        return await self.registry.by_name(self.info, agent or awaiting.agent, partial(self._way, until=awaiting.turn))

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
