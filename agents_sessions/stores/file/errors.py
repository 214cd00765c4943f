"""What the system and the bytes of a file say, in terms of the session."""

from collections.abc import Callable
from pathlib import Path

from agents_sessions.errors import (
    SessionCorruptedError,
    SessionError,
    SessionIOError,
    SessionNotFoundError,
    SessionPathError,
    SessionVersionError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.file.disk.syscalls import NotRegular
from agents_sessions.stores.file.format.header import Damage, NewerFormat

UNTOLD = (OSError, NotRegular, Damage, NewerFormat)


def told(key: SessionKey, path: Path, error: Exception, *, creating: bool = False) -> SessionError:
    """Return what happened at a path in terms of the session, which cannot be missing while it is created."""
    if isinstance(error, FileNotFoundError) and not creating:
        return SessionNotFoundError(key)
    if isinstance(error, NotRegular):
        return SessionPathError(key, str(path), str(error))
    if isinstance(error, NewerFormat):
        reason = f"the file is of format {error}, newer than this version reads; update agents-sessions"
        return SessionVersionError(key, str(path), reason)
    if isinstance(error, Damage):
        return SessionCorruptedError(key, str(path), f"the file cannot be used: {error}")
    reason = f"the operating system refused: {getattr(error, 'strerror', error)}"
    return SessionIOError(key, str(path), reason, getattr(error, "errno", None))


def check_identity(key: SessionKey, path: Callable[[SessionKey], Path], header: JsonObject) -> None:
    """Refuse the header of another session. `path` gives the path of one, which only the error needs.

    Raises:
        SessionPathError: It has other ids.
    """
    if (header.get("agent_id"), header.get("id")) != key:
        reason = "the file holds another session: it was renamed by hand, or the disk takes two names for one"
        raise SessionPathError(key, str(path(key)), reason)
