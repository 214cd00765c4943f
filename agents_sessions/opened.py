"""A bare session by the URL of its store: one line in the place of a session of the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents_sessions.concurrency.settle import Done
from agents_sessions.keys import SessionKey
from agents_sessions.session import StoredSession
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.rows.store import RowStore
from agents_sessions.stores.urls import store_from_url

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable

    from agents.memory import SessionSettings


class OpenedSession(StoredSession):
    """A session that has opened its store, and closes it with itself."""

    async def ping(self) -> bool:
        """Tell whether the store answers.

        Raises:
            RuntimeError: The session was closed.
        """
        self._check_open()
        return await self.store.ping() if isinstance(self.store, RowStore) else True

    def close(self) -> Awaitable[None]:
        """Take no more calls, and close the store. It can be called again, and awaited."""
        super().close()
        if isinstance(self.store, RowStore):
            self.store.close()
        return Done()


def open_session(
    store: SessionStore | str | os.PathLike[str],
    session_id: str,
    *,
    agent_id: str = "default",
    session_settings: SessionSettings | dict[str, Any] | None = None,
    **options: Any,
) -> StoredSession:
    """Return a session of a store, as the SDK's `Session`. Its first item makes it.

    A program with many sessions makes one store, by `store_from_url`, and gives it here: then they share its
    connections, and closing a session leaves it open.

    Args:
        store: A store, or what `store_from_url` takes: then the session closes it with itself.
        session_id: Any non-empty text.
        agent_id: The agent, team or application that the session belongs to.
        session_settings: The SDK's settings: `SessionSettings(limit=…)` or a dict of the same.
        options: Arguments of the store's class, where `store` is a URL.

    Raises:
        SessionIdError: An id is empty or holds NUL.
        MissingExtraError: The package that speaks to the store is not installed.
    """
    key = SessionKey(agent_id, session_id)
    if isinstance(store, SessionStore):
        return StoredSession(store, key, session_settings=session_settings)
    return OpenedSession(store_from_url(store, **options), key, session_settings=session_settings)
