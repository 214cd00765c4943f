"""Durable, readable sessions for the OpenAI Agents SDK.

Importing this package costs next to nothing: a name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.context import ContextStats as ContextStats
    from agents_sessions.info import SessionInfo as SessionInfo
    from agents_sessions.info import SessionKey as SessionKey
    from agents_sessions.session import FileSession as FileSession
    from agents_sessions.session import StoredSession as StoredSession
    from agents_sessions.stores.base import SessionStore as SessionStore
    from agents_sessions.stores.file_store import FileStore as FileStore
    from agents_sessions.stores.memory_store import MemoryStore as MemoryStore

_HOME = {
    "ContextStats": "context",
    "FileSession": "session",
    "FileStore": "stores.file_store",
    "MemoryStore": "stores.memory_store",
    "SessionInfo": "info",
    "SessionKey": "info",
    "SessionStore": "stores.base",
    "StoredSession": "session",
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
