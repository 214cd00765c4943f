"""Everything that all stores and managers of one process share, in one place.

Two stores may use one root, and two managers one store. They need the same locks, and profit from the same caches, so
these cannot belong to either. Each is bounded or empties itself, starts empty in a forked child, and is counted by
`open_resources`.
"""

import os
import socket
from collections.abc import Hashable
from typing import Any

from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.forks import run_in_child
from agents_sessions.concurrency.recent import Recent

writers = FairLocks()
"""One writer at a time per session of a folder, so that no two threads of this process contend for the file's lock."""

turn_takers = FairLocks()
"""One turn at a time per session of a folder."""

makers = FairLocks()
"""One caller at a time that creates a session of an id: in a manager, only one agent may have that id."""

open_turns: dict[Hashable, Any] = {}
"""The turns that run: on which session, since when, waiting for what. Errors say the age; circles are found here."""

locked_files: set[int] = set()
"""Descriptors of files that this process has locked or is about to lock. `disk.locks` closes them in a forked child."""

file_ends: Recent[Hashable, Any] = Recent(1024)
"""The newest header and tail of session files. They save decoding the same bytes again; they prove nothing."""

synced_folders: Recent[tuple[int, int], bool] = Recent(4096)
"""Folders whose own name is known to be synced to the disk."""

swept_folders: Recent[tuple[int, int], bool] = Recent(4096)
"""Folders in which this process has looked for temporaries of dead processes."""

run_in_child(open_turns.clear)  # A child runs none of its parent's turns.


def this_process() -> str:
    """Return how this process is named to those who wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def open_resources() -> dict[str, int]:
    """Return how many of each kind are in use. While nothing runs, the locks are at zero."""
    return {
        "writers": len(writers),
        "turn_takers": len(turn_takers),
        "open_turns": len(open_turns),
        "makers": len(makers),
        "locked_files": len(locked_files),
        "file_ends": len(file_ends),
        "synced_folders": len(synced_folders),
        "swept_folders": len(swept_folders),
    }
