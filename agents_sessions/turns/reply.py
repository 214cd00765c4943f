"""What comes back from a turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents import ItemHelpers
from pydantic import BaseModel, ConfigDict
from pydantic_core import core_schema

from agents_sessions.model.entries import TurnStatus  # noqa: TC001 -- a field of ReplySummary
from agents_sessions.model.history import HandoffEntry, HistoryEntry, typed
from agents_sessions.model.usage import TokenUsage, sum_rows
from agents_sessions.turns.approvals import PendingApproval, pending_approval

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming
    from agents.items import ToolApprovalItem
    from pydantic import GetCoreSchemaHandler

    from agents_sessions.turns.ledger import Ledger


class ReplySummary(BaseModel):
    """A reply as plain data, for a response or a log: see `Reply.summary`."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    turn_id: str
    status: TurnStatus
    text: str
    final_output: Any
    usage: TokenUsage
    last_agent: str
    entries: list[HistoryEntry]
    pending: list[PendingApproval]
    """The tool calls that wait for approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The outcome of one turn. As a response of pydantic or FastAPI it is its `summary`."""

    session_id: str
    turn_id: str
    """The turn, as the `turn` of its history entries."""
    status: TurnStatus
    """`completed`; `awaiting_approval` if tool calls wait for a decision; `cancelled` for a cancelled stream."""
    text: str
    """What the last agent said. Empty if the turn has not completed."""
    final_output: Any
    """The SDK's final output: text, or a value of the agent's output type."""
    usage: TokenUsage
    """What this turn has cost; after a resume, what it cost since then."""
    last_agent: str
    """The agent that the next message goes to."""
    entries: list[HistoryEntry]
    """What this turn has added to the history."""
    interruptions: list[ToolApprovalItem] = field(default_factory=list)
    """The tool calls that wait for approval: `manager.resume` decides about them."""
    run_result: RunResult | RunResultStreaming = field(repr=False)
    """The SDK's own result."""

    @property
    def handoffs(self) -> list[HandoffEntry]:
        """The handoffs of this turn, in order, also those that an input filter hid from the model."""
        return [entry for entry in self.entries if isinstance(entry, HandoffEntry)]

    def summary(self) -> ReplySummary:
        """Return the same as plain data, without the SDK's own objects."""
        return ReplySummary(
            session_id=self.session_id,
            turn_id=self.turn_id,
            status=self.status,
            text=self.text,
            final_output=self.final_output,
            usage=self.usage,
            last_agent=self.last_agent,
            entries=self.entries,
            pending=[pending_approval(item) for item in self.interruptions],
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.summary, return_schema=handler.generate_schema(ReplySummary)
            ),
        )


def reply_of(session_id: str, ledger: Ledger, status: TurnStatus, result: RunResult | RunResultStreaming) -> Reply:
    """Return what a turn has come to, as its ledger has it."""
    return Reply(
        session_id=session_id,
        turn_id=ledger.turn,
        status=status,
        text=text_of(result),
        final_output=result.final_output,
        usage=sum_rows(ledger.spent),
        last_agent=result.last_agent.name,
        entries=[typed(entry) for entry in ledger.stored],
        interruptions=list(result.interruptions),
        run_result=result,
    )


def text_of(result: RunResult | RunResultStreaming) -> str:
    """Return the final output as text: itself, or the message that a typed output was read from."""
    if isinstance(result.final_output, str):
        return result.final_output
    if result.final_output is None:
        return ""
    for item in () if _is_tool_output(result) else reversed(result.new_items):
        if item.type == "message_output_item":
            return ItemHelpers.text_message_output(item)
    return str(result.final_output)


def answer_beside_messages(result: RunResult | RunResultStreaming) -> str | None:
    """Return the final output as text if no message has it: the agent has stopped at a tool. Else None."""
    return (text_of(result) or None) if _is_tool_output(result) else None


def _is_tool_output(result: RunResult | RunResultStreaming) -> bool:
    """Tell whether the final output is what a tool returned: a message would stand behind it."""
    return bool(result.new_items) and result.new_items[-1].type == "tool_call_output_item"
