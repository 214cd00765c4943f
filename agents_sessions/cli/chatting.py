"""Talk to an agent: answers as they come, tool calls, questions of approval, and Ctrl-C that ends a turn only."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from agents_sessions.cli.screen import on_one_line, visible
from agents_sessions.cli.settings import Settings, store_at
from agents_sessions.errors import InvalidValueError, SessionError, SessionNotFoundError

if TYPE_CHECKING:
    from agents_sessions.manager.manager import SessionManager
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.turns.approvals import PendingApproval
    from agents_sessions.turns.reply import Reply
    from agents_sessions.turns.stream import ReplyStream

_EVERYWHERE = Settings()
_NO = Annotated[bool, Parameter(negative=())]
_T = TypeVar("_T")
_HELP = (
    "/undo takes the last turn back, /retry asks again, /agents lists them, /save FILE exports, /quit ends (Ctrl-D)."
)


def chat(
    *,
    agent: str | None = None,
    session: str | None = None,
    continue_: Annotated[bool, Parameter(name=("--continue", "-c"), negative=())] = False,
    mode: str | None = None,
    demo: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Talk to an agent. Ctrl-C ends the turn that runs, Ctrl-D the chat; /help lists what else there is.

    Example: `agents-sessions chat --agent my_app.agents:support --continue`

    Args:
        agent: Where the agent is, as module:object. The object may be a list: its first agent begins.
        session: Go on with this one: its id, the first 4 or more characters of it, or its name.
        continue_: Go on with the session of this agent that was active last in this folder.
        mode: The mode of a new session.
        demo: Talk to an agent that answers by rules, without a key.
    """
    if (agent is None) == (not demo):
        raise InvalidValueError({"--agent": "or --demo must be given, one of the two"})
    if session is not None and continue_:
        raise InvalidValueError({"--continue": "cannot be given with --session"})
    agents, options = _demo() if agent is None else (_loaded(agent), {})
    from agents_sessions.manager.manager import SessionManager

    with asyncio.Runner() as runner:
        store = store_at(settings.root, new=True)
        manager = SessionManager(store, agents=agents, lock_timeout=settings.wait, trash="30d", **options)
        try:
            info = runner.run(_begun(manager, agents[0].name, session, mode, go_on=continue_))
            talk = _Talk(runner, manager, info, settings, [each.name for each in agents])
            talk.run()
            again = ["--demo"] if agent is None else ["--agent", agent]
            settings.note(f"Go on: {settings.command('chat', *again, '--session', info.id)}")
        finally:
            runner.run(manager.aclose(drain_timeout=0))
            runner.run(store.aclose())
    return 0


def _demo() -> tuple[list[Any], dict[str, Any]]:
    from agents_sessions.cli.demo import demo_agent, demo_config

    return [demo_agent()], {"run_config": demo_config()}


def _loaded(place: str) -> list[Any]:
    """Return the agents of `module:object`, which is looked for in the working folder too.

    Raises:
        InvalidValueError: There is none.
    """
    from agents import Agent

    name, colon, path = place.partition(":")
    if not colon or not name or not path:
        raise InvalidValueError({"--agent": f"must be module:object, not {place!r:.80}"})
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidValueError({"--agent": f"{place!r:.80} cannot be loaded: {error}"}) from error
    agents = list(found) if isinstance(found, list | tuple) else [found]
    if not agents or not all(isinstance(each, Agent) for each in agents):
        raise InvalidValueError({"--agent": f"{place!r:.80} must be an Agent or a list of them"})
    return agents


async def _begun(
    manager: SessionManager, agent: str, session: str | None, mode: str | None, *, go_on: bool
) -> SessionInfo:
    if session is not None:
        return await manager.resolve(session)
    here = str(Path.cwd())
    if not go_on:
        return await manager.create_session(agent, mode=mode, working_dir=here)
    latest = await manager.latest_session(agent_id=agent, working_dir=here)
    if latest is None:
        raise SessionNotFoundError("of this folder", f"agent {agent!r} has none in {here}; leave --continue out")
    return latest


