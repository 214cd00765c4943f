"""What stands in folders, as the system tells without opening a file; and the private folder of derived files."""

import contextlib
import os
import stat
import time
from typing import NamedTuple

from agents_sessions.stores.file.disk.syscalls import (
    DIRECTORY_MODE,
    FILE_MODE,
    OPEN,
    NotRegular,
    close,
    directory,
    open_status,
)


class FileState(NamedTuple):
    """What tells whether a file was touched: any write, replacement or change of rights alters it."""

    changed: int
    """Nanoseconds, by the clock of the kernel. Not the time of the last write, which whoever copies a file can set."""
    size: int
    inode: int

    @property
    def is_young(self) -> bool:
        """Tell whether a write right now might leave the state as it is.

        The kernel's clock may tick only a hundred times a second, and a disk count in whole seconds, or in two.
        """
        tick = 2_100_000_000 if self.changed % 1_000_000_000 == 0 else 20_000_000
        return time.time_ns() - self.changed < tick


def file_states(root: str, folder: str, suffix: str) -> dict[str, FileState]:
    """Return the states of the files in a folder whose names end with a suffix and do not begin with a dot."""
    found: dict[str, FileState] = {}
    new = tuple.__new__
    with directory(root, folder) as fd, os.scandir(fd) as items:
        for item in items:
            name = item.name
            if name.endswith(suffix) and name[0] != ".":
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # it has gone in between
                    continue
                # Without the call of the tuple's own constructor: there may be ten thousand of them.
                found[name] = new(FileState, (status.st_ctime_ns, status.st_size, status.st_ino))
    return found


def open_with_state(dir_fd: int, name: str) -> tuple[int, FileState]:
    """Open a regular file for reading, as `open_file`, and return it with the state that it had then."""
    fd, status = open_status(dir_fd, name, os.O_RDONLY | OPEN)
    return fd, FileState(status.st_ctime_ns, status.st_size, status.st_ino)


def is_folder_there(path: str) -> bool:
    """Tell whether there is a folder at a path, or a link to one."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 -- as everywhere in these modules
    except OSError:
        return False


def make_private(root: str, folder: str) -> None:
    """Make a folder below a root that is there, for this user alone, if there is none."""
    try:
        os.mkdir(f"{root}/{folder}", DIRECTORY_MODE)  # noqa: PTH102
    except FileExistsError:
        return
    os.chmod(f"{root}/{folder}", DIRECTORY_MODE)  # noqa: PTH101 -- a umask may have taken the owner's own rights


def make_empty(dir_fd: int, name: str) -> int:
    """Make an empty file if there is none, and return its inode. It is never opened if it is there.

    Closing a file of a database would free the locks that this process has on it.

    Raises:
        NotRegular: Something else has the name, or the file has another name too.
    """
    with contextlib.suppress(FileExistsError):
        close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | OPEN, FILE_MODE, dir_fd=dir_fd))
    return inode_at(dir_fd, name) or 0


def inode_at(dir_fd: int, name: str) -> int | None:
    """Return the inode of a regular file, or None if there is none.

    Raises:
        NotRegular: Something else has the name, or the file has another name too.
    """
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise NotRegular("not a regular file of one name")
    return status.st_ino


def unlink_all(dir_fd: int, prefix: str) -> None:
    """Remove the files of a folder whose names begin so."""
    for name in os.listdir(dir_fd):
        if name.startswith(prefix):
            os.unlink(name, dir_fd=dir_fd)
