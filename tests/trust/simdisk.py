"""A disk that loses power: what an operation asked of it, and every state that it may be found in afterwards.

The calls of one operation are written down as they are made. From them follow the states that a file system may
legally show when the power goes at any moment in between:

* what was synced is there;
* of what was not, each 512-byte sector is old, new or (where nothing older stood) zero, independently of all others,
  and a file has any size between the old one and the new one;
* each change of a name (link, rename, unlink, new folder) that was not synced happened or did not, independently of
  all others, as long as it was possible: a file system that keeps them in order shows some of these states only.
"""

import contextlib
import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest import mock

SECTOR = 512
RECORDED = ("open", "pwrite", "ftruncate", "fsync", "fdatasync", "link", "unlink", "remove", "replace", "rename",
            "mkdir", "rmdir")  # fmt: skip
"""The calls that change what is on the disk, or bring it there."""

State = dict[str, bytes | None]
"""Paths below the base: the bytes of a file, or None for a folder."""


@dataclass
class File:
    """One inode: what is on the disk for sure, and each content that it had since."""

    synced: bytes
    versions: list[bytes] = field(default_factory=list)
    touched: int | None = None
    """The lowest offset written since the last sync."""
    untouched: int = 0
    """Where what was written since the last sync ends."""

    @property
    def now(self) -> bytes:
        return self.versions[-1] if self.versions else self.synced

    def write(self, offset: int, data: bytes) -> None:
        now = self.now.ljust(offset, b"\0")
        end = offset + len(data)
        self.change(now[:offset] + data + now[end:], offset, end)

    def change(self, content: bytes, offset: int, end: int | None = None) -> None:
        self.versions.append(content)
        self.touched = offset if self.touched is None else min(self.touched, offset)
        self.untouched = max(self.untouched, len(content) if end is None else end)

    def sync(self) -> None:
        self.synced, self.versions, self.touched, self.untouched = self.now, [], None, 0

    def copy(self) -> "File":
        return File(self.synced, list(self.versions), self.touched, self.untouched)


@dataclass(frozen=True)
class NameChange:
    """One change of a folder's names: `old` goes (if it is set), `new` comes and leads to `node`."""

    folder: int
    old: str | None
    new: str | None
    node: int | None

    def apply(self, folders: dict[int, dict[str, int]]) -> bool:
        """Make the change, or say that it was not possible."""
        names = folders[self.folder]
        if self.old is not None and self.old not in names:
            return False
        if self.new is not None and self.old is None and self.new in names:
            return False
        node = names.pop(self.old) if self.old is not None else self.node
        if self.new is not None:
            names[self.new] = node
        return True