class _Talk:
    """A conversation at the terminal. Each turn is one run of the event loop, so that Ctrl-C ends that and no more."""

    def __init__(
        self, runner: asyncio.Runner, manager: SessionManager, info: SessionInfo, settings: Settings, names: list[str]
    ) -> None:
        self._runner = runner
        self._manager = manager
        self._key = info.key
        self._settings = settings
        self._names = names
        self._always: set[tuple[str, str]] = set()
        self._speaker = ""
        self._in_line = False
        self._asks = settings.input and sys.stdin.isatty()

    def run(self) -> None:
        """Take lines until there are no more."""
        self._settings.note(f"Session {self._key.session_id} of {self._key.agent_id}. {_HELP}")
        self._decide()
        while (line := self._line("> ")) is not None and line.strip() != "/quit":
            if line.startswith("/"):
                self._command(line.split())
            elif line.strip():
                self._turn(partial(self._manager.stream_message, content=line))

    def _line(self, prompt: str) -> str | None:
        """Return what is typed next; None at its end. Ctrl-C throws the line away."""
        while True:
            try:
                return input(prompt if self._asks else "")
            except EOFError:
                return None
            except KeyboardInterrupt:
                self._settings.note("\nCtrl-D ends.")

    def _attempt(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Do something whose failure is said, and does not end the chat; None if it failed."""
        try:
            return self._runner.run(work)
        except KeyboardInterrupt:
            self._settings.note("\nCancelled.")
        except Exception as error:
            if self._settings.debug:
                raise
            self._settings.note(str(error) if isinstance(error, SessionError) else f"{type(error).__name__}: {error}")
        return None

    def _command(self, words: Sequence[str]) -> None:
        match words:
            case ["/undo"]:
                self._attempt(self._undo())
            case ["/retry"]:
                self._turn(self._manager.stream_regenerate)
            case ["/agents"]:
                self._settings.screen.line(", ".join(self._names))
            case ["/save", path]:
                self._attempt(self._save(path))
            case _:
                self._settings.note(_HELP)

    async def _undo(self) -> None:
        for turn in await self._manager.undo(self._key.session_id, agent_id=self._key.agent_id):
            self._settings.note(f"Taken back: {turn.text}")

    async def _save(self, path: str) -> None:
        session_id, agent_id = self._key.session_id, self._key.agent_id
        report = await self._manager.transfer.export_to_file(session_id, path, agent_id=agent_id)
        self._settings.note(f"Saved: {report.path}")

    def _turn(self, begin: Callable[..., ReplyStream]) -> None:
        self._attempt(self._streamed(begin))
        self._decide()

    def _decide(self) -> None:
        """Ask about the calls that wait, as long as some do: outside of the loop, where Ctrl-C reaches a prompt."""
        while waiting := self._attempt(
            self._manager.pending_approvals(self._key.session_id, agent_id=self._key.agent_id)
        ):
            if not self._asks:
                self._settings.note(f"{len(waiting)} tool calls wait for approval: chat in a terminal to decide.")
                return
            approved, rejected = self._answers(waiting)
            resume = partial(self._manager.stream_resume, approve=approved, reject=rejected)
            if self._attempt(self._streamed(resume)) is None:
                return

    def _answers(self, waiting: Sequence[PendingApproval]) -> tuple[list[str], dict[str, str | None]]:
        """Ask about each call: once, always in this chat, or no with a reason. No answer is a no."""
        approved: list[str] = []
        rejected: dict[str, str | None] = {}
        for call in waiting:
            if (call.agent, call.tool) in self._always:
                approved.append(call.call_id)
                continue
            self._settings.note(f"{call.agent} wants to call {call.tool} {call.arguments}")
            answer = (self._line("[y]es, [a]lways in this chat, or [n]o? ") or "n").strip().lower()
            if answer in ("y", "yes", "a", "always"):
                approved.append(call.call_id)
            else:
                rejected[call.call_id] = (self._line("Why not? ") or "").strip() or None
            if answer in ("a", "always"):
                self._always.add((call.agent, call.tool))
        return approved, rejected

    async def _streamed(self, begin: Callable[..., ReplyStream]) -> Reply:
        """Show a turn as it comes. Ctrl-C cancels this task: then the turn is cancelled, and its end awaited."""
        stream = begin(self._key.session_id, agent_id=self._key.agent_id)
        try:
            async for event in stream.stream_events():
                self._show(event)
            reply = await stream.reply()
        except asyncio.CancelledError:
            stream.cancel()
            reply = await stream.reply()
        self._note(f"{reply.last_agent} · {reply.status} · {reply.usage.total_tokens:,} tokens")
        return reply

    def _show(self, event: Any) -> None:
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            sys.stdout.write(visible(event.data.delta))
            sys.stdout.flush()
            self._in_line = True
        elif event.type == "agent_updated_stream_event" and event.new_agent.name != self._speaker:
            self._speaker = event.new_agent.name
            self._note(f"⇢ {self._speaker}")
        elif event.type == "run_item_stream_event" and event.item.type == "tool_call_item":
            raw = event.item.raw_item
            self._note(f"⚙ {getattr(raw, 'name', '') or raw.type} {getattr(raw, 'arguments', '')}")
        elif event.type == "run_item_stream_event" and event.item.type == "tool_call_output_item":
            self._note(f"↳ {event.item.output}")

    def _note(self, text: str) -> None:
        """Show a line about the turn, below what was said so far."""
        if self._in_line:
            sys.stdout.write("\n")
        self._in_line = False
        self._settings.screen.line((on_one_line(text), "dim"))
