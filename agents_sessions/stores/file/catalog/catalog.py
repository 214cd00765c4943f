"""Bring a catalog up to date, some files at a time, and answer. Synchronous: for a worker thread, one at a time.

An `Update` goes on where it was when it is tried again, and each step of it is a transaction of its own. Who waits for
the lock between two steps is `FileStore`, in its event loop.
"""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

from agents_sessions.errors import MissingKeyError, SessionError, WrongKeyError, printable
from agents_sessions.keys import SessionKey
from agents_sessions.stores.codec import PLAIN
from agents_sessions.stores.file.catalog.answers import Answers
from agents_sessions.stores.file.catalog.database import FOLDER, Damaged, Database
from agents_sessions.stores.file.catalog.reading import Reading, Stand, check_place, read_file
from agents_sessions.stores.file.catalog.rows import blob, text_of
from agents_sessions.stores.file.catalog.writing import NO_STATE, kept_state, write
from agents_sessions.stores.file.disk.listing import FileState, file_states
from agents_sessions.stores.file.disk.syscalls import NotRegular
from agents_sessions.stores.file.errors import UNTOLD, told
from agents_sessions.stores.file.layout import SUFFIX, SessionNames
from agents_sessions.stores.file.reader import FileReader

logger = logging.getLogger("agents_sessions")

_T = TypeVar("_T")

STEP = 200
"""How many files are read in one step at most ..."""

STEP_BYTES = 32 << 20
"""... and how many bytes, if they are not those of one file: the texts of a step are in memory together."""

_STAND = """
    SELECT file.id, inode, header, history, end, seq, spend FROM file LEFT JOIN detail ON detail.id = file.id
    WHERE folder = ? AND name = ?
"""
_PATIENCE = 2.0
"""Seconds that a question waits for someone who writes to a file that only its lock lets read."""


@dataclass(slots=True)
class Asked(Generic[_T]):
    """A question, and how far the catalog has come on the way to its answer."""

    question: Callable[[Answers], _T]
    pending: list[tuple[FileState, SessionNames]] | None = None
    """The files that have yet to be read; None before the folders were looked at."""
    done: int = 0
    answers: list[_T] = field(default_factory=list)
    """The answer, once it is known."""
    since: float = field(default_factory=monotonic)


