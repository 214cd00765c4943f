"""The system calls that the package makes, found in its text: what a test must let fail, kill at or write down.

A call that is added to the lowest modules is in the list at once; no test can forget it.
"""

import ast
import inspect
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from agents_sessions.stores.file.disk import atomic as file_atomic
from agents_sessions.stores.file.disk import listing as file_listing
from agents_sessions.stores.file.disk import locks as file_locks
from agents_sessions.stores.file.disk import syscalls as file_io

LOWEST = (file_io, file_locks, file_atomic, file_listing)
"""The modules that call the system; `tests/test_layers.py` lets no other one."""

LIBRARY = (shutil, sys.modules[Path.mkdir.__module__])
"""What of the standard library calls the system for them."""

BENEATH = {"open", "close", "lstat", "fstat", "stat", "scandir", "unlink", "rmdir", "mkdir", "chmod"}
"""The calls by which `LIBRARY` removes a tree, makes a folder and looks for one."""

NONE = {
    "stat_result": "is a type",
    "register_at_fork": "calls nothing; what it registers does",
    "fwalk": "is Python in `os`, and goes by stat, open, scandir and close",
    "fcntl": "syncs on macOS only, in the place of fdatasync",
}
"""What looks like a system call, and is none."""


def _called(module: ModuleType) -> Iterator[str]:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("os", "fcntl"):
            name = node.attr
            if not name.isupper() and callable(getattr(os if node.value.id == "os" else sys.modules["fcntl"], name)):
                yield name


CALLS = sorted({name for module in LOWEST for name in _called(module)} - NONE.keys() | BENEATH)
