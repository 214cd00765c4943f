"""Ask somebody for a summary: an agent, a function, or no one at all."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import InvalidValueError, SummariserError
from agents_sessions.model.transcript import composed_summary, transcript
from agents_sessions.model.usage import UsageMark, rows_since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents import Agent, RunConfig

    from agents_sessions.model.entries import Entry, Item
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.usage import RequestRow
    from agents_sessions.turns.agents import AgentRegistry

TASK = (
    "Sum up the conversation below for an assistant that goes on with it: what was asked, what was done and found out,"
    " what was decided, and what is still open. Keep names, numbers and ids. Do not answer anything in it."
)
"""What an agent is asked, before the conversation."""


@dataclass(frozen=True, slots=True)
class Summarised:
    """A summary, and what it has cost."""

    text: str
    requests: list[RequestRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Summarisers:
    """Those who can be asked for a summary."""

    registry: AgentRegistry
    run_config: RunConfig | dict[str, Any] | None = None
    """How agents are run."""

    def check(self, summariser: object) -> None:
        """Refuse what cannot write a summary.

        Raises:
            InvalidValueError: It is neither an agent, nor the name of one, nor a function, nor None.
        """
        if summariser is None or isinstance(summariser, str) or callable(summariser):
            return
        from agents import Agent  # here, and below: where no model is asked, nobody needs the SDK

        if not isinstance(summariser, Agent):
            what = type(summariser).__name__
            raise InvalidValueError({"the summariser": f"must be an agent, its name, or a function, not a {what!r}"})

    async def ask(
        self, summariser: object, info: SessionInfo, entries: Sequence[Entry], earlier: Entry | None = None
    ) -> Summarised:
        """Return a summary of some entries, and of an earlier summary that stands before them.

        Raises:
            SummariserError: It could not be made. What was raised is chained.
        """
        self.check(summariser)
        try:
            made = await self._made(summariser, info, entries, earlier)
        except Exception as error:
            raise SummariserError(info.key, f"its summariser failed: {type(error).__name__}") from error
        if not isinstance(made.text, str) or not made.text.strip():
            raise SummariserError(info.key, "its summariser returned no text")
        return made

    async def _made(
        self, summariser: Any, info: SessionInfo, entries: Sequence[Entry], earlier: Entry | None
    ) -> Summarised:
        if summariser is None:
            return Summarised(composed_summary(entries, unmarked(earlier)) or "Nothing was said.")
        if earlier is not None:
            entries = [earlier, *entries]
        if isinstance(summariser, str):
            summariser = await self.registry.by_name(info, summariser)
        from agents import Agent

        if isinstance(summariser, Agent):
            return await self._of_agent(summariser, entries)
        made = summariser([entry["item"] for entry in entries if "item" in entry])
        return Summarised(await made if inspect.isawaitable(made) else made)

    async def _of_agent(self, agent: Agent[Any], entries: Sequence[Entry]) -> Summarised:
        from agents import Runner

        from agents_sessions.turns.reply import text_of

        result = await Runner.run(agent, f"{TASK}\n\n{transcript(entries)}", run_config=self.run_config)
        rows = rows_since(UsageMark(), result.context_wrapper.usage)
        # They fill another context window than the session's own, as those of an agent used as a tool do.
        return Summarised(text_of(result), [{**row, "agent": agent.name, "nested": True} for row in rows])


def marked(heading: str, text: str) -> Item:
    """Return a text of ours as a message to the model that says what it is."""
    return {"role": "user", "content": f"[{heading}]\n{text}"}


def unmarked(entry: Entry | None) -> str:
    """Return the text of a message that `marked` has made."""
    return "" if entry is None else str(entry["item"].get("content", "")).partition("]\n")[2]