class Catalog:
    """What is in the sessions below a root.

    Args:
        reader: The files below the root.
    """

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        # What a codec hides is not stored in plain form anywhere else: facts in memory only, and no texts at all.
        self._database = Database(reader.root_name, on_disk=reader.codec is PLAIN)
        self._known: dict[str, dict[str, FileState]] = {}

    @property
    def place(self) -> tuple[str, ...]:
        """What names it in this process: two stores on one root take turns."""
        return (*self._reader.place(SessionKey("*", "*"))[:1], FOLDER)

    @property
    def has_texts(self) -> bool:
        """Whether it can search."""
        return self._reader.codec is PLAIN

    def step(self, asked: Asked[Any]) -> None:
        """Come nearer to an answer: read some files, and answer if nothing is left to be read.

        Raises:
            BlockingIOError: Another process holds the catalog, or a file, at this moment: try again.
        """
        try:
            if asked.pending is None:
                asked.pending = self._differing()
            if asked.pending:
                self._update(asked)
            if asked.pending is not None and not asked.pending:  # None: the folders have to be looked at again
                with self._database.mended():
                    asked.answers.append(asked.question(Answers(self._database)))
        except Damaged:
            asked.pending = None
        except BlockingIOError:
            raise
        except OSError as error:
            raise told(SessionKey("*", "*"), self._reader.root, error, creating=True) from error

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    # --- up to date ---

    def _differing(self) -> list[tuple[FileState, SessionNames]]:
        """Return the files that are not as the catalog knows them, those that changed first in front."""
        if self._database.connect():
            self._known = {}
        with self._database.mended():
            if self._database.has_moved() or not self._known:
                self._known = self._load_known()
        found = {folder: self._states(folder) for folder in self._reader.agents()}
        differing: list[tuple[FileState, SessionNames]] = []
        for folder in found.keys() | self._known.keys():
            now, before = found.get(folder, {}), self._known.get(folder, {})
            if now == before:
                continue
            differing += [(now[name], SessionNames(folder, name)) for name in now if before.get(name) != now[name]]
            differing += [(NO_STATE, SessionNames(folder, name)) for name in before if name not in now]
        return sorted(differing)

    def _states(self, folder: str) -> dict[str, FileState]:
        try:
            return file_states(self._reader.root_name, folder, SUFFIX)
        except FileNotFoundError:
            return {}
        except (PermissionError, NotRegular) as error:
            logger.warning("left out the folder %s: %s", printable(f"{self._reader.root_name}/{folder}"), error)
            return {}

    def _load_known(self) -> dict[str, dict[str, FileState]]:
        known: dict[str, dict[str, FileState]] = {}
        execute = self._database.connection.execute
        for folder, name, *state in execute("SELECT folder, name, changed, size, inode FROM file"):
            known.setdefault(text_of(folder), {})[text_of(name)] = FileState(*state)
        return known

    def _update(self, asked: Asked[Any]) -> None:
        """Read some of the files that differ, and put them down in one transaction."""
        assert asked.pending is not None  # noqa: S101 -- looked at before
        count = _batch([state.size for state, _ in asked.pending])
        some, rest = [name for _, name in asked.pending[:count]], asked.pending[count:]
        # The right to change it is given back before what is damaged is removed, which needs it too.
        with self._database.mended(), self._database.held():
            if self._database.has_moved():  # another process was faster: look again
                asked.pending = None
                self._known = self._load_known()
                return
            known = {name: self._stand(name) for name in some}
            readings = {name: self._read(name, stand, asked) for name, (_, stand) in known.items()}
            with self._database.transaction() as connection:
                for name, reading in readings.items():
                    write(connection, name, known[name][0], reading)
        for name, reading in readings.items():
            self._remember(name, reading)
        asked.pending, asked.done = rest, asked.done + len(some)

    def _stand(self, name: SessionNames) -> tuple[int | None, Stand | None]:
        """Return the number of a file in the catalog, and how far it was read."""
        row = self._database.connection.execute(_STAND, tuple(map(blob, name))).fetchone()
        if row is None:
            return None, None
        number, *stand = row
        return number, None if None in stand[:-1] else Stand(*stand)

    def _read(self, name: SessionNames, stand: Stand | None, asked: Asked[Any]) -> Reading | None:
        """Return what a file holds, or None if it is gone."""
        try:
            reading = read_file(self._reader, *name, stand)
            if reading.content is not None:
                check_place(reading.content, *name)
        except FileNotFoundError:
            return None
        except BlockingIOError as error:
            if monotonic() - asked.since < _PATIENCE:
                raise
            return Reading(NO_STATE, None, error)
        except (MissingKeyError, WrongKeyError):
            raise  # an answer without all that a wrong key cannot open would look like an empty store
        except (*UNTOLD, SessionError) as error:
            if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise
            where = printable(f"{self._reader.root_name}/{name.folder}/{name.file}")
            logger.warning("left out %s: %s", where, error)
            return self._unreadable(name, error)
        return reading

    def _unreadable(self, name: SessionNames, error: Exception) -> Reading:
        """Return what is known of a file that cannot be read, so that it is not tried again until it is touched."""
        state = self._states(name.folder).get(name.file, NO_STATE)
        return Reading(NO_STATE if isinstance(error, OSError) else state, None, error)

    def _remember(self, name: SessionNames, reading: Reading | None) -> None:
        files = self._known.setdefault(name.folder, {})
        if reading is None:
            files.pop(name.file, None)
            if not files:
                del self._known[name.folder]
        else:
            files[name.file] = kept_state(reading)


def _batch(sizes: Sequence[int]) -> int:
    """Return how many of some files are read in one step."""
    total = 0
    for number, size in enumerate(sizes[:STEP]):
        total += size
        if total > STEP_BYTES and number:
            return number
    return min(STEP, len(sizes))
