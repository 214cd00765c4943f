"""All that is done to the session files below one root: to `writer`'s changes it adds those of whole sessions.

A session is written in parts, out of sight, until it is whole; and set aside, out of sight, until it is brought back.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import Behind, History, SetAside
from agents_sessions.stores.codec import PLAIN
from agents_sessions.stores.file import aside, sidecars
from agents_sessions.stores.file.creation import Creation
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.errors import check_identity
from agents_sessions.stores.file.format.header import Damage, NewerFormat, codec_of, renewed_codec_of
from agents_sessions.stores.file.format.rekeyed import with_kept
from agents_sessions.stores.file.format.sealed import find_line, read_chunks, read_sealed
from agents_sessions.stores.file.layout import SUFFIX, SessionNames, SidecarNames, beside, names_of
from agents_sessions.stores.file.names import decode_name, encode_name
from agents_sessions.stores.file.queries import info_of
from agents_sessions.stores.file.reader import recall
from agents_sessions.stores.file.turn_lock import forget_turn
from agents_sessions.stores.file.writer import FileWriter

logger = logging.getLogger("agents_sessions")


class _NotSealed(Damage):
    """The last write to a file was torn: it has to be written whole before anything is done to it as it stands."""


class SessionFiles(FileWriter):
    """The sessions below a root: see `FileWriter`."""

    # --- in parts ---

    def grow(self, key: SessionKey) -> "GrowingSession":
        """Begin the file of a new session that is written in parts."""
        name = names_of(key).file
        with self._errors(key, creating=True), contextlib.ExitStack() as stack:
            folder = stack.enter_context(self._folder(key, create=True))
            self._clear_place(folder, name)
            file = atomic.GrowingFile(folder, name)
            stack.callback(file.close)
            return GrowingSession(self, key, folder, file, stack.pop_all())

    def copy(
        self, source: SessionKey, info: SessionInfo, before: int | None, behind: Behind | None
    ) -> SessionInfo | None:
        """Create a session with the lines of another one; return None if they cannot be taken as they stand.

        A batch that is appended meanwhile is not seen: what stands above the tail never changes.
        """
        if self.codec is not PLAIN:
            return None
        with self._errors(source), self._folder(source) as folder, io.opened(folder, names_of(source).file) as fd:
            read = partial(io.read_range, fd)
            sealed = read_sealed(read, io.size_of(fd), recall(self.place(source)))
            if sealed is None:
                return None
            check_identity(source, self.path, sealed.header)
            codec_of(sealed.header, self.codec)
            end = sealed.tail.end if before is None else find_line(read, sealed.tail, before)
            lines = read_chunks(read, sealed.tail.body, end)
            return self._copy(info, lines, behind)

    def _copy(self, info: SessionInfo, lines: Iterable[tuple[bytearray, int]], behind: Behind | None) -> SessionInfo:
        creation = Creation(info, self.codec.begin(info.key))
        growing = self.grow(info.key)
        try:
            growing.write(creation.header)
            for some, offset in lines:
                growing.write(creation.copy(some, offset))
            if behind is not None:
                growing.write(creation.page(behind(creation.context)))
            new, tail = creation.end()
            growing.write(tail)
            growing.publish({})
        finally:
            growing.close()
        return new

    def move(self, key: SessionKey, agent_id: str) -> SessionInfo:
        """Give a whole session to another agent. Both agents have it for a moment, in which no one can write to it."""
        with self._locked(key) as (folder, fd):
            whole = self._decode(key, fd)
            check_identity(key, self.path, whole.header)
            info = info_of(whole).moved(agent_id)
            codec = self.codec.begin(info.key)
            data = self.encode(History(info, whole.entries), codec)
            beside = {name: self.read_sidecar(key, name) for name in self.list_sidecars(key)}
            growing = self.grow(info.key)
            try:
                growing.write(data)
                found = {name: content for name, content in beside.items() if content is not None}
                growing.publish(self.encode_sidecars(info.key, found, codec))
            finally:
                growing.close()
            try:
                self._remove_file(folder, names_of(key).file)
            except BaseException:
                self.delete(info.key)
                raise
            try:
                self._remove_beside(folder, names_of(key).file)
            except OSError as error:  # it has moved: a later session of the old name removes what is left
                logger.warning("%s was moved, and its old sidecars could not be removed: %s", key, error.strerror)
        return info

    # --- out of sight ---

    def set_aside(self, key: SessionKey, note: str) -> SetAside:
        """Put a session out of sight."""
        aside.check_note(note)
        names = names_of(key)
        with self._errors(key), self._folder(key) as folder, locks.locked(folder, names.file) as fd:
            self._check_holds(key, fd)
            name = aside.put(folder, names.file, note, durable=self._durable)
            forget_turn(folder, names.file)
        found = aside.parse(name)
        assert found is not None  # noqa: S101 -- it was made just now
        return SetAside(f"{names.folder}/{name}", key, found.at, found.note)

    def renew_key(self, place: SessionKey | str) -> bool:
        """Encrypt the data key of a session, or of one that was set aside, under the current master key."""
        if isinstance(place, SessionKey):
            with self._errors(place):
                try:
                    return self._renew_key(place, *names_of(place))
                except _NotSealed:
                    self.rewrite(place, lambda history: history)
                    return self._renew_key(place, *names_of(place))
        names, hidden = _parse_token(place)
        with self._aside_errors(place):
            return self._renew_key(None, names.folder, hidden)

    def _renew_key(self, key: SessionKey | None, folder_name: str, name: str) -> bool:
        with io.directory(self._root, folder_name) as folder, locks.locked(folder, name) as fd:
            seen = io.seen(fd)
            read = partial(io.read_range, fd)
            sealed = read_sealed(read, seen.size)
            if sealed is None:
                raise _NotSealed("its last write was torn: bring it back, write to it, and try again")
            if key is not None:
                check_identity(key, self.path, sealed.header)
            codec = renewed_codec_of(sealed.header, self.codec)
            if codec is None:
                return False
            data = with_kept(sealed, read(sealed.tail.body, sealed.tail.end - sealed.tail.body), codec)
            atomic.replace(folder, name, data, durable=self._durable, over=seen)
            return True

    def bring_back(self, token: str) -> SessionInfo:
        """Put a session that was set aside back in its place."""
        names, hidden = _parse_token(token)
        with self._aside_errors(token), io.directory(self._root, names.folder) as folder:
            # Read first: an error after the move would tell of a failure that did not happen.
            info = self._info_in(folder, names.folder, hidden)
            try:
                with locks.locked(folder, hidden), locks.held(folder):
                    aside.take(folder, hidden, names.file, durable=self._durable)
            except FileExistsError:
                raise SessionExistsError(info.key) from None
        return info

    def load_aside(self, token: str) -> SessionInfo:
        """Return the facts of a session that was set aside."""
        names, hidden = _parse_token(token)
        with self._aside_errors(token), io.directory(self._root, names.folder) as folder:
            return self._info_in(folder, names.folder, hidden)

    def sizes_of(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        """Return the bytes of sessions, and by their tokens of those that were set aside."""
        known = [_place_of(place) for place in places]
        with self._errors(SessionKey("*", "*"), path=self.root):
            sizes = iter(self.sizes([place for place in known if place is not None]))
        return [None if place is None else next(sizes) for place in known]

    def list_aside(self) -> list[SetAside]:
        """Return the sessions that were set aside, the oldest first."""
        found = []
        for agent in self.agents():
            here = SessionKey(agent, "*")
            with (
                contextlib.suppress(SessionNotFoundError),
                self._errors(here),
                io.directory(self._root, agent) as folder,
            ):
                aside.clear_destroyed(folder)
                for name in io.hidden_names(folder, suffix=".aside"):
                    parts = aside.parse(name)
                    if parts is not None and not self._finish_return(folder, name, parts.file):
                        key = self._key_of_aside(folder, name, SessionNames(agent, parts.file))
                        found.append(SetAside(f"{agent}/{name}", key, parts.at, parts.note))
        return sorted(found, key=lambda each: (each.at, each.token))

    def _finish_return(self, folder: int, name: str, file: str) -> bool:
        """Remove the hidden name of a session that has its old one again: who brought it back died in between."""
        if not aside.is_back(folder, name, file):
            return False
        with contextlib.suppress(OSError), locks.locked(folder, name):
            atomic.remove(folder, name, durable=self._durable)
        return True

    def discard(self, token: str) -> None:
        """Remove a session that was set aside."""
        names, hidden = _parse_token(token)
        with self._aside_errors(token), io.directory(self._root, names.folder) as folder:
            with locks.locked(folder, hidden) as fd:
                self._destroy_key(fd)
                aside.destroy(folder, hidden, durable=self._durable)

    def _key_of_aside(self, folder: int, hidden: str, names: SessionNames) -> SessionKey:
        """Return the key in the header of a file, or what its name says if it cannot be read."""
        with contextlib.suppress(Damage, NewerFormat), io.opened(folder, hidden) as fd:
            sealed = read_sealed(partial(io.read_range, fd), io.size_of(fd))
            header = sealed.header if sealed is not None else self._decode(SessionKey(*names), fd).header
            key = SessionKey(str(header.get("agent_id")), str(header.get("id")))
            if names_of(key) == names:
                return key
        return SessionKey(decode_name(names.folder), decode_name(names.file.removesuffix(SUFFIX)))

    @contextlib.contextmanager
    def _aside_errors(self, token: str) -> Iterator[None]:
        try:
            with self._errors(SessionKey("*", token)):
                yield
        except SessionNotFoundError:
            raise LookupError(f"no session was set aside as {token!r:.300}") from None


def _parse_token(token: str) -> tuple[SessionNames, str]:
    """Return where a session that was set aside was, and the name that it has now. No other path can be named."""
    agent, _, hidden = token.partition("/")
    parts = aside.parse(hidden) if "/" not in hidden and agent and encode_name(decode_name(agent)) == agent else None
    if parts is None:
        raise LookupError(f"no session was set aside as {token!r:.300}")
    return SessionNames(agent, parts.file), hidden


def _place_of(place: SessionKey | str) -> SessionNames | None:
    if isinstance(place, SessionKey):
        return names_of(place)
    try:
        names, hidden = _parse_token(place)
    except LookupError:
        return None
    return SessionNames(names.folder, hidden)


class GrowingSession:
    """The file of a new session while it is written, out of sight. To be closed, whatever happens."""

    def __init__(
        self, files: SessionFiles, key: SessionKey, folder: int, file: atomic.GrowingFile, stack: contextlib.ExitStack
    ) -> None:
        self._files = files
        self._key = key
        self._folder = folder
        self._file = file
        self._stack = stack

    def write(self, data: bytes | bytearray) -> None:
        """Add bytes to the end.

        Raises:
            SessionLimitError: The session would be larger than is allowed.
        """
        self._files.limits.check_file(self._key, "the session, with this,", self._file.size + len(data))
        with self._files._errors(self._key, creating=True):
            self._file.write(data)

    def publish(self, documents: Mapping[SidecarNames, bytes]) -> None:
        """Let the session appear, with its sidecars.

        Raises:
            SessionExistsError: Its id is taken; what is there was not touched.
        """
        with self._files._errors(self._key, creating=True):
            try:
                self._publish(documents)
            except FileExistsError:
                raise SessionExistsError(self._key) from None

    def _publish(self, documents: Mapping[SidecarNames, bytes]) -> None:
        durable, name = self._files._durable, names_of(self._key).file
        if not documents:
            self._file.publish(durable=durable)
            return
        hidden = atomic.temporary_name(beside(name))
        try:
            sidecars.prepare(self._files._root, documents, hidden, durable=durable)
            # The sidecars come first, so that no one meets the session without them. Under the folder's lock no one
            # takes them for those of a deleted session. Someone who makes the same session in just this moment wins.
            with locks.held(self._folder):
                if io.exists(self._folder, name):
                    raise FileExistsError(name)
                atomic.move_folder(self._folder, hidden, beside(name))
                try:
                    self._file.publish(durable=durable)
                except BaseException:
                    atomic.move_folder(self._folder, beside(name), hidden)
                    raise
        finally:
            with contextlib.suppress(OSError):  # what stays is swept some day
                atomic.remove_tree(self._folder, hidden, durable=False)

    def close(self) -> None:
        """Give back what is open. A session that was not published leaves nothing."""
        self._stack.close()
