"""What is changed in the session files below one root, step by step, in the thread that asks for it.

Everything is tried once, as in `file_reader`.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import (
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, now, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import Appended, Change, History, Standing
from agents_sessions.stores.file import sidecars
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.errors import UNTOLD, check_identity, told
from agents_sessions.stores.file.format import document
from agents_sessions.stores.file.format.append import plan_append
from agents_sessions.stores.file.format.lines import EncodedEntry, decode_batch
from agents_sessions.stores.file.format.sealed import read_sealed, read_since
from agents_sessions.stores.file.layout import names_of as _names
from agents_sessions.stores.file.layout import sidecar_of
from agents_sessions.stores.file.limits import Limits
from agents_sessions.stores.file.queries import info_of, standing_of
from agents_sessions.stores.file.reader import FileReader, recall, remember
from agents_sessions.stores.file.turn_lock import Holder, forget_turn, try_turn
from agents_sessions.stores.transitions import check_expected, rewritten

logger = logging.getLogger("agents_sessions")

# Shared by all roots of the process, because two of them may be the same.
_anchored: Recent[tuple[int, int], bool] = Recent(4096)


class FileWriter(FileReader):
    """The sessions below a root, as they are read and changed.

    Args:
        root: The folder, absolute.
        durable: Whether what is written is synced before it is acknowledged.
        limits: How large items and sessions may become.
    """

    def __init__(self, root: Path, *, durable: bool, limits: Limits) -> None:
        super().__init__(root, limits=limits)
        self._durable = durable

    # --- one session ---

    def encode(self, new: History) -> bytearray:
        """Return the file of a new session, which `transitions.created` has made."""
        info = new.info
        whole = document.Document(info.header(), new.entries, info.seq, info.context, timestamp(info.updated_at))
        data = document.encode_document(whole)
        self.limits.check_header(info, len(data))
        self.limits.check_document(info.key, len(data), new.entries)
        return data

    def create(self, key: SessionKey, data: bytearray) -> None:
        """Make the file of a new session, which `encode` has made."""
        name = _names(key)[1]
        with self._errors(key, creating=True), self._folder(key, create=True) as folder:
            atomic.sweep_once(folder)
            self._anchor_once(folder)
            sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)
            try:
                atomic.create(folder, name, data, durable=self._durable)
            except FileExistsError:
                raise SessionExistsError(key) from None

    def _anchor_once(self, folder: int) -> None:
        """Bring the name of an agent's folder to the disk, which a process that was killed may have made."""
        place = io.identity_of(folder)
        if self._durable and _anchored.get(place) is None:
            io.sync_names(self.root, durable=True)
            _anchored.put(place, True)

    def append(self, key: SessionKey, batch: Sequence[EncodedEntry], at: str, expected_seq: int | None) -> Appended:
        """Add entries. Of what the caller has, only this encoded form counts: all else may have changed meanwhile."""
        self.limits.check_items(key, batch)
        entries = decode_batch(batch)
        name = _names(key)[1]
        lost: list[Entry] = []
        while True:
            with self._locked(key) as (folder, fd):
                read = partial(io.read_range, fd)
                sealed = read_sealed(read, io.size_of(fd), recall(self.place(key)))
                plan = None
                if sealed is not None:
                    check_identity(key, self.path(key), sealed.header)
                    if lost and _holds(read_since(read, sealed.tail, lost[0]["seq"]), lost):
                        return Appended(lost, standing_of(sealed.tail))
                    check_expected(key, sealed.tail.seq, expected_seq)
                    if not batch:
                        return Appended([], standing_of(sealed.tail))
                    plan = plan_append(sealed, batch, entries, at)
                if sealed is None or plan is None:  # edited or torn: brought back into shape; or see `plan_append`
                    stored = self._append_by_rewriting(key, folder, fd, entries, at, expected_seq, lost)
                    if stored is None:
                        continue
                    return stored
                self.limits.check_added(key, plan.offset + len(plan.data), entries)
                old = sealed.tail.text
                if atomic.append(folder, name, fd, plan.offset, plan.data, old=old, durable=self._durable):
                    remember(self.place(key), plan.after)
                    standing = standing_of(plan.after.tail)
                    return Appended(_numbered(entries, at, standing.seq), standing)
            # Someone who does not know the lock, an editor, replaced the file meanwhile: do it again there. Unless what
            # was saved is a copy that has these entries already: they could be read as soon as they were written.
            lost = _numbered(entries, at, plan.after.tail.seq)

    def _append_by_rewriting(
        self,
        key: SessionKey,
        folder: int,
        fd: int,
        entries: list[Entry],
        at: str,
        expected_seq: int | None,
        lost: list[Entry],
    ) -> Appended | None:
        def change(history: History) -> History:
            if lost and _holds(history.entries, lost):
                return history
            check_expected(key, history.info.seq, expected_seq)
            return history.with_entries([*history.entries, *entries])

        info = self._rewrite_locked(key, folder, fd, change)
        if info is None:
            return None
        return Appended(_numbered(entries, at, info.seq), Standing(info.seq, info.updated_at, info.context))

    def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        """Put a changed session in the place of the old one."""
        while True:
            with self._locked(key) as (folder, fd):
                info = self._rewrite_locked(key, folder, fd, change)
            if info is not None:
                return info

    def _rewrite_locked(self, key: SessionKey, folder: int, fd: int, change: Change) -> SessionInfo | None:
        """Return None if someone who does not know the lock has replaced the file meanwhile."""
        seen = io.seen(fd)
        whole = self._decode(key, fd)
        check_identity(key, self.path(key), whole.header)
        before = History(info_of(whole), whole.entries)
        after = rewritten(before, change, now())
        if after is None and whole.shape == "sealed":
            return before.info
        after = after or rewritten(before, _reshape, now()) or before
        info = after.info
        new = document.Document(info.header(), after.entries, info.seq, info.context, timestamp(info.updated_at))
        data = document.encode_document(new)
        self.limits.check_header(info, len(data), before.info, seen.size)
        known = {entry["seq"] for entry in before.entries}
        self.limits.check_document(key, len(data), [e for e in after.entries if e["seq"] not in known], seen.size)
        try:
            if whole.shape == "torn":
                self._replace_torn(key, folder, data, seen)
            else:
                atomic.replace(folder, _names(key)[1], data, durable=self._durable, over=seen)
        except atomic.Replaced:
            return None
        return info

    def _replace_torn(self, key: SessionKey, folder: int, data: bytearray, seen: io.Seen) -> None:
        name = _names(key)[1]
        with atomic.set_aside(folder, name) as aside:
            atomic.replace(folder, name, data, durable=self._durable, over=seen)
        logger.warning(
            "session %r of agent %r had a torn last write; repaired, the damaged file is kept as %s",
            key.session_id,
            key.agent_id,
            aside,
        )

    def delete(self, key: SessionKey) -> None:
        """Remove a session and all that belongs to it."""
        name = _names(key)[1]
        with self._errors(key), self._folder(key) as folder:
            try:
                with locks.locked(folder, name) as fd:
                    self._check_holds(key, fd)
                    # The copies first: while the session is there, a deletion that was cut short can be called again.
                    for aside in io.names(folder, prefix=f"{name}.torn-"):
                        atomic.remove(folder, aside, durable=self._durable)
                    atomic.remove(folder, name, durable=self._durable)
            except FileNotFoundError:
                with contextlib.suppress(io.NotRegular):  # what a deletion has left that died on the way
                    sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)
                raise
            with contextlib.suppress(BlockingIOError):  # then with the next session of that name
                sidecars.remove_all(folder, name, durable=self._durable)
            forget_turn(folder, name)

    # --- sidecars ---

    def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        """Store something beside a session."""
        folders, file = sidecar_of(key, name)
        self.limits.check_file(key, "a sidecar", len(data))
        with self._errors(key), self._folder(key) as agent, locks.locked(agent, _names(key)[1]) as fd:
            self._check_holds(key, fd)
            sidecars.write(self._root, agent, folders, file, data, durable=self._durable)

    def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        """Remove what is stored beside a session under a name; returns whether there was something."""
        folders, file = sidecar_of(key, name)
        try:
            with self._errors(key), self._folder(key) as agent, locks.locked(agent, _names(key)[1]) as fd:
                self._check_holds(key, fd)
                with io.directory(self._root, *folders) as folder:
                    if io.is_folder(folder, file):
                        return False
                    atomic.remove(folder, file, durable=self._durable)
        except SessionNotFoundError:
            return False
        return True

    # --- the turn lock ---

    def try_turn(self, key: SessionKey) -> contextlib.ExitStack | Holder:
        """Take the lock of a session's turns, or say who has it and for how long."""
        with self._errors(key), contextlib.ExitStack() as stack:
            taken = try_turn(stack.enter_context(self._folder(key)), _names(key)[1])
            if isinstance(taken, Holder):
                return taken
            stack.callback(taken.release)
            return stack.pop_all()

    # --- folders and locks ---

    def _folder(self, key: SessionKey, *, create: bool = False) -> contextlib.AbstractContextManager[int]:
        return io.directory(self._root, _names(key)[0], create=create, durable=self._durable)

    @contextlib.contextmanager
    def _locked(self, key: SessionKey) -> Iterator[tuple[int, int]]:
        """Open a session's folder and its file, locked exclusively. Written out: it is in the way of every append."""
        folder_name, name = _names(key)
        folder = fd = -1
        try:
            folder = io.open_directory(self._root, folder_name)
            fd = locks.open_locked(folder, name)
            yield folder, fd
        except UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise told(key, self.path(key), error) from error
        finally:
            if fd >= 0:
                locks.close_locked(fd)
            if folder >= 0:
                io.close(folder)


def _holds(entries: Sequence[Entry], some: Sequence[Entry]) -> bool:
    """Tell whether a history has some entries, with the same numbers, times and bodies."""
    found = {entry["seq"]: entry for entry in entries}
    return all(_is_same(found.get(entry["seq"]), entry) for entry in some)


def _is_same(entry: Entry | None, other: Entry) -> bool:
    return entry is not None and all(entry.get(name) == other.get(name) for name in ("at", "item", "record"))


def _reshape(history: History) -> History:
    """Change nothing, so that a file which was edited or torn is written anew as it reads."""
    return history.with_entries(history.entries)


def _numbered(entries: Sequence[Entry], at: str, newest: int) -> list[Entry]:
    """Return entries as they are stored, given the number of the last one."""
    return [{"at": at, **entry, "seq": seq} for seq, entry in enumerate(entries, newest - len(entries) + 1)]
