"""Sessions that were set aside: out of sight in the folder of their agent, whole, until they are brought back.

Renaming the session's file is the moment. The new name begins with a dot, so that nothing that reads sessions sees it,
and holds the time and the note, so that nothing else must be written: it works on a full disk. What lies beside the
file follows it a moment later. If the process dies in between, `reunite` finishes that before the id is used again.
"""

import contextlib
import re
import secrets
import time
from datetime import UTC, datetime
from typing import NamedTuple

from agents_sessions.stores.file.disk.atomic import move, move_folder, remove, remove_tree, rename
from agents_sessions.stores.file.disk.syscalls import exists, hidden_names, seen
from agents_sessions.stores.file.layout import SUFFIX, beside

_NOTE = re.compile(r"[A-Za-z0-9_=:-]{0,24}")
_NAME = re.compile(
    r"\.(?P<file>.+\.json)\.(?P<at>[0-9a-f]{12})-[0-9a-f]{8}-(?P<note>[A-Za-z0-9_=:-]{0,24})\.aside", re.DOTALL
)
FOLDER = ".sidecars"


class AsideName(NamedTuple):
    """What the name of a file that was set aside says."""

    file: str
    """The name that it had, and gets back."""
    at: datetime
    note: str


def check_note(note: str) -> None:
    """Refuse a note that has no room in a file name.

    Raises:
        ValueError: It is longer than 24 characters, or has others than letters and digits of ASCII and `_ = : -`.
    """
    if _NOTE.fullmatch(note) is None:
        raise ValueError(f"a note has up to 24 characters: ASCII letters, digits and _ = : -, not {note!r:.80}")


def parse(name: str) -> AsideName | None:
    """Return what the name of a file says, or None if nothing was set aside under it."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return AsideName(found["file"], datetime.fromtimestamp(int(found["at"], 16) / 1000, UTC), found["note"])


def beside_any(file: str) -> str:
    """Return the name of the folder of sidecars that goes with a file, whether its session is in sight or not."""
    return beside(file) if file.endswith(SUFFIX) else file + FOLDER


def put(folder: int, file: str, note: str, *, durable: bool) -> str:
    """Set the session of a file aside and return the new name. The caller holds the lock of the file."""
    name = f".{file}.{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(4)}-{note}.aside"
    rename(folder, file, name, durable=durable)
    try:
        move_folder(folder, beside(file), name + FOLDER)
    except OSError:
        rename(folder, name, file, durable=durable)
        raise
    return name


def take(folder: int, name: str, file: str, *, durable: bool) -> None:
    """Bring a session back. The caller holds the lock of the file and of the folder.

    Raises:
        FileExistsError: Another session has its name by now. Neither was touched.
    """
    if is_back(folder, name, file):
        remove(folder, name, durable=durable)
        return
    if exists(folder, file):
        raise FileExistsError(file)
    if exists(folder, name + FOLDER):
        # What lies in their place is no session's: someone died while he made one of this id.
        remove_tree(folder, beside(file), durable=durable)
    move_folder(folder, name + FOLDER, beside(file))
    try:
        move(folder, name, file, durable=durable)
    except BaseException:
        move_folder(folder, beside(file), name + FOLDER)
        raise


def is_back(folder: int, name: str, file: str) -> bool:
    """Tell whether a session has its old name again and only lacks the removal of the other: it died in between."""
    try:
        return seen(folder, name) == seen(folder, file)
    except FileNotFoundError:
        return False


def destroy(folder: int, name: str, *, durable: bool) -> None:
    """Remove a session that was set aside. The caller holds the lock of the file.

    Removing the file is the moment. What lies beside it goes after that: before it, a process that died in between
    would leave a session without its sidecars. `clear_destroyed` finishes what is left.
    """
    remove(folder, name, durable=durable)
    with contextlib.suppress(OSError):  # the next look tries again
        remove_tree(folder, name + FOLDER, durable=durable)


def clear_destroyed(folder: int) -> None:
    """Remove the sidecars of sessions that were destroyed, if who did it died before it came to them."""
    for name in hidden_names(folder, suffix=FOLDER):
        if parse(name.removesuffix(FOLDER)) is not None and not exists(folder, name.removesuffix(FOLDER)):
            with contextlib.suppress(OSError):  # the next look tries again
                remove_tree(folder, name, durable=False)


def reunite(folder: int, file: str) -> None:
    """Give sidecars without a session to the one that was set aside last, if it lacks them: its move was cut short."""
    if exists(folder, file) or not exists(folder, beside(file)):
        return
    hidden = hidden_names(folder, prefix=f".{file}.", suffix=".aside")
    names = [name for name in hidden if (parts := parse(name)) is not None and parts.file == file]
    if names and not exists(folder, names[-1] + FOLDER):
        move_folder(folder, beside(file), names[-1] + FOLDER)
