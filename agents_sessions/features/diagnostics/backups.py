"""Copies of what repairs have touched: files as they were, and histories as lossless documents.

<folder>/<time>/<agent>/<what was there>
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from agents_sessions.concurrency.settle import settle
from agents_sessions.concurrency.worker_threads import in_thread
from agents_sessions.features.archive.shelf import session_in
from agents_sessions.keys import SessionKey

if TYPE_CHECKING:
    from pathlib import Path


async def forget(folder: Path, keys: Collection[SessionKey], *, agent_id: str | None = None) -> int:
    """Remove the copies of some sessions, and of all those of an agent; return how many there were."""
    return await settle(in_thread(partial(_forget, str(folder), keys, agent_id)))


def _forget(root: str, keys: Collection[SessionKey], agent_id: str | None) -> int:
    from agents_sessions.stores.file.disk import syscalls as io
    from agents_sessions.stores.file.layout import names_of

    places = [names_of(key) for key in keys]
    removed = 0
    for time in io.folders(root):
        if agent_id is not None:
            removed += _remove(root, time, names_of(SessionKey(agent_id, "*")).folder, None)
        for agent, file in places:
            removed += _remove(root, time, agent, file)
    return removed


def _remove(root: str, time: str, agent: str, file: str | None) -> int:
    """Remove what one repair has kept of a session or, without a file, of an agent."""
    from agents_sessions.stores.file.disk import atomic
    from agents_sessions.stores.file.disk import syscalls as io

    removed = 0
    with contextlib.suppress(FileNotFoundError), io.directory(root, time, agent) as folder:
        for name, _ in io.statuses(folder):
            if file is None or _is_of(name, file):
                atomic.remove_tree(folder, name, durable=True)
                removed += 1
    return removed


def _is_of(name: str, file: str) -> bool:
    """Tell whether a name is that of a session's file, of its sidecars, or of a copy, hidden or not."""
    shown, session = name.removeprefix("."), file.removesuffix(".json")
    return shown in (file, session) or shown.startswith(f"{file}.") or session_in(name) == session
