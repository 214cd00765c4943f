"""What is wrong below a root: torn, edited and damaged files, and what dead processes have left. And its repair.

A healthy file is proved by its seal, and nothing of its history is read, unless the look is thorough: then the checksum
of every line is computed.
"""

from __future__ import annotations

import contextlib
import errno
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agents_sessions.errors import SessionError, SessionIdError, printable
from agents_sessions.keys import SessionKey
from agents_sessions.model.findings import Finding
from agents_sessions.stores.file import aside, sidecars
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.errors import UNTOLD
from agents_sessions.stores.file.format.header import Damage, NewerFormat, salt_of
from agents_sessions.stores.file.format.sealed import Sealed, read_chunks, read_sealed
from agents_sessions.stores.file.format.verify import first_damaged
from agents_sessions.stores.file.layout import SUFFIX, beside, names_of
from agents_sessions.stores.file.names import decode_name
from agents_sessions.stores.file.turn_lock import forget_turn

if TYPE_CHECKING:
    from agents_sessions.stores.file.files import SessionFiles

LITTLE_ROOM = 64 << 20

_LOCK = ".turn"
_ASIDE = ".aside"
_TORN = ".json.torn-"


class Look(NamedTuple):
    """What the names in a folder say."""

    findings: list[Finding]
    files: list[str]
    """The session files, whose insides were not looked at yet."""


class FileChecks:
    """Looks at the files below a root, and repairs what it has found, in the thread that asks for it."""

    def __init__(self, files: SessionFiles) -> None:
        self._files = files
        self._root = str(files.root)

    # --- look ---

    def root(self) -> list[Finding]:
        """Return what is wrong with the disk."""
        try:
            with io.directory(self._root, ".") as root:
                return list(_disk(root))
        except FileNotFoundError:
            return []

    def folder(self, name: str) -> Look:
        """Return what is wrong with the names in the folder of an agent."""
        try:
            with io.directory(self._root, name) as folder:
                found = io.statuses(folder)
                findings = [*self._exposed_folder(folder, name), *self._left(folder, name, found)]
        except FileNotFoundError:
            return Look([], [])
        except UNTOLD as error:
            return Look([Finding("unreadable-file", place=printable(name), detail=_detail(error))], [])
        files = [file for file, status in found if _is_session(file) and not stat.S_ISDIR(status.st_mode)]
        return Look(findings, files)

    def files(self, folder: str, names: Sequence[str], *, thorough: bool) -> list[Finding]:
        """Return what is wrong with some session files."""
        found: list[Finding] = []
        with contextlib.suppress(FileNotFoundError), io.directory(self._root, folder) as fd:
            for name in names:
                found += self._file(fd, folder, name, thorough=thorough)
        return found

    def _file(self, dir_fd: int, folder: str, name: str, *, thorough: bool) -> list[Finding]:
        here = partial(Finding, key=_key_of(folder, name), place=printable(f"{folder}/{name}"))
        try:
            with io.opened(dir_fd, name) as fd:
                exposed = [here("exposed-file")] if io.mode_of(fd) & 0o077 else []
                sealed = read_sealed(partial(io.read_range, fd), io.size_of(fd))
                if sealed is not None:
                    return [*exposed, *self._sealed(fd, sealed, here, folder, name, thorough=thorough)]
            whole = self._files.read_whole(SessionKey(folder, name), folder, name)
            header, shape = whole.header, whole.shape
        except (FileNotFoundError, BlockingIOError):  # it is being removed, or written to: then it is alive
            return []
        except NewerFormat as error:
            return [here("newer-file", detail=str(error))]
        except Damage as error:
            return [here("damaged-file", detail=str(error))]
        except (*UNTOLD, SessionError) as error:
            return [here("unreadable-file", detail=_detail(error))]
        misnamed = [] if _is_named(header, folder, name) else [here("misnamed-file")]
        shaped = [] if misnamed or shape == "sealed" else [here(f"{shape}-file")]
        return [*exposed, *misnamed, *shaped]

    def _sealed(
        self, fd: int, sealed: Sealed, here: partial[Finding], folder: str, name: str, *, thorough: bool
    ) -> Iterator[Finding]:
        if not _is_named(sealed.header, folder, name):
            yield here("misnamed-file")
        if thorough:
            salt = salt_of(sealed.header)
            for lines, offset in read_chunks(partial(io.read_range, fd), sealed.tail.body, sealed.tail.end):
                damaged = first_damaged(lines, offset, salt)
                if damaged is not None:
                    yield here("damaged-line", detail=f"at byte {damaged}")
                    return

    def _exposed_folder(self, folder: int, name: str) -> Iterator[Finding]:
        if io.mode_of(folder) & 0o077:
            yield Finding("exposed-file", place=printable(name))

    def _left(self, folder: int, agent: str, found: Sequence[tuple[str, stat_result]]) -> Iterator[Finding]:
        """Yield what processes have left that died, and what repairs have kept."""
        names = {name for name, _ in found}
        for name, status in found:
            code = _hidden(folder, name, status) if name[0] == "." else _beside(name, status, names)
            if code is not None:
                session = name.partition(_TORN)[0].removesuffix(SUFFIX) + SUFFIX
                key = None if name[0] == "." else _key_of(agent, session)
                yield Finding(code, key, printable(f"{agent}/{name}"))

    # --- repair ---

    def repair(self, finding: Finding, backup: Path) -> bool:
        """Repair what was found, if it is still so, with a copy of it in a folder; tell whether."""
        folder, _, name = finding.place.partition("/")
        if finding.repair is None or not self._is_still(finding, folder, name):
            return False
        with io.directory(self._root, folder) as fd:
            if finding.code == "exposed-file":
                if name:
                    io.make_private(fd, name)
                else:
                    with io.directory(self._root, ".") as root:
                        io.make_private(root, folder)
                return True
            with io.directory(str(backup), folder, create=True) as kept, contextlib.suppress(FileExistsError):
                atomic.copy(fd, name, kept, durable=True)
            self._repair_in(fd, finding, name)
        return True

    def _is_still(self, finding: Finding, folder: str, name: str) -> bool:
        if name and _is_session(name):
            found = self.files(folder, [name], thorough=False)
        else:
            found = self.folder(folder).findings
        return finding.code in {each.code for each in found if each.place == finding.place}

    def _repair_in(self, folder: int, finding: Finding, name: str) -> None:
        if finding.code in ("torn-file", "edited-file") and finding.key is not None:
            self._files.rewrite(finding.key, lambda history: history)
        elif finding.code == "damaged-file" and finding.key is not None:
            self._files.start_over(finding.key)
        elif finding.code == "stale-temporary":
            atomic.sweep_one(folder, name)
        elif finding.code == "orphan-lock":
            forget_turn(folder, name.removeprefix(".").removesuffix(_LOCK))
        elif finding.code == "orphan-sidecars":
            sidecars.remove_all(folder, name + SUFFIX, durable=True)


