"""What only the hooks of a run can see, told to its ledger.

Rules that come from the SDK (openai-agents 0.24):

* `on_llm_end` is the only place that has agent, usage and response id together.
* `on_handoff` is the only reliable sign of a handoff: an input filter hides its items from the Runner's result.
* Agents used as tools run under hooks of their own, but add to the same usage.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from agents import RunHooks

from agents_sessions.model.usage import UsageMark, rows_since, sum_rows
from agents_sessions.turns.events import HandedOff
from agents_sessions.turns.way import agent_of, tool_of

if TYPE_CHECKING:
    from agents import Agent, AgentHookContext, Handoff, ModelResponse, RunContextWrapper, Tool
    from agents.items import TResponseInputItem

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import HandoffRecord
    from agents_sessions.model.usage import RequestRow
    from agents_sessions.turns.events import Listeners
    from agents_sessions.turns.ledger import Ledger
    from agents_sessions.turns.options import TurnSettings


class TurnHooks(RunHooks[Any]):
    """Tell a ledger what a run does, then the user's own hooks.

    Args:
        ledger: The account of the run.
        key: The session, for events.
        listeners: Who hears of handoffs.
        settings: How the turn is run, with the user's hooks and run config.
        last_response: What the model said last, if the run goes on with a turn that awaited approval.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: SessionKey,
        listeners: Listeners,
        settings: TurnSettings,
        last_response: ModelResponse | None = None,
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._listeners = listeners
        users = settings.runner.get("hooks")
        self._users = RunHooks[Any]() if users is None else users
        self._model = settings.model
        self._fallback_model = settings.fallback_model
        self._response = last_response
        self._asked: float | None = None

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        """See `RunHooks`."""
        self._ledger.usage = context.usage
        await self._users.on_agent_start(context, agent)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """See `RunHooks`."""
        self._ledger.see_agent(agent.name, context.usage)
        self._asked = monotonic()  # a run asks one model at a time
        await self._users.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """See `RunHooks`."""
        self._ledger.see_agent(agent.name, context.usage)
        self._ledger.see_request(self._row(agent, response))
        self._response = response
        await self._users.on_llm_end(context, agent, response)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        """See `RunHooks`; the SDK calls it by keyword."""
        self._ledger.see_handoff(_record_of(from_agent, to_agent, self._response))
        await self._listeners.tell(HandedOff(self._key, self._ledger.turn, from_agent.name, to_agent.name))
        await self._users.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        """See `RunHooks`."""
        self._ledger.see_answer()
        await self._users.on_agent_end(context, agent, output)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        """See `RunHooks`."""
        await self._users.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object) -> None:
        """See `RunHooks`."""
        await self._users.on_tool_end(context, agent, tool, result)

    def _row(self, agent: Agent[Any], response: ModelResponse) -> RequestRow:
        row = sum_rows(rows_since(UsageMark(), response.usage)).row()
        row["agent"] = agent.name
        model = self._model or (self._fallback_model if agent.model is None else _model_name(agent))
        if model is not None:
            row["model"] = model
        if response.response_id is not None:
            row["response_id"] = response.response_id
        if self._asked is not None:
            row["duration_ms"] = round((monotonic() - self._asked) * 1000)
        return row


def _model_name(agent: Agent[Any]) -> str | None:
    if isinstance(agent.model, str):
        return agent.model
    name = getattr(agent.model, "model", None)
    return name if isinstance(name, str) else None


def _record_of(source: Agent[Any], target: Agent[Any], response: ModelResponse | None) -> HandoffRecord:
    record: HandoffRecord = {"type": "handoff", "from": source.name, "to": target.name}
    tool, arguments = _handoff_call(source, target, response)
    if tool is not None:
        record["tool"] = tool
    if arguments is not None and arguments not in ("", "{}"):
        record["arguments"] = arguments
    return record


def _handoff_call(
    source: Agent[Any], target: Agent[Any], response: ModelResponse | None
) -> tuple[str | None, str | None]:
    """Return name and arguments of the call in a response that asked for a handoff."""
    same = [item for item in source.handoffs if agent_of(item) is target]
    tools = {tool_of(item) for item in same or source.handoffs if target.name in _names_of(item)}
    for item in [] if response is None else response.output:
        if getattr(item, "type", None) == "function_call" and getattr(item, "name", None) in tools:
            return cast("Any", item).name, cast("Any", item).arguments
    return None, None


def _names_of(item: Agent[Any] | Handoff[Any, Any]) -> tuple[str | None, str | None]:
    return getattr(item, "name", None), getattr(item, "agent_name", None)
