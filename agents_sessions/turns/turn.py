"""Run one turn on one session: lock, choose the agent, run, record, whatever happens.

Every way to run a turn (send, stream, resume, retry) is the same road with another beginning (`_Plan`) or
another way to call the Runner (`Execute`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict, cast
from uuid import uuid4

from agents import RunConfig, Runner, RunResult, RunResultStreaming

from agents_sessions.context import sum_requests
from agents_sessions.entries import Entry, Item, RunRecord, record_entry
from agents_sessions.errors import (
    ApprovalPendingError,
    NothingToResumeError,
    ReplyNotStoredError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    SessionPausedError,
)
from agents_sessions.gates import settled
from agents_sessions.history import TokenUsage, typed
from agents_sessions.turns.approvals import RUN_STATE, PausedTurn, decide, load_paused
from agents_sessions.turns.events import (
    ApprovalNeeded,
    HandedOff,
    Listeners,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from agents_sessions.turns.lock import exclusive_turn
from agents_sessions.turns.recorder import Recorder
from agents_sessions.turns.reply import Reply, text_of

if TYPE_CHECKING:
    from agents import Agent, RunErrorHandlers, RunHooks
    from agents.items import TResponseInputItem

    from agents_sessions.entries import RunStatus
    from agents_sessions.info import SessionInfo, SessionKey
    from agents_sessions.stores.base import History, SessionStore
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

_REFUSED = {
    "conversation_id": "the server would keep the history then, not the session",
    "previous_response_id": "the server would keep the history then, not the session",
    "auto_previous_response_id": "the server would keep the history then, not the session",
    "session": "the manager gives the Runner its own",
}


class RunArguments(TypedDict, total=False):
    """The arguments of `Runner.run` that pass through; see there. Per manager, and per call over those."""

    context: Any
    max_turns: int | None
    hooks: RunHooks[Any] | None
    run_config: RunConfig | dict[str, Any] | None
    error_handlers: RunErrorHandlers[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """How a turn is run."""

    start: Literal["last", "entry"] = "last"
    """Go on with the agent that ended the last turn, or begin at the session's own."""
    timeout: float | None = 300.0
    """Seconds to wait for the session; None for ever."""
    on_failure: Literal["keep", "rollback"] = "keep"
    """What becomes of a failed turn's items: they stay, since tools may have acted, or the history is as before."""
    on_pending: Literal["error", "reject"] = "error"
    """A message while tool calls wait for approval is refused, or rejects them and goes on."""


@dataclass(slots=True)
class _Run:
    """One run, ready to go."""

    info: SessionInfo
    agent: Agent[Any]
    input: Any
    recorder: Recorder
    content: list[Item] | None = None
    """What a rolled-back turn keeps of its input, so that it can be tried again."""


_Plan: TypeAlias = Callable[["SessionInfo", RunArguments], Awaitable[_Run]]


async def run_to_end(agent: Agent[Any], content: Any, **arguments: Any) -> Outcome:
    """Run without streaming."""
    return Outcome(await Runner.run(agent, content, **arguments))


