"""Who is measured: ours, the SDK's `SQLiteSession`, a naive JSON file, and the least that an append can be.

All sync what they acknowledge: `SQLiteSession` keeps SQLite's default, a write-ahead log synced by every commit.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agents import SQLiteSession

from agents_sessions import FileSession

if TYPE_CHECKING:
    from agents.items import TResponseInputItem


class Session(Protocol):
    """What all have in common: two verbs of the SDK's protocol."""

    async def get_items(self, limit: int | None = None) -> list["TResponseInputItem"]:
        """Return the history, or its newest items."""
        ...

    async def add_items(self, items: list["TResponseInputItem"]) -> None:
        """Store items at the end."""
        ...


class Contender(NamedTuple):
    """One way to keep sessions in a folder."""

    name: str
    open: Callable[[Path, str], Session]
    """`open(folder, session_id)`: the object that an application keeps for a conversation."""
    most: int
    """The longest history that it is asked to append to or read: beyond, a sample takes seconds."""

    @property
    def is_naive(self) -> bool:
        """Whether its costs grow with the history, which is the same file however it was filled."""
        return self.most < sys.maxsize


class NaiveSession:
    """What one writes first: read the JSON file, add, write the whole file anew (safely)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get_items(self, limit: int | None = None) -> list["TResponseInputItem"]:
        """Parse the file."""
        items = await asyncio.to_thread(self._read)
        return items if limit is None else items[-limit:]

    async def add_items(self, items: list["TResponseInputItem"]) -> None:
        """Parse the file and replace it."""
        await asyncio.to_thread(self._add, items)

    def _read(self) -> list["TResponseInputItem"]:
        try:
            items: list[TResponseInputItem] = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return []
        return items

    def _add(self, items: list["TResponseInputItem"]) -> None:
        text = json.dumps([*self._read(), *items])
        temporary = self._path.with_suffix(".tmp")
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


class BareAppend:
    """The floor: JSON lines written to an open file and synced, one thread hop. It checks and survives nothing."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def get_items(self, limit: int | None = None) -> list["TResponseInputItem"]:
        """Refuse: it is here for the append."""
        raise NotImplementedError

    async def add_items(self, items: list["TResponseInputItem"]) -> None:
        """Encode, write, sync."""
        await asyncio.to_thread(self._add, items)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _add(self, items: list["TResponseInputItem"]) -> None:
        os.write(self._fd, "".join([json.dumps(item) + "\n" for item in items]).encode())
        os.fdatasync(self._fd)


OURS = Contender("agents_sessions", lambda folder, name: FileSession(name, root=folder), sys.maxsize)
SQLITE = Contender("SQLiteSession", lambda folder, name: SQLiteSession(name, folder / "sessions.db"), sys.maxsize)
NAIVE = Contender("naive", lambda folder, name: NaiveSession(folder / f"{name}.json"), 10_000)
FLOOR = Contender("bare append", lambda folder, name: BareAppend(folder / f"{name}.jsonl"), 0)

CONTENDERS = (OURS, SQLITE, NAIVE)


def close(session: Session) -> None:
    """Close what has to be closed."""
    if isinstance(session, (SQLiteSession, BareAppend)):
        session.close()
