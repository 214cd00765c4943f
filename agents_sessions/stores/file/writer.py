"""What is changed in the session files below one root, step by step, in the thread that asks for it.

Everything is tried once, as in `reader`.
"""

import contextlib
import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from agents_sessions.concurrency import process
from agents_sessions.errors import (
    KeyDestroyedError,
    SessionCorruptedError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, now, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import Appended, Change, History
from agents_sessions.stores.codec import PLAIN, Codec, SessionCodec
from agents_sessions.stores.file import aside, sidecars
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.errors import UNTOLD, check_identity
from agents_sessions.stores.file.format.append import Append as PlannedWrite
from agents_sessions.stores.file.format.append import plan_append
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.header import Damage, codec_of
from agents_sessions.stores.file.format.lines import NewEntries, encode_new
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.rekeyed import DESTROYED, wrapped_key_at
from agents_sessions.stores.file.format.salvage import salvage
from agents_sessions.stores.file.format.sealed import read_sealed, read_since
from agents_sessions.stores.file.format.tail import Read
from agents_sessions.stores.file.layout import SidecarNames, names_of, sidecar_of
from agents_sessions.stores.file.limits import Limits
from agents_sessions.stores.file.queries import info_of, standing_of
from agents_sessions.stores.file.reader import FileReader, ReadRange, recall, remember
from agents_sessions.stores.file.turn_lock import NO_DESCRIPTOR, Holder, Turn, forget_turn, is_turn_held, try_turn
from agents_sessions.stores.transitions import appended, check_expected, rewritten
from agents_sessions.stores.transitions import standing_of as history_standing

logger = logging.getLogger("agents_sessions")


class _Held(NamedTuple):
    """A session's folder, open, and its file, locked. To be released."""

    folder: int
    fd: int
    size: int

    def release(self) -> None:
        locks.close_locked(self.fd)
        io.close(self.folder)


class _Plan(NamedTuple):
    """What an append comes to, and the write that does it; None if there is nothing to write."""

    stored: Appended
    write: PlannedWrite | None


class _Begun(NamedTuple):
    """An append whose file is locked; without a plan, the file has to be rewritten."""

    held: _Held
    plan: _Plan | None


@dataclass(slots=True)
class Batch:
    """What one append is to store, and how far it has come."""

    new: NewEntries
    at: datetime
    expected_seq: int | None
    lost: list[Entry] = field(default_factory=list)
    """The entries as an earlier try has stored them, in a file that someone replaced meanwhile."""
    begun: list[_Begun] = field(default_factory=list)
    """What the event loop has begun, until someone takes it: none or one."""

    def is_among(self, entries: Sequence[Entry]) -> bool:
        """Tell whether the earlier try is in a history: what was saved over it was a copy that had it."""
        found = {entry["seq"]: entry for entry in entries}
        return self.lost != [] and all(_is_same(found.get(entry["seq"]), entry) for entry in self.lost)

    def take(self) -> _Begun | None:
        """Return what was begun, to one caller only: a list gives an element up in one step, in any thread."""
        try:
            return self.begun.pop()
        except IndexError:
            return None

    def abandon(self) -> None:
        """Release what was begun, if no thread has taken it."""
        begun = self.take()
        if begun is not None:
            begun.held.release()


class FileWriter(FileReader):
    """The sessions below a root, as they are read and changed.

    Args:
        root: The folder, absolute.
        durable: Whether what is written is synced before it is acknowledged.
        limits: How large items and sessions may become.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(self, root: Path, *, durable: bool, limits: Limits, codec: Codec = PLAIN) -> None:
        super().__init__(root, limits=limits, codec=codec)
        self._durable = durable

    # --- create ---

    def encode(self, new: History, codec: SessionCodec) -> bytearray:
        """Return the file of a new session, which `transitions.created` has made, by the codec that it began with."""
        info = new.info
        data = encode_document(document_of(new, codec, info.seq))
        self.limits.check_header(info, len(data))
        self.limits.check_document(info.key, len(data), new.entries)
        return data

    def encode_sidecars(
        self, key: SessionKey, sidecars: Mapping[str, bytes], codec: SessionCodec
    ) -> dict[SidecarNames, bytes]:
        """Return the sidecars of a new session by their places, by the codec that it began with."""
        stored = {sidecar_of(key, name): codec.encode_sidecar(name, data) for name, data in sidecars.items()}
        for data in stored.values():
            self.limits.check_file(key, "a sidecar", len(data))
        return stored

    def create(self, key: SessionKey, data: bytearray) -> None:
        """Make the file of a new session, which `encode` has made."""
        name = names_of(key).file
        with self._errors(key, creating=True), self._folder(key, create=True) as folder:
            self._clear_place(folder, name)
            try:
                atomic.create(folder, name, data, durable=self._durable)
            except FileExistsError:
                raise SessionExistsError(key) from None

    def _clear_place(self, folder: int, name: str) -> None:
        atomic.sweep_once(folder)
        self._anchor_once(folder)
        aside.reunite(folder, name)
        sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)

    def _anchor_once(self, folder: int) -> None:
        """Sync the name of an agent's folder: the process that made it may have been killed before its own sync."""
        place = io.identity_of(folder)
        if self._durable and process.synced_folders.get(place) is None:
            io.sync_names(self.root, durable=True)
            process.synced_folders.put(place, True)

    # --- append ---

    def encode_batch(self, key: SessionKey, entries: Sequence[Entry], expected_seq: int | None) -> Batch:
        """Return new entries as they are to be stored. The caller may modify the objects as soon as this returns.

        Raises:
            InvalidItemError: One cannot be stored without loss.
            SessionLimitError: One is too large.
        """
        at = now()
        new = encode_new(entries, timestamp(at))
        self.limits.check_items(key, new.encoded)
        return Batch(new, at, expected_seq)

    def begin_append(self, key: SessionKey, batch: Batch) -> None:
        """Lock a session's file and plan the append, as far as nothing has to be waited for: on the event loop.

        `append` goes on from there in a thread; where something has to be waited for, it begins by itself.
        """
        if self.codec is not PLAIN or not io.CAN_READ_AT_ONCE:
            return
        try:
            batch.begun.append(self._begin_append(key, batch, io.read_range_at_once))
        except (io.WouldWait, BlockingIOError):
            return
        except UNTOLD as error:
            if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                return  # `append` waits for a descriptor
            raise self._told(key, error) from error

    def append(self, key: SessionKey, batch: Batch) -> Appended:
        """Add entries to the end of a session."""
        while True:
            # An editor does not know the lock: it can replace the file at any moment. Then the append is made again,
            # to the new file.
            try:
                begun = batch.take() or self._begin_append(key, batch, io.read_range)
                try:
                    return self._finish_append(key, batch, begun)
                finally:
                    begun.held.release()
            except atomic.Replaced:
                continue
            except (BlockingIOError, SessionError):
                raise
            except UNTOLD as error:
                raise self._told(key, error) from error

    def _begin_append(self, key: SessionKey, batch: Batch, read_range: ReadRange) -> _Begun:
        held = self._hold(key)
        try:
            return _Begun(held, self._plan_append(key, batch, held, partial(read_range, held.fd)))
        except BaseException:
            held.release()
            raise

    def _plan_append(self, key: SessionKey, batch: Batch, held: _Held, read: Read) -> _Plan | None:
        """Return what an append comes to, or None if the file was edited or torn or its tail needs a new place."""
        sealed = read_sealed(read, held.size, recall(self.place(key)))
        if sealed is None:
            return None
        check_identity(key, self.path, sealed.header)
        codec = codec_of(sealed.header, self.codec)
        standing = standing_of(sealed.tail)
        if batch.lost and batch.is_among(read_since(read, sealed.tail, batch.lost[0]["seq"], codec)):
            return _Plan(Appended(batch.lost, standing), None)
        stored = appended(key, standing, batch.new.entries, batch.at, batch.expected_seq)
        if not stored.entries:
            return _Plan(stored, None)
        write = plan_append(sealed, batch.new.encoded, stored.standing, codec)
        if write is None:
            return None
        self.limits.check_added(key, write.offset + len(write.data), batch.new.entries)
        return _Plan(stored, write)

    def _finish_append(self, key: SessionKey, batch: Batch, begun: _Begun) -> Appended:
        held, plan = begun
        if plan is None:
            return self._append_by_rewriting(key, held.folder, held.fd, batch)
        stored, write = plan
        if write is not None:
            name = names_of(key).file
            if not atomic.append(
                held.folder, name, held.fd, write.offset, write.data, old=write.over, durable=self._durable
            ):
                batch.lost = stored.entries
                raise atomic.Replaced
            remember(self.place(key), write.after)
        return stored

    def _append_by_rewriting(self, key: SessionKey, folder: int, fd: int, batch: Batch) -> Appended:
        """Append to a file that was edited or torn, which mends it, or whose tail needs a new place."""

        def change(history: History) -> History:
            if batch.is_among(history.entries):
                return history
            check_expected(key, history.info.seq, batch.expected_seq)
            return history.with_entries([*history.entries, *batch.new.entries])

        after = self._rewrite_locked(key, folder, fd, change)
        added = after.entries[len(after.entries) - len(batch.new.entries) :]
        return Appended(batch.lost if batch.is_among(after.entries) else added, history_standing(after.info))

    # --- rewrite ---

    def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        """Put a changed session in the place of the old one."""
        while True:
            with contextlib.suppress(atomic.Replaced), self._locked(key) as (folder, fd):
                return self._rewrite_locked(key, folder, fd, change).info

    def _rewrite_locked(self, key: SessionKey, folder: int, fd: int, change: Change) -> History:
        """Return the session as it is stored now.

        Raises:
            Replaced: Someone who does not know the lock has replaced the file meanwhile.
        """
        seen = io.seen(fd)
        whole = self._decode(key, fd)
        check_identity(key, self.path, whole.header)
        before = History(info_of(whole), whole.entries)
        after = rewritten(before, change, now())
        if after is None and whole.shape == "sealed":
            return before
        if after is None:  # nothing to change but the shape of the file
            after = rewritten(before, lambda history: history.with_entries(history.entries), now()) or before
        data = encode_document(document_of(after, whole.codec, after.info.seq))
        self._check_limits(before, after, len(data), seen.size)
        if whole.shape == "torn":
            self._replace_damaged(key, folder, data, seen, "had a torn last write; repaired")
        else:
            atomic.replace(folder, names_of(key).file, data, durable=self._durable, over=seen)
        return after

    def _check_limits(self, before: History, after: History, size: int, old_size: int) -> None:
        self.limits.check_header(after.info, size, before.info, old_size)
        known = {entry["seq"] for entry in before.entries}
        added = [entry for entry in after.entries if entry["seq"] not in known]
        self.limits.check_document(after.info.key, size, added, old_size)

    def start_over(self, key: SessionKey) -> None:
        """Empty a damaged session, and keep the damaged file; one that can be read is not touched."""
        while True:
            with contextlib.suppress(atomic.Replaced), self._locked(key) as (folder, fd):
                return self._start_over_locked(key, folder, fd)

    def _start_over_locked(self, key: SessionKey, folder: int, fd: int) -> None:
        seen = io.seen(fd)
        self.limits.check_file(key, "its damaged file", seen.size, times=2)
        data = bytes(io.read_range(fd, 0, seen.size))
        try:
            info_of(decode_document(data, self.codec))
        except (Damage, SessionCorruptedError):
            facts, seq, codec = salvage(data, key, self.codec)
        else:
            return
        check_identity(key, self.path, facts)
        try:
            info = SessionInfo.model_validate({**facts, "seq": seq})
        except ValidationError:  # a fact was edited to what no session can have
            info = SessionInfo(id=key.session_id, agent_id=key.agent_id, seq=seq)
        empty = encode_document(document_of(History(info, []), codec, seq))
        self._replace_damaged(key, folder, empty, seen, "was damaged; cleared")

    def _replace_damaged(self, key: SessionKey, folder: int, data: bytearray, seen: io.Seen, what: str) -> None:
        name = names_of(key).file
        with atomic.keep_copy(folder, name) as copy:
            atomic.replace(folder, name, data, durable=self._durable, over=seen)
        logger.warning(
            "session %r of agent %r %s, the damaged file is kept as %s", key.session_id, key.agent_id, what, copy
        )

    # --- delete ---

    def delete(self, key: SessionKey) -> None:
        """Remove a session and all that belongs to it."""
        name = names_of(key).file
        with self._errors(key), self._folder(key) as folder:
            try:
                with locks.locked(folder, name) as fd:
                    with contextlib.suppress(KeyDestroyedError):  # there is nothing to be done but this
                        self._check_holds(key, fd)
                    self._destroy_key(fd)
                    self._remove_file(folder, name)
            except FileNotFoundError:
                with contextlib.suppress(io.NotRegular):  # what a deletion has left that died on the way
                    sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)
                raise
            self._remove_beside(folder, name)

    def _remove_file(self, folder: int, name: str) -> None:
        # The copies first: while the session is there, a deletion that was cut short can be called again.
        self._remove_copies(folder, name)
        atomic.remove(folder, name, durable=self._durable)

    def _destroy_key(self, fd: int) -> None:
        """Write over what a codec keeps of a key, so that a file which someone else still has open is unreadable."""
        if self.codec is PLAIN:
            return
        place = wrapped_key_at(bytes(io.read_range(fd, 0, io.size_of(fd))))
        if place is not None:
            io.write_all(fd, DESTROYED * (place[1] - place[0]), place[0])
            io.sync(fd, durable=self._durable)

    def _remove_beside(self, folder: int, name: str) -> None:
        with contextlib.suppress(BlockingIOError):  # then with the next session of that name
            sidecars.remove_all(folder, name, durable=self._durable)
        forget_turn(folder, name)

    def clear_copies(self, key: SessionKey) -> int:
        """Remove the damaged files of a session that were kept, and return how many."""
        try:
            with self._errors(key), self._folder(key) as folder:
                return self._remove_copies(folder, names_of(key).file)
        except SessionNotFoundError:
            return 0

    def _remove_copies(self, folder: int, name: str) -> int:
        copies = io.names(folder, prefix=f"{name}.torn-")
        for copy in copies:
            atomic.remove(folder, copy, durable=self._durable)
        return len(copies)

    # --- sidecars ---

    def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        """Store something beside a session."""
        folders, file = sidecar_of(key, name)
        self.limits.check_file(key, "a sidecar", len(data))
        with self._errors(key), self._folder(key) as agent, locks.locked(agent, names_of(key).file) as fd:
            stored = self._check_holds(key, fd, to_use=True).encode_sidecar(name, data)
            self.limits.check_file(key, "a sidecar", len(stored))
            sidecars.write(self._root, agent, folders, file, stored, durable=self._durable)

    def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        """Remove what is stored beside a session under a name; returns whether there was something."""
        folders, file = sidecar_of(key, name)
        try:
            with self._errors(key), self._folder(key) as agent, locks.locked(agent, names_of(key).file) as fd:
                self._check_holds(key, fd)
                with io.directory(self._root, *folders) as folder:
                    if io.is_folder(folder, file):
                        return False
                    atomic.remove(folder, file, durable=self._durable)
                sidecars.remove_empty(self._root, folders)
        except SessionNotFoundError:
            return False
        return True

    # --- the turn lock ---

    def try_turn(self, key: SessionKey) -> contextlib.ExitStack | Holder:
        """Take the lock of a session's turns. If another process holds it, say which one and for how long."""
        with self._errors(key), self._folder(key) as folder:
            taken = try_turn(folder, names_of(key).file)
            if isinstance(taken, Holder):
                return taken
            if io.is_scarce(taken.fd):
                taken.release()
                return NO_DESCRIPTOR
        # A turn lasts as long as its model: it keeps one descriptor and not the folder's too.
        stack = contextlib.ExitStack()
        stack.callback(self._release_turn, key, taken)
        return stack

    def is_turn_held(self, key: SessionKey) -> bool:
        """Tell whether some process has the lock of a session's turns."""
        with contextlib.suppress(SessionNotFoundError), self._errors(key), self._folder(key) as folder:
            return is_turn_held(folder, names_of(key).file)
        return False

    def _release_turn(self, key: SessionKey, taken: Turn) -> None:
        try:
            with self._folder(key) as folder:
                taken._replace(folder=folder).release()
        except (OSError, io.NotRegular):
            # The folder is gone, or no descriptor is free to open it. The lock file stays; the next turn takes it over.
            taken.abandon()

    def try_reserve(self, key: SessionKey) -> contextlib.ExitStack | Holder:
        """Take the right to make a session of an id, whichever agent's, or say who has it."""
        with self._errors(key, creating=True, path=self.root), contextlib.ExitStack() as stack:
            try:
                root = io.open_directory(self._root, ".", create=True, durable=self._durable)
                stack.callback(io.close, root)
                taken = try_turn(root, names_of(key).file)
            except PermissionError:
                return stack.pop_all()  # folders of agents that others have made: then it holds in this process only
            if isinstance(taken, Holder):
                return taken
            stack.callback(taken.release)
            return stack.pop_all()

    # --- folders and locks ---

    def _folder(self, key: SessionKey, *, create: bool = False) -> contextlib.AbstractContextManager[int]:
        return io.directory(self._root, names_of(key).folder, create=create, durable=self._durable)

    @contextlib.contextmanager
    def _locked(self, key: SessionKey) -> Iterator[tuple[int, int]]:
        """Open a session's folder and its file, locked exclusively."""
        with self._errors(key):
            held = self._hold(key)
            try:
                yield held.folder, held.fd
            finally:
                held.release()

    def _hold(self, key: SessionKey) -> _Held:
        folder_name, name = names_of(key)
        folder = io.open_directory(self._root, folder_name)
        try:
            return _Held(folder, *locks.open_locked_file(folder, name))
        except BaseException:
            io.close(folder)
            raise


def _is_same(entry: Entry | None, other: Entry) -> bool:
    return entry is not None and all(entry.get(name) == other.get(name) for name in ("at", "item", "record"))


def document_of(session: History, codec: SessionCodec, seq: int) -> Document:
    """Return a session as the document that its file is made of."""
    info = session.info
    updated_at = timestamp(info.updated_at)
    return Document(info.header(), session.entries, seq, info.context, updated_at, codec=codec)