class Turns:
    """Runs turns on the sessions of a store."""

    def __init__(self, store: SessionStore, registry: AgentRegistry, defaults: RunArguments) -> None:
        self.store = store
        self.registry = registry
        self.listeners = Listeners()
        self._defaults = defaults

    async def send(
        self, key: SessionKey, content: Content, options: TurnOptions, arguments: RunArguments, execute: Execute
    ) -> Reply:
        """Run a turn with a new message."""

        async def plan(info: SessionInfo, arguments: RunArguments) -> _Run:
            paused = await load_paused(self.store, info)
            if paused is None:
                return await self._new_run(info, content, options, arguments)
            if options.on_pending == "error":
                raise ApprovalPendingError(key.session_id, key.agent_id, paused.call_ids)
            run = await self._paused_run(info, paused, arguments)
            decide(key, run.input, approve=False, reject=True)
            run.input.add_input(content)
            return run

        return await self._turn(key, plan, options, arguments, execute)

    async def resume(
        self,
        key: SessionKey,
        approve: Iterable[str] | bool,
        reject: Mapping[str, str | None] | Iterable[str] | bool,
        options: TurnOptions,
        arguments: RunArguments,
        execute: Execute,
    ) -> Reply:
        """Go on with a turn that waits for approval."""

        async def plan(info: SessionInfo, arguments: RunArguments) -> _Run:
            paused = await load_paused(self.store, info)
            if paused is None:
                raise NothingToResumeError(key.session_id, key.agent_id, "no tool call waits for approval")
            run = await self._paused_run(info, paused, arguments)
            decide(key, run.input, approve, reject)
            return run

        return await self._turn(key, plan, options, arguments, execute)

    async def retry(self, key: SessionKey, options: TurnOptions, arguments: RunArguments, execute: Execute) -> Reply:
        """Run the last turn again if it has failed, was cancelled or was interrupted.

        What the turn has stored, its message and the outputs of its tools, is not stored again: the model sees
        it as history.
        """

        async def plan(info: SessionInfo, arguments: RunArguments) -> _Run:
            if info.context.last_status not in ("failed", "cancelled", "interrupted"):
                raise NothingToResumeError(key.session_id, key.agent_id, "its last turn has not failed")
            content = await self._unstored_input(info)
            return await self._new_run(info, content, options, arguments)

        return await self._turn(key, plan, options, arguments, execute)

    # --- the road ---

    async def _turn(
        self, key: SessionKey, plan: _Plan, options: TurnOptions, arguments: RunArguments, execute: Execute
    ) -> Reply:
        arguments = self._arguments(key, arguments)
        async with exclusive_turn(self.store, key, options.timeout):
            info = await self._ready(key)
            run = await plan(info, arguments)
            recorder = run.recorder
            logger.info("turn %s begins on session %r of agent %r", recorder.run_id, key.session_id, key.agent_id)
            await self.listeners.tell(TurnStarted(key, recorder.run_id, run.agent.name))
            try:
                outcome = await execute(
                    run.agent, run.input, **{**arguments, "session": recorder, "hooks": recorder.hooks}
                )
            except BaseException as error:
                await settled(self._failed(run, error, options))
                raise
            reply = await settled(self._ended(run, outcome))
        await self._tell_handoffs(reply, key)
        return reply

    async def _ready(self, key: SessionKey) -> SessionInfo:
        """Return a session that may take a turn. We hold its lock: a turn that is open has died."""
        info = await self.store.load(key)
        if info is None:
            raise SessionNotFoundError(key.session_id, key.agent_id)
        if info.status == "paused":
            raise SessionPausedError(key.session_id, key.agent_id)
        if info.status == "closed":
            raise SessionClosedError(key.session_id, key.agent_id)
        if info.context.open_run is None:
            return info
        logger.warning(
            "turn %s of session %r of agent %r was interrupted: its process died",
            info.context.open_run,
            key.session_id,
            key.agent_id,
        )
        record: RunRecord = {"type": "run", "status": "interrupted", "usage": sum_requests([]), "duration_ms": 0}
        totals = await self.store.append(key, [record_entry(record, run=info.context.open_run)])
        return info.model_copy(update={"seq": totals.seq, "context": totals.context})

    async def _new_run(
        self, info: SessionInfo, content: Content, options: TurnOptions, arguments: RunArguments
    ) -> _Run:
        last = info.context.last_agent
        if options.start == "entry" or last is None:
            agent = await self.registry.entry(info)
        else:
            agent = await self.registry.by_name(info, last)
        recorder = Recorder(
            self.store, info.key, uuid4().hex[:12], hooks=arguments.get("hooks"), model=_model_of(arguments)
        )
        items: list[Any] = [{"role": "user", "content": content}] if isinstance(content, str) else list(content)
        return _Run(info, agent, content, recorder, items)

    async def _paused_run(self, info: SessionInfo, paused: PausedTurn, arguments: RunArguments) -> _Run:
        root = await self.registry.by_name(info, paused.agent)
        state = await paused.restore(root, arguments.get("context"))
        recorder = Recorder(
            self.store,
            info.key,
            paused.run,
            hooks=arguments.get("hooks"),
            model=_model_of(arguments),
            agent=info.context.last_agent,
            spent=paused.mark,
        )
        return _Run(info, root, state, recorder)

    async def _ended(self, run: _Run, outcome: Outcome) -> Reply:
        """Store the end of a run and return its reply."""
        recorder = run.recorder
        result = outcome.result
        last_agent = result.last_agent.name
        status: RunStatus = "cancelled" if outcome.cancelled else "completed"
        if result.interruptions:
            status = "awaiting_approval"
        try:
            if status == "awaiting_approval":
                paused = PausedTurn.of(recorder.run_id, run.agent, recorder.mark(), result)
                await paused.save(self.store, recorder.key)
            await recorder.finish(status, last_agent=last_agent)
            if run.info.context.last_status == "awaiting_approval" and status != "awaiting_approval":
                await self.store.delete_sidecar(recorder.key, RUN_STATE)
        except SessionError as error:
            failure = ReplyNotStoredError(recorder.key.session_id, recorder.key.agent_id)
            failure.reply = _reply_of(recorder, status, result, last_agent)
            await self.listeners.tell(TurnFailed(recorder.key, recorder.run_id, failure))
            raise failure from error
        reply = _reply_of(recorder, status, result, last_agent)
        await self._tell_end(recorder, reply)
        return reply

    async def _failed(self, run: _Run, error: BaseException, options: TurnOptions) -> None:
        """Store that a run has failed, with all that it has spent."""
        recorder = run.recorder
        status: RunStatus = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
        logger.warning(
            "turn %s of session %r of agent %r has %s: %s",
            recorder.run_id,
            recorder.key.session_id,
            recorder.key.agent_id,
            "failed" if status == "failed" else "been cancelled",
            type(error).__name__,
        )
        try:
            await recorder.finish(status, error=type(error).__name__)
            if options.on_failure == "rollback":
                await self._roll_back(run)
        except SessionError as second:
            # The first error is the one to raise; the turn stays open and the next one calls it interrupted.
            logger.error("the end of turn %s could not be stored: %s", recorder.run_id, second)  # noqa: TRY400
        await self.listeners.tell(TurnFailed(recorder.key, recorder.run_id, error))

    async def _roll_back(self, run: _Run) -> None:
        """Take a run's items out of the history. What it has cost, and that it failed, stays."""

        def change(history: History) -> History:
            mine = run.recorder.run_id
            kept = [entry for entry in history.entries if "item" not in entry or entry.get("run") != mine]
            return history.with_entries([_with_input(entry, mine, run.content) for entry in kept])

        await self.store.rewrite(run.recorder.key, change)

    async def _unstored_input(self, info: SessionInfo) -> Any:
        """Return the input of the last turn if it was rolled back; none if its message is in the history."""
        entries = await self.store.entries(info.key, last=1)
        record = cast("dict[str, Any]", entries[-1].get("record", {})) if entries else {}
        return record.get("input", [])

    # --- around it ---

    def _arguments(self, key: SessionKey, arguments: RunArguments) -> RunArguments:
        for name, reason in _REFUSED.items():
            if name in arguments:
                raise TypeError(f"{name} cannot be combined with a session: {reason}")
        unknown = set(arguments) - set(RunArguments.__annotations__)
        if unknown:
            raise TypeError(f"unknown arguments: {', '.join(sorted(unknown))}")
        merged: RunArguments = {**self._defaults, **arguments}
        merged["run_config"] = _grouped(merged.get("run_config"), key.session_id)
        return merged

    async def _tell_end(self, recorder: Recorder, reply: Reply) -> None:
        if reply.status == "awaiting_approval":
            calls = tuple(item.call_id or "" for item in reply.interruptions)
            await self.listeners.tell(ApprovalNeeded(recorder.key, recorder.run_id, calls))
        else:
            await self.listeners.tell(TurnFinished(recorder.key, recorder.run_id, reply.last_agent, reply.usage))

    async def _tell_handoffs(self, reply: Reply, key: SessionKey) -> None:
        for handoff in reply.handoffs:
            await self.listeners.tell(HandedOff(key, reply.run_id, handoff.from_agent, handoff.to_agent))


