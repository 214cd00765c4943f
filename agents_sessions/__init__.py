"""Durable, readable sessions for the OpenAI Agents SDK.

Importing this package costs next to nothing: a name is loaded when it is first used.
The errors are in `agents_sessions.errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.errors import SessionError
    from agents_sessions.features.archive.archive import ArchivedSession, ArchiveOutcome
    from agents_sessions.features.branches.comparing import BranchDiff
    from agents_sessions.features.branches.family import Branch
    from agents_sessions.features.branches.merging import Merged
    from agents_sessions.features.bulk import SessionOutcome
    from agents_sessions.features.checkpoints import Checkpoint
    from agents_sessions.features.diagnostics.diagnostics import RepairReport
    from agents_sessions.features.encryption import RotationReport
    from agents_sessions.features.erasure import DeletionReport
    from agents_sessions.features.redaction import RedactedPlace
    from agents_sessions.features.removal import RemovalReport
    from agents_sessions.features.retention.journal import LogEntry
    from agents_sessions.features.retention.policy import Plan, Policy
    from agents_sessions.features.statistics.figures import Cost
    from agents_sessions.features.statistics.prices import Prices, TokenPrices
    from agents_sessions.features.statistics.report import Report, SessionStatistics
    from agents_sessions.features.summaries import Summary
    from agents_sessions.features.transfer.migrate import migrate_store
    from agents_sessions.features.transfer.values import (
        ExportOptions,
        ExportReport,
        ImportLimits,
        ImportReport,
        Progress,
        StoreReport,
    )
    from agents_sessions.features.trash import TrashedSession
    from agents_sessions.keys import SessionKey
    from agents_sessions.manager import SessionManager
    from agents_sessions.manager.bulk import NewSession
    from agents_sessions.model.conversation import Conversation
    from agents_sessions.model.durations import Duration
    from agents_sessions.model.entries import TurnStatus
    from agents_sessions.model.findings import Finding
    from agents_sessions.model.history import (
        CheckpointEntry,
        DecisionEntry,
        HandoffEntry,
        HistoryEntry,
        ItemEntry,
        MergeEntry,
        Message,
        ModelRequest,
        RedactionEntry,
        TurnEntry,
        UsageEntry,
        ViewEntry,
    )
    from agents_sessions.model.info import Compaction, ForkPoint, SessionInfo, SessionStatus, SessionType
    from agents_sessions.model.query import Page, SessionFilters, SessionQuery
    from agents_sessions.model.search import SearchHit, SearchKind, SearchQuery
    from agents_sessions.model.totals import ContextStats
    from agents_sessions.model.turn_list import TurnInfo
    from agents_sessions.model.usage import TokenUsage
    from agents_sessions.model.view import View
    from agents_sessions.not_given import NOT_GIVEN, NotGiven
    from agents_sessions.opened import open_session
    from agents_sessions.session import FileSession, ManagedSession, MemorySession, StoredSession
    from agents_sessions.stores.base import Durability, SessionStore
    from agents_sessions.stores.encryption.keyring import KeyProvider, KeyRing
    from agents_sessions.stores.file.store import FileStore
    from agents_sessions.stores.memory import MemoryStore
    from agents_sessions.stores.postgres.store import PostgresStore
    from agents_sessions.stores.redis.store import RedisStore
    from agents_sessions.stores.sqlite.store import SQLiteStore
    from agents_sessions.stores.urls import store_from_url
    from agents_sessions.turns.activity import Activity
    from agents_sessions.turns.agents import AgentFactory, Agents
    from agents_sessions.turns.approvals import PendingApproval
    from agents_sessions.turns.compacting import Shortened
    from agents_sessions.turns.events import (
        ApprovalNeeded,
        Compacted,
        CompactionFailed,
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
    from agents_sessions.windows import in_order, last_tokens, last_turns, prune_tool_outputs

__all__ = [
    "NOT_GIVEN",
    "Activity",
    "AgentFactory",
    "Agents",
    "ApprovalNeeded",
    "ArchiveOutcome",
    "ArchivedSession",
    "Branch",
    "BranchDiff",
    "Checkpoint",
    "CheckpointEntry",
    "Compacted",
    "Compaction",
    "CompactionFailed",
    "Content",
    "ContextStats",
    "Conversation",
    "Cost",
    "DecisionEntry",
    "DeletionReport",
    "Durability",
    "Duration",
    "ExportOptions",
    "ExportReport",
    "FileSession",
    "FileStore",
    "Finding",
    "ForkPoint",
    "HandedOff",
    "HandoffEntry",
    "HistoryEntry",
    "ImportLimits",
    "ImportReport",
    "ItemEntry",
    "KeyProvider",
    "KeyRing",
    "Listener",
    "LogEntry",
    "ManagedSession",
    "MemorySession",
    "MemoryStore",
    "MergeEntry",
    "Merged",
    "Message",
    "ModelRequest",
    "NewSession",
    "NotGiven",
    "OnFailure",
    "OnPending",
    "Page",
    "PendingApproval",
    "Plan",
    "Policy",
    "PostgresStore",
    "Prices",
    "Progress",
    "RedactedPlace",
    "RedactionEntry",
    "RedisStore",
    "RemovalReport",
    "RepairReport",
    "Reply",
    "ReplyStream",
    "ReplySummary",
    "Report",
    "RetryOptions",
    "RotationReport",
    "RunArguments",
    "SQLiteStore",
    "SearchHit",
    "SearchKind",
    "SearchQuery",
    "SendOptions",
    "SessionError",
    "SessionFilters",
    "SessionInfo",
    "SessionKey",
    "SessionManager",
    "SessionOutcome",
    "SessionQuery",
    "SessionStatistics",
    "SessionStatus",
    "SessionStore",
    "SessionType",
    "Shortened",
    "Start",
    "StoreReport",
    "StoredSession",
    "Summary",
    "TokenPrices",
    "TokenUsage",
    "TrashedSession",
    "TurnEntry",
    "TurnEvent",
    "TurnFailed",
    "TurnFinished",
    "TurnInfo",
    "TurnOptions",
    "TurnStarted",
    "TurnStatus",
    "UsageEntry",
    "View",
    "ViewEntry",
    "in_order",
    "last_tokens",
    "last_turns",
    "migrate_store",
    "open_session",
    "prune_tool_outputs",
    "store_from_url",
]
__version__ = "0.1.0"

_HOME = {
    "Activity": "turns.activity",
    "AgentFactory": "turns.agents",
    "Agents": "turns.agents",
    "ApprovalNeeded": "turns.events",
    "ArchiveOutcome": "features.archive.archive",
    "ArchivedSession": "features.archive.archive",
    "Branch": "features.branches.family",
    "BranchDiff": "features.branches.comparing",
    "Checkpoint": "features.checkpoints",
    "CheckpointEntry": "model.history",
    "Compacted": "turns.events",
    "Compaction": "model.info",
    "CompactionFailed": "turns.events",
    "Content": "turns.request",
    "ContextStats": "model.totals",
    "Conversation": "model.conversation",
    "Cost": "features.statistics.figures",
    "DecisionEntry": "model.history",
    "DeletionReport": "features.erasure",
    "Durability": "stores.base",
    "Duration": "model.durations",
    "ExportOptions": "features.transfer.values",
    "ExportReport": "features.transfer.values",
    "FileSession": "session",
    "FileStore": "stores.file.store",
    "Finding": "model.findings",
    "ForkPoint": "model.info",
    "HandedOff": "turns.events",
    "HandoffEntry": "model.history",
    "HistoryEntry": "model.history",
    "ImportLimits": "features.transfer.values",
    "ImportReport": "features.transfer.values",
    "ItemEntry": "model.history",
    "KeyProvider": "stores.encryption.keyring",
    "KeyRing": "stores.encryption.keyring",
    "Listener": "turns.events",
    "LogEntry": "features.retention.journal",
    "ManagedSession": "session",
    "MemorySession": "session",
    "MemoryStore": "stores.memory",
    "MergeEntry": "model.history",
    "Merged": "features.branches.merging",
    "Message": "model.history",
    "ModelRequest": "model.history",
    "NewSession": "manager.bulk",
    "NOT_GIVEN": "not_given",
    "NotGiven": "not_given",
    "OnFailure": "turns.options",
    "OnPending": "turns.options",
    "Page": "model.query",
    "PendingApproval": "turns.approvals",
    "Plan": "features.retention.policy",
    "Policy": "features.retention.policy",
    "PostgresStore": "stores.postgres.store",
    "Prices": "features.statistics.prices",
    "Progress": "features.transfer.values",
    "RedactedPlace": "features.redaction",
    "RedactionEntry": "model.history",
    "RedisStore": "stores.redis.store",
    "RemovalReport": "features.removal",
    "RepairReport": "features.diagnostics.diagnostics",
    "Reply": "turns.reply",
    "ReplyStream": "turns.stream",
    "ReplySummary": "turns.reply",
    "Report": "features.statistics.report",
    "RetryOptions": "turns.options",
    "RotationReport": "features.encryption",
    "RunArguments": "turns.options",
    "SearchHit": "model.search",
    "SearchKind": "model.search",
    "SearchQuery": "model.search",
    "SQLiteStore": "stores.sqlite.store",
    "SendOptions": "turns.options",
    "SessionError": "errors",
    "SessionFilters": "model.query",
    "SessionInfo": "model.info",
    "SessionKey": "keys",
    "SessionManager": "manager.manager",
    "SessionOutcome": "features.bulk",
    "SessionQuery": "model.query",
    "SessionStatistics": "features.statistics.report",
    "SessionStatus": "model.info",
    "SessionStore": "stores.base",
    "SessionType": "model.info",
    "Shortened": "turns.compacting",
    "Start": "turns.options",
    "StoreReport": "features.transfer.values",
    "StoredSession": "session",
    "Summary": "features.summaries",
    "TokenPrices": "features.statistics.prices",
    "TokenUsage": "model.usage",
    "TrashedSession": "features.trash",
    "TurnEntry": "model.history",
    "TurnEvent": "turns.events",
    "TurnFailed": "turns.events",
    "TurnFinished": "turns.events",
    "TurnInfo": "model.turn_list",
    "TurnOptions": "turns.options",
    "TurnStarted": "turns.events",
    "TurnStatus": "model.entries",
    "UsageEntry": "model.history",
    "View": "model.view",
    "ViewEntry": "model.history",
    "in_order": "windows",
    "last_tokens": "windows",
    "last_turns": "windows",
    "migrate_store": "features.transfer.migrate",
    "open_session": "opened",
    "prune_tool_outputs": "windows",
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
