"""The system calls of the lowest modules: counted, and made to fail by name.

`tests/trust/test_faults.py` lets every call of every operation fail in turn; this is for the one that a test means.
"""

import fcntl
import os
import shutil
from functools import partial

from agents_sessions.stores.file.disk import atomic, locks, syscalls

WATCHED = {
    "open", "close", "pwrite", "preadv", "fdatasync", "fsync", "link", "unlink", "replace", "ftruncate", "fstat",
    "stat", "listdir", "scandir", "fchmod", "flock", "rmtree",
}  # fmt: skip
EVERY = range(1, 10_000)


class Calls:
    """Stands before `os`, `fcntl` and `shutil` where they are used."""

    def __init__(self, monkeypatch):
        self._failing = {}
        self.clear()
        for name, module in (("os", os), ("fcntl", fcntl), ("shutil", shutil)):
            for user in (syscalls, locks, atomic):
                if hasattr(user, name):
                    monkeypatch.setattr(user, name, self._in_front_of(module))

    def clear(self):
        self.made = []
        self.written = self.read = 0

    def fail(self, name, error, nth=EVERY):
        """From now on, let the calls of a name fail whose number is among `nth`, counted from 1."""
        self.clear()
        self._failing[name] = error, nth

    def heal(self):
        self._failing.clear()

    def of(self, *names):
        return [name for name in self.made if name in names]

    def _in_front_of(self, module):
        calls = self

        class Watched:
            def __getattr__(self, name):
                real = getattr(module, name)
                return partial(calls._make, name, real) if name in WATCHED else real

        return Watched()

    def _make(self, name, real, *args, **kwargs):
        self.made.append(name)
        error, nth = self._failing.get(name, (None, ()))
        if self.made.count(name) in nth:
            raise OSError(error, os.strerror(error))
        result = real(*args, **kwargs)
        self.written += result if name == "pwrite" else 0
        self.read += result if name == "preadv" else 0
        return result
