"""Which `Agent` object a name means.

Agents are given as one, as a list, as a mapping from names to agents, or as a factory that makes the agent of a session
(a plan-mode session may get an agent with read-only tools). Names resolve through the handoff graph, so that a
conversation can go on with the agent it was handed to.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from agents import Agent

from agents_sessions.errors import AgentAmbiguousError, UnknownAgentError
from agents_sessions.model.info import SessionInfo
from agents_sessions.turns.way import Some, agent_of

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey

AgentFactory: TypeAlias = Callable[[SessionInfo], "Agent[Any] | Awaitable[Agent[Any]]"]
Agents: TypeAlias = "Agent[Any] | Iterable[Agent[Any]] | Mapping[str, Agent[Any]] | AgentFactory"
Way: TypeAlias = Callable[[Agent[Any], Callable[[str], Some]], Awaitable[Some]]
"""Returns the agents that may have a conversation, from the session's own agent and a look-up by names."""
MissingAgent = Literal["error", "entry"]
"""What becomes of a message whose agent is gone: an error, or the session's own agent takes it."""


class AgentRegistry:
    """The agents of an application.

    Raises:
        TypeError: What is given is neither agents nor a function that makes them.
        ValueError: Two agents of a list have one name, or `missing_agent` is none of its values.
    """

    def __init__(self, agents: Agents = (), missing_agent: MissingAgent = "error") -> None:
        if missing_agent not in get_args(MissingAgent):
            raise ValueError(f"missing_agent must be 'error' or 'entry', not {missing_agent!r:.80}")
        self.missing_agent = missing_agent
        self._factory: AgentFactory | None = None
        self._named: dict[str, Agent[Any]] = {}
        if isinstance(agents, Mapping):
            self._named = dict(agents)
        elif isinstance(agents, Agent):
            self._named = {agents.name: agents}
        elif isinstance(agents, Iterable):
            self._named = _by_name(agents)
        else:
            self._factory = _checked_factory(agents)
        for agent in self._named.values():
            _check_agent(agent)

    def check_entry(self, name: str) -> None:
        """Refuse a name that no session could start with. A factory may know any name.

        Raises:
            UnknownAgentError: Agents were given, and this name means none of them.
        """
        if self._named:
            self._lookup(name, self._named.values())

    async def entry(self, info: SessionInfo) -> Agent[Any]:
        """Return the agent that a session belongs to.

        Raises:
            UnknownAgentError: Its `agent_id` means no agent.
        """
        if self._factory is None:
            return self._named.get(info.agent_id) or self._lookup(info.agent_id, self._named.values(), info.key)
        made = self._factory(info)
        agent = await made if inspect.isawaitable(made) else made
        if not isinstance(agent, Agent):
            reason = f"the factory in agents= returned a {type(agent).__name__!r} for session {info.id!r}, not an Agent"
            raise UnknownAgentError(info.agent_id, reason=reason)
        return agent

    async def by_name(self, info: SessionInfo, name: str, way: Way | None = None) -> Agent[Any]:
        """Return an agent of a session by its name, looked up from the session's own agent on.

        `way` reads how the conversation came to the agent. It is asked where several agents have the name.

        Raises:
            UnknownAgentError: No agent in reach has this name.
            AgentAmbiguousError: Several have, and the way does not tell which one is meant.
        """
        entry = await self.entry(info)
        roots = [entry, *self._named.values()]
        found = self._lookup(name, roots, info.key)
        same = _named(name, roots) or [found]
        if len(same) > 1 and way is not None:
            there = await way(entry, lambda name: _named(name, roots))
            same = [agent for agent in there if agent.name == name] or same
        if len(same) > 1:
            raise AgentAmbiguousError(name, len(same), info.key)
        return same[0]

    def _lookup(self, name: str, roots: Iterable[Agent[Any]], session: SessionKey | None = None) -> Agent[Any]:
        known: dict[str, Agent[Any]] = {}
        for agent in reachable(roots):
            known.setdefault(agent.name, agent)
        found = known.get(name, self._named.get(name))
        if found is None:
            raise UnknownAgentError(name, tuple(sorted({*known, *self._named})), session=session)
        return found


def reachable(roots: Iterable[Agent[Any]]) -> Iterator[Agent[Any]]:
    """Yield some agents and all that they can hand off to, nearest first, each once, cycles or not."""
    waiting = list(roots)
    seen: set[int] = set()
    for agent in waiting:
        if id(agent) not in seen:
            seen.add(id(agent))
            yield agent
            waiting += [target for target in map(agent_of, agent.handoffs) if target is not None]


def _named(name: str, roots: Iterable[Agent[Any]]) -> list[Agent[Any]]:
    return [agent for agent in reachable(roots) if agent.name == name]


def _check_agent(agent: object) -> None:
    if not isinstance(agent, Agent):
        raise TypeError(f"agents= takes Agent objects, a mapping to them, or a factory, not a {type(agent).__name__!r}")


def _checked_factory(factory: AgentFactory) -> AgentFactory:
    if not callable(factory):
        _check_agent(factory)
    return factory


def _by_name(agents: Iterable[Agent[Any]]) -> dict[str, Agent[Any]]:
    named: dict[str, Agent[Any]] = {}
    for agent in agents:
        _check_agent(agent)
        if named.setdefault(agent.name, agent) is not agent:
            raise ValueError(f"two agents are named {agent.name!r}; sessions tell agents apart by name")
    return named
