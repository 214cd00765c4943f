"""The log of what rules have removed: when, by which rule, and where to. It holds ids and no content."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from agents_sessions.concurrency.settle import settle
from agents_sessions.concurrency.worker_threads import in_thread
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.lossless_json import decode_json, encode_json

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("agents_sessions")

_FOLDER = ".retention"
_FILE = "log.jsonl"
_TRIES = 200

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A session that a rule has removed."""

    at: datetime
    key: SessionKey
    rule: str
    to: str
    """`trash`, `archive`, or `deleted` for good."""
    size: int

    def line(self) -> bytes:
        """Return it as a line of the log."""
        facts = {"at": timestamp(self.at), "agent_id": self.key.agent_id, "session_id": self.key.session_id}
        return encode_json({**facts, "rule": self.rule, "to": self.to, "size": self.size}) + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> LogEntry | None:
        """Return the entry of a line, or None for one that a death or a person has cut."""
        try:
            value = decode_json(line)
            key = SessionKey(value["agent_id"], value["session_id"])
            return cls(parse_time(value["at"]), key, value["rule"], value["to"], value["size"])
        except (ValueError, KeyError, TypeError):
            return None


class Journal:
    """The log of one store: a file in its folder or, where it has none, a list for as long as this lives."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lines: list[bytes] = []

    async def add(self, entries: Sequence[LogEntry]) -> None:
        """Add to the log. What was removed stays removed if the log takes no more: a full disk is to be freed."""
        lines = [entry.line() for entry in entries]
        if self._folder is None:
            self._lines += lines
            return
        try:
            await settle(in_thread(partial(_append, str(self._folder), b"".join(lines))))
        except OSError as error:
            logger.warning("%d removals could not be written to the log: %s", len(lines), error.strerror)

    async def read(self) -> list[LogEntry]:
        """Return all of it, the oldest first."""
        lines = self._lines if self._folder is None else await in_thread(partial(_read, str(self._folder)))
        return [entry for line in lines if (entry := LogEntry.of_line(line)) is not None]

    async def forget(self, keys: Collection[SessionKey]) -> int:
        """Remove what the log says of some sessions, and return how many lines that were."""
        if self._folder is None:
            kept = _others(self._lines, keys)
            count, self._lines = len(self._lines) - len(kept), kept
            return count
        return await settle(in_thread(partial(_forget, str(self._folder), keys)))


def _others(lines: Sequence[bytes], keys: Collection[SessionKey]) -> list[bytes]:
    entries = ((line, LogEntry.of_line(line)) for line in lines)
    return [line for line, entry in entries if entry is None or entry.key not in keys]


def _append(root: str, data: bytes) -> None:
    from agents_sessions.stores.file.disk import syscalls as io

    def append(folder: int, fd: int) -> None:
        size = io.size_of(fd)
        cut = size > 0 and io.read_range(fd, size - 1, 1) != b"\n"  # someone died in the middle of a line
        io.write_all(fd, b"\n" * cut + data, size)
        io.sync(fd)

    _locked(root, append, create=True)


def _read(root: str) -> list[bytes]:
    from agents_sessions.stores.file.disk import syscalls as io

    try:
        with io.directory(root, _FOLDER) as folder, io.opened(folder, _FILE) as fd:
            return bytes(io.read_range(fd, 0, io.size_of(fd))).splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _forget(root: str, keys: Collection[SessionKey]) -> int:
    from agents_sessions.stores.file.disk import atomic
    from agents_sessions.stores.file.disk import syscalls as io

    def forget(folder: int, fd: int) -> int:
        lines = bytes(io.read_range(fd, 0, io.size_of(fd))).splitlines(keepends=True)
        kept = _others(lines, keys)
        if len(kept) < len(lines):
            atomic.replace(folder, _FILE, b"".join(kept), durable=True)
        return len(lines) - len(kept)

    try:
        return _locked(root, forget, create=False)
    except FileNotFoundError:
        return 0


def _locked(root: str, change: Callable[[int, int], _T], *, create: bool) -> _T:
    """Change the log while no one else does. It is held for a line at a time, so that waiting in a thread is short."""
    from agents_sessions.stores.file.disk import locks
    from agents_sessions.stores.file.disk import syscalls as io

    with io.directory(root, _FOLDER, create=create) as folder:
        for _ in range(_TRIES):
            try:
                with locks.locked(folder, _FILE, create=create) as fd:
                    return change(folder, fd)
            except BlockingIOError:
                time.sleep(0.005)
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
