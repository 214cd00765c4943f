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
    from agents_sessions.model.entries import TurnStatus
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
    from agents_sessions.model.info import SessionInfo, SessionStatus, SessionType
    from agents_sessions.model.totals import ContextStats
    from agents_sessions.model.usage import TokenUsage
    from agents_sessions.not_given import NOT_GIVEN, NotGiven
    from agents_sessions.opened import open_session
    from agents_sessions.session import FileSession, ManagedSession, MemorySession, StoredSession
    from agents_sessions.stores.base import Durability, SessionStore
    from agents_sessions.stores.file.store import FileStore
    from agents_sessions.stores.memory import MemoryStore
    from agents_sessions.stores.postgres.store import PostgresStore
    from agents_sessions.stores.redis.store import RedisStore
    from agents_sessions.stores.sqlite.store import SQLiteStore
    from agents_sessions.stores.urls import store_from_url
    from agents_sessions.turns.agents import AgentFactory, Agents
    from agents_sessions.turns.approvals import PendingApproval
    from agents_sessions.turns.events import (
        ApprovalNeeded,
        HandedOff,
        Listener,
        TurnEvent,
        TurnFailed,
        TurnFinished,
        TurnStarted,
    )
    from agents_sessions.turns.options import (
        OnFailure,
        OnPending,
        RetryOptions,
        RunArguments,
        SendOptions,
        Start,
        TurnOptions,
    )
    from agents_sessions.turns.reply import Reply, ReplySummary
    from agents_sessions.turns.request import Content
    from agents_sessions.turns.stream import ReplyStream

__all__ = [
    "NOT_GIVEN",
    "AgentFactory",
    "Agents",
    "ApprovalNeeded",
    "Content",
    "ContextStats",
    "DecisionEntry",
    "Durability",
    "FileSession",
    "FileStore",
    "HandedOff",
    "HandoffEntry",
    "HistoryEntry",
    "ItemEntry",
    "Listener",
    "ManagedSession",
    "MemorySession",
    "MemoryStore",
    "Message",
    "ModelRequest",
    "NotGiven",
    "OnFailure",
    "OnPending",
    "PendingApproval",
    "PostgresStore",
    "RedisStore",
    "Reply",
    "ReplyStream",
    "ReplySummary",
    "RetryOptions",
    "RunArguments",
    "SQLiteStore",
    "SendOptions",
    "SessionError",
    "SessionInfo",
    "SessionKey",
    "SessionManager",
    "SessionStatus",
    "SessionStore",
    "SessionType",
    "Start",
    "StoredSession",
    "TokenUsage",
    "TurnEntry",
    "TurnEvent",
    "TurnFailed",
    "TurnFinished",
    "TurnOptions",
    "TurnStarted",
    "TurnStatus",
    "UsageEntry",
    "open_session",
    "store_from_url",
]
__version__ = "0.1.0"

_HOME = {
    "AgentFactory": "turns.agents",
    "Agents": "turns.agents",
    "ApprovalNeeded": "turns.events",
    "Content": "turns.request",
    "ContextStats": "model.totals",
    "DecisionEntry": "model.history",
    "Durability": "stores.base",
    "FileSession": "session",
    "FileStore": "stores.file.store",
    "HandedOff": "turns.events",
    "HandoffEntry": "model.history",
    "HistoryEntry": "model.history",
    "ItemEntry": "model.history",
    "Listener": "turns.events",
    "ManagedSession": "session",
    "MemorySession": "session",
    "MemoryStore": "stores.memory",
    "Message": "model.history",
    "ModelRequest": "model.history",
    "NOT_GIVEN": "not_given",
    "NotGiven": "not_given",
    "OnFailure": "turns.options",
    "OnPending": "turns.options",
    "PendingApproval": "turns.approvals",
    "PostgresStore": "stores.postgres.store",
    "RedisStore": "stores.redis.store",
    "Reply": "turns.reply",
    "ReplyStream": "turns.stream",
    "ReplySummary": "turns.reply",
    "RetryOptions": "turns.options",
    "RunArguments": "turns.options",
    "SQLiteStore": "stores.sqlite.store",
    "SendOptions": "turns.options",
    "SessionError": "errors",
    "SessionInfo": "model.info",
    "SessionKey": "keys",
    "SessionManager": "manager.manager",
    "SessionStatus": "model.info",
    "SessionStore": "stores.base",
    "SessionType": "model.info",
    "Start": "turns.options",
    "StoredSession": "session",
    "TokenUsage": "model.usage",
    "TurnEntry": "model.history",
    "TurnEvent": "turns.events",
    "TurnFailed": "turns.events",
    "TurnFinished": "turns.events",
    "TurnOptions": "turns.options",
    "TurnStarted": "turns.events",
    "TurnStatus": "model.entries",
    "UsageEntry": "model.history",
    "open_session": "opened",
    "store_from_url": "stores.urls",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