class SimDisk:
    """What lies below a folder, as the disk has it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.files: dict[int, File] = {}
        self.folders: dict[int, dict[str, int]] = {}
        self.pending: list[NameChange] = []
        self.moments: list[tuple[str, SimDisk]] = []
        self._ids: dict[tuple[int, int], int] = {}
        self._next = itertools.count()
        self._take(base)

    def _take(self, path: str) -> int:
        node = self._node(os.lstat(path), new=True)
        if os.path.isdir(path):
            self.folders[node] = {name: self._take(f"{path}/{name}") for name in os.listdir(path)}
        else:
            with open(path, "rb") as file:
                self.files[node] = File(file.read())
        return node

    def _node(self, status: os.stat_result, *, new: bool = False) -> int | None:
        place = (status.st_dev, status.st_ino)
        if new:
            self._ids[place] = next(self._next)
        return self._ids.get(place)

    # --- writing down ---

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Write down the calls that are made meanwhile."""
        self._moment("begin")
        with contextlib.ExitStack() as stack:
            for name in RECORDED:
                real = getattr(os, name)
                stack.enter_context(mock.patch.object(os, name, self._watched(name, real)))
            yield

    def _watched(self, name: str, real: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            before = self._before(name, *args, **kwargs)
            result = real(*args, **kwargs)
            if before is not None:
                getattr(self, f"_after_{name}")(before, result, *args, **kwargs)
            return result

        return call

    def _moment(self, what: str) -> None:
        shot = SimDisk.__new__(SimDisk)
        shot.files = {node: file.copy() for node, file in self.files.items()}
        shot.folders = {node: dict(names) for node, names in self.folders.items()}
        shot.pending = list(self.pending)
        self.moments.append((what, shot))

    def _before(self, name: str, target: object, *args: object, **kwargs: object) -> object:
        """Return what the call is about, or None if it is nothing of ours."""
        if name in ("pwrite", "ftruncate", "fsync", "fdatasync"):
            return self._node(os.fstat(target))
        if name == "open":
            flags = args[0]
            if not flags & os.O_CREAT or self._exists(target, kwargs.get("dir_fd")):
                return None
        folder = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
        return self._folder(target, folder)

    @staticmethod
    def _exists(path: str, dir_fd: int | None) -> bool:
        try:
            os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _folder(self, path: object, dir_fd: int | None) -> tuple[int, str] | None:
        head, name = os.path.split(os.fspath(path))
        status = os.fstat(dir_fd) if dir_fd is not None and not head else os.stat(head or ".")
        node = self._node(status)
        return None if node is None else (node, name)

    def _renamed(self, change: NameChange, what: str) -> None:
        self.pending.append(change)
        self._moment(what)

    def _after_open(self, where: tuple[int, str], fd: int, *_: object, **__: object) -> None:
        node = self._node(os.fstat(fd), new=True)
        self.files[node] = File(b"")
        self._renamed(NameChange(where[0], None, where[1], node), f"open {where[1]}")

    def _after_mkdir(self, where: tuple[int, str], _: object, path: object, *__: object, **___: object) -> None:
        node = self._node(os.stat(path), new=True)
        self.folders[node] = {}
        self._renamed(NameChange(where[0], None, where[1], node), f"mkdir {where[1]}")

    def _after_link(self, where: tuple[int, str], _: object, source: str, name: str, **how: object) -> None:
        node = self._node(os.stat(name, dir_fd=how["dst_dir_fd"], follow_symlinks=False))
        self._renamed(NameChange(where[0], None, name, node), f"link {name}")

    def _after_unlink(self, where: tuple[int, str], *_: object, **__: object) -> None:
        self._renamed(NameChange(where[0], where[1], None, None), f"unlink {where[1]}")

    _after_remove = _after_rmdir = _after_unlink

    def _after_replace(self, where: tuple[int, str], _: object, source: str, name: str, **__: object) -> None:
        self._renamed(NameChange(where[0], source, name, None), f"rename {source} {name}")

    _after_rename = _after_replace

    def _after_pwrite(self, node: int, written: int, _: int, data: bytes, offset: int) -> None:
        self.files[node].write(offset, bytes(data)[:written])
        self._moment(f"write {written} bytes")

    def _after_ftruncate(self, node: int, _: None, fd: int, size: int) -> None:
        file = self.files[node]
        file.change(file.now[:size].ljust(size, b"\0"), min(size, len(file.now)))
        self._moment("truncate")

    def _after_fsync(self, node: int, *_: object) -> None:
        if node in self.files:
            self.files[node].sync()
        else:
            done = [change for change in self.pending if change.folder == node]
            for change in done:
                change.apply(self.folders)
            self.pending = [change for change in self.pending if change.folder != node]
        self._moment("sync")

    _after_fdatasync = _after_fsync

    # --- what the disk may show ---

    def states(self, chance: random.Random, limit: int) -> Iterator[State]:
        """Yield what may be found if the power goes now; at most about `limit` contents of a file."""
        for kept in itertools.product((True, False), repeat=len(self.pending)):
            folders = {node: dict(names) for node, names in self.folders.items()}
            if all(change.apply(folders) for change, keep in zip(self.pending, kept, strict=True) if keep):
                yield from self._contents(folders, chance, limit)

    def _contents(self, folders: dict[int, dict[str, int]], chance: random.Random, limit: int) -> Iterator[State]:
        tree = dict(_walk(folders, 0, ""))
        names = [path for path, node in tree.items() if node in self.files]
        # What a hidden name leads to is never read: any content of it stands for all.
        varied = [name for name in names if not os.path.basename(name).startswith(".")]
        fixed = {path: None if node in folders else self.files[node].now for path, node in tree.items()}
        choices = [list(contents(self.files[tree[name]], chance, limit)) for name in varied]
        for chosen in itertools.product(*choices):
            yield {**fixed, **dict(zip(varied, chosen, strict=True))}


def _walk(folders: dict[int, dict[str, int]], node: int, path: str) -> Iterator[tuple[str, int]]:
    for name, inner in folders[node].items():
        yield path + name, inner
        if inner in folders:
            yield from _walk(folders, inner, f"{path}{name}/")


def contents(file: File, chance: random.Random, limit: int) -> Iterator[bytes]:
    """Yield what an inode may hold, all of it or a sample of about `limit`."""
    if not file.versions:
        yield file.synced
        return
    versions = [file.synced, *file.versions]
    size = max(len(version) for version in versions)
    first = file.touched // SECTOR * SECTOR
    zeros = range(file.touched, file.untouched)
    choices = [_sector_choices(versions, place, zeros, size) for place in range(first, size, SECTOR)]
    total = 1
    for choice in choices:
        total *= len(choice)
    every = itertools.product(*choices)
    picked = every if total <= limit else ([chance.choice(c) for c in choices] for _ in range(limit))
    sizes = sorted({len(version) for version in versions})
    edges = range(sizes[0] // SECTOR * SECTOR + SECTOR, sizes[-1], SECTOR)
    head = file.synced[:first].ljust(first, b"\0")
    for sectors in picked:
        whole = head + b"".join(sectors)
        for end in sizes:
            yield whole[:end]
        if edges:
            yield whole[: chance.choice(edges)]


def _sector_choices(versions: list[bytes], place: int, zeros: range, size: int) -> list[bytes]:
    found = {version[place : place + SECTOR].ljust(min(SECTOR, size - place), b"\0") for version in versions}
    if place in zeros:
        found.add(bytes(min(SECTOR, size - place)))
    return sorted(found)


def lay_out(state: State, base: str) -> None:
    """Make a state real below a new folder."""
    os.mkdir(base)
    for path, content in state.items():
        if content is None:
            os.mkdir(f"{base}/{path}", 0o700)
        else:
            with open(f"{base}/{path}", "wb", opener=_private) as file:
                file.write(content)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
