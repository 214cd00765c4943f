"""Which of several agents of one name has a conversation: the one that its handoffs lead to.

Names are all that a history keeps of agents. Where two agents of the handoff graph share one, the way tells them apart:
it begins at the session's own agent and follows the handoffs, in the order in which they were made. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from agents import Agent, Handoff, handoff

from agents_sessions.turns.sdk_internals import target_of

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry, HandoffRecord, TurnRecord

Some = list[Agent[Any]]
"""The agents that it may be. Two objects are two agents."""


def speakers(entry: Agent[Any], history: Sequence[Entry], named: Callable[[str], Some], until: str = "") -> Some:
    """Return the agents that may have the conversation behind a history, or before its turn `until`.

    Args:
        entry: The session's own agent.
        history: All entries of the session.
        named: Returns the agents of a name, for a way that begins or goes on somewhere unknown.
        until: A turn; by default the end of the history.
    """
    here, met = [entry], set()
    starts = _starts(history)
    for each in history:
        turn = each.get("turn", "")
        if turn and turn == until:
            break
        if turn not in met:
            met.add(turn)
            here = _beginning(starts.get(turn), here, entry, lambda: named(_first_speaker(history, turn)))  # noqa: B023
        if "record" in each and each["record"]["type"] == "handoff":
            here = _followed(here, each["record"]) or named(each["record"]["to"])
    return here


def _starts(history: Iterable[Entry]) -> dict[str, TurnRecord]:
    """Return the first end of each turn, which says how the turn began."""
    starts: dict[str, TurnRecord] = {}
    for each in history:
        if "record" in each and each["record"]["type"] == "turn":
            starts.setdefault(each.get("turn", ""), each["record"])
    return starts


def _beginning(end: TurnRecord | None, here: Some, entry: Agent[Any], chosen: Callable[[], Some]) -> Some:
    start = None if end is None else end.get("start")
    if start == "entry":
        return [entry]
    if start == "agent":
        return chosen()
    if end is not None and end["status"] == "interrupted" and all(agent is not entry for agent in here):
        return [*here, entry]  # its process died, and no one has written down how it began
    return here


def _first_speaker(history: Iterable[Entry], turn: str) -> str:
    """Return the name of the agent that a turn began with, as its first own entry says."""
    for each in history:
        if each.get("turn") != turn or "record" not in each:
            continue
        record = each["record"]
        if record["type"] == "handoff":
            return record["from"]
        if record["type"] == "usage" and record["requests"] and not record["requests"][0].get("nested"):
            return record["requests"][0].get("agent", "")
        if record["type"] == "turn":
            return record.get("last_agent", "")
    return ""


def _followed(here: Some, record: HandoffRecord) -> Some:
    """Return the agents that a handoff leads to from some agents."""
    sources = [agent for agent in here if agent.name == record["from"]]
    found = {id(agent): agent for source in sources for agent in _targets(source, record)}
    return list(found.values())


def _targets(source: Agent[Any], record: HandoffRecord) -> Iterable[Agent[Any]]:
    tool = record.get("tool")
    for each in source.handoffs:
        target = agent_of(each)
        if target is not None and target.name == record["to"] and tool in (None, tool_of(each)):
            yield target


def agent_of(each: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | None:
    """Return the agent that an element of `handoffs` leads to, if that can be known."""
    return each if isinstance(each, Agent) else target_of(each)


def tool_of(each: Agent[Any] | Handoff[Any, Any]) -> str:
    """Return the name of the tool that an element of `handoffs` is to the model."""
    return (each if isinstance(each, Handoff) else handoff(each)).tool_name
