"""Everything that all stores and managers of one process share, in one place.

Two stores can be on one root, and two managers on one store: what they must agree about, or need not find out twice,
cannot belong to either. Each part is bounded or empties itself, starts afresh in a forked child, and is counted by
`open_resources`.
"""

from collections.abc import Hashable
from typing import Any

from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.forks import run_in_child
from agents_sessions.concurrency.recent import Recent

writers = FairLocks()
"""Who changes a session's file next: one at a time here, so that no two threads meet at the lock of the file."""

turn_takers = FairLocks()
"""Who runs a turn on a session of a folder next."""

makers = FairLocks()
"""Who makes a session of an id next: the id is free for one agent only."""

open_turns: dict[Hashable, Any] = {}
"""Who holds which session for a turn, since when and waiting for what: for the age in an error, and to find circles."""

locked_files: set[int] = set()
"""Descriptors of files that this process has locked, or is about to. `disk.locks` closes them in a forked child."""

file_ends: Recent[Hashable, Any] = Recent(1024)
"""The header and tail of session files as they were last seen. They save decoding the same bytes and prove nothing."""

synced_folders: Recent[tuple[int, int], bool] = Recent(4096)
"""Folders whose name is known to be on the disk."""

swept_folders: Recent[tuple[int, int], bool] = Recent(4096)
"""Folders in which this process has looked for what dead processes left."""

run_in_child(open_turns.clear)  # the turns of the parent


def open_resources() -> dict[str, int]:
    """Return how much of each kind is in use. Where nothing runs, the locks are at zero."""
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
