"""Durable, readable sessions for the OpenAI Agents SDK.

Importing this package costs next to nothing: a name is loaded when it is first used.
The errors are in `agents_sessions.errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.errors import SessionError
    from agents_sessions.keys import SessionKey
    from agents_sessions.manager import SessionManager
    from agents_sessions.model.history import (
        DecisionEntry,
        HandoffEntry,
        HistoryEntry,
        ItemEntry,
        Message,
        ModelRequest,
        TurnEntry,
        UsageEntry,
    )
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.totals import ContextStats
    from agents_sessions.model.usage import TokenUsage
    from agents_sessions.session import FileSession, MemorySession, StoredSession
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.stores.file.store import FileStore
    from agents_sessions.stores.memory import MemoryStore
    from agents_sessions.turns.approvals import PendingApproval
    from agents_sessions.turns.events import ApprovalNeeded, HandedOff, TurnEvent, TurnFailed, TurnFinished, TurnStarted
    from agents_sessions.turns.options import RunArguments, SendOptions
    from agents_sessions.turns.reply import Reply
    from agents_sessions.turns.stream import ReplyStream

__all__ = [
    "ApprovalNeeded",
    "ContextStats",
    "DecisionEntry",
    "FileSession",
    "FileStore",
    "HandedOff",
    "HandoffEntry",
    "HistoryEntry",
    "ItemEntry",
    "MemorySession",
    "MemoryStore",
    "Message",
    "ModelRequest",
    "PendingApproval",
    "Reply",
    "ReplyStream",
    "RunArguments",
    "SendOptions",
    "SessionError",
    "SessionInfo",
    "SessionKey",
    "SessionManager",
    "SessionStore",
    "StoredSession",
    "TokenUsage",
    "TurnEntry",
    "TurnEvent",
    "TurnFailed",
    "TurnFinished",
    "TurnStarted",
    "UsageEntry",
]
__version__ = "0.1.0"

_HOME = {
    "ApprovalNeeded": "turns.events",
    "ContextStats": "model.totals",
    "FileSession": "session",
    "FileStore": "stores.file.store",
    "HandedOff": "turns.events",
    "DecisionEntry": "model.history",
    "HandoffEntry": "model.history",
    "HistoryEntry": "model.history",
    "ItemEntry": "model.history",
    "MemorySession": "session",
    "MemoryStore": "stores.memory",
    "Message": "model.history",
    "ModelRequest": "model.history",
    "PendingApproval": "turns.approvals",
    "Reply": "turns.reply",
    "ReplyStream": "turns.stream",
    "RunArguments": "turns.options",
    "TurnEntry": "model.history",
    "SendOptions": "turns.options",
    "SessionError": "errors",
    "SessionInfo": "model.info",
    "SessionKey": "keys",
    "SessionManager": "manager.manager",
    "SessionStore": "stores.base",
    "StoredSession": "session",
    "TokenUsage": "model.usage",
    "TurnEvent": "turns.events",
    "TurnFailed": "turns.events",
    "TurnFinished": "turns.events",
    "TurnStarted": "turns.events",
    "UsageEntry": "model.history",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