def _disk(root: int) -> Iterator[Finding]:
    """Yield what the disk of a root cannot do. It is tried out, with a temporary that no one else sees."""
    if io.free_bytes(root) < LITTLE_ROOM:
        yield Finding("little-room")
    try:
        file = atomic.GrowingFile(root, "check")
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL):
            yield Finding("no-locks", detail=_detail(error))
        return
    try:
        file.try_link()
    except OSError as error:
        yield Finding("no-links", detail=_detail(error))
    finally:
        file.close()


def _hidden(folder: int, name: str, status: stat_result) -> str | None:
    """Return what is wrong with a hidden name, or None."""
    if atomic.is_temporary(name):
        return "stale-temporary" if atomic.is_left(folder, name, status) else None
    if name.endswith(_LOCK):
        return "orphan-lock" if _is_free(folder, name) else None
    return None


def _beside(name: str, status: stat_result, names: set[str]) -> str | None:
    """Return what is wrong with a name that is no session's, or None."""
    if _TORN in name:
        return "torn-copy"
    if stat.S_ISDIR(status.st_mode) and name + SUFFIX not in names and not _is_of_aside(name + SUFFIX, names):
        return "orphan-sidecars"
    return None


def _is_session(name: str) -> bool:
    return name[:1] != "." and name.endswith(SUFFIX)


def _is_named(header: object, folder: str, name: str) -> bool:
    """Tell whether a file has the name that the ids in its header give it."""
    ids = (header.get("agent_id"), header.get("id")) if isinstance(header, dict) else (None, None)
    try:
        return names_of(SessionKey(*ids)) == (folder, name)  # type: ignore[arg-type]
    except SessionIdError:
        return False


def _is_free(folder: int, name: str) -> bool:
    try:
        with locks.locked(folder, name):
            return True
    except (OSError, io.NotRegular):
        return False


def _is_of_aside(file: str, names: set[str]) -> bool:
    """Tell whether sidecars are those of a session that was set aside, and whose move was cut short."""
    hidden = [name for name in names if name.startswith(f".{file}.") and name.endswith(_ASIDE)]
    return any((parts := aside.parse(name)) is not None and parts.file == file for name in hidden)


def _key_of(folder: str, name: str) -> SessionKey | None:
    try:
        return SessionKey(decode_name(folder), decode_name(beside(name)))
    except UnicodeError:
        return None


def _detail(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