def _reply_of(recorder: Recorder, status: RunStatus, result: Result, last_agent: str) -> Reply:
    return Reply(
        session_id=recorder.session_id,
        run_id=recorder.run_id,
        status=status,
        text=text_of(result),
        final_output=result.final_output,
        usage=TokenUsage.model_validate(sum_requests(recorder.spent)),
        last_agent=last_agent,
        entries=[typed(entry) for entry in recorder.written],
        interruptions=list(result.interruptions),
        run_result=result,
    )


def _with_input(entry: Entry, run_id: str, content: list[Item] | None) -> Entry:
    """Keep the input of a rolled-back turn in the record of its end, for `retry`."""
    record = entry.get("record")
    if content is None or record is None or record["type"] != "run" or entry.get("run") != run_id:
        return entry
    return {**entry, "record": cast("RunRecord", {**record, "input": content})}


def _grouped(config: RunConfig | dict[str, Any] | None, session_id: str) -> RunConfig | dict[str, Any]:
    """Return a run config whose traces are grouped by session, unless it names a group itself.

    A dict stays one: only then the Runner closes the model provider that it makes for the run.
    """
    if config is None or isinstance(config, dict):
        return {"group_id": session_id, **(config or {})}
    return config if config.group_id is not None else dataclasses.replace(config, group_id=session_id)


def _model_of(arguments: RunArguments) -> str | None:
    config = arguments.get("run_config")
    model = config.get("model") if isinstance(config, dict) else getattr(config, "model", None)
    return model if isinstance(model, str) else None
