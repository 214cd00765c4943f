"""Export or import one session, or export a thousand, in a process of its own: seconds, and memory beyond an idle one.

`python -m benchmarks.transfer_once FOLDER WHAT`, where WHAT is a format, `import` or `many`.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

from agents_sessions import FileStore, SessionManager
from agents_sessions.features.transfer.transfer import Transfer
from agents_sessions.model.query import SessionQuery

if TYPE_CHECKING:
    from agents_sessions.features.transfer.values import ExportFormat

LONG, SHORT, MANY = "long", "short", "many"
"""The sessions: one of many entries, one to warm up with, and the agent of a thousand."""


async def main(folder: Path, what: str) -> None:
    """Do it once with the short session, and once under the clock."""
    transfer = _transfer(folder / "sessions")
    await _do(transfer, folder, what, SHORT)
    idle, begun = _peak(), perf_counter()
    await _do(transfer, folder, what, MANY if what == "many" else LONG)
    seconds = perf_counter() - begun
    print(json.dumps({"seconds": seconds, "bytes": _peak() - idle}))


async def _do(transfer: Transfer, folder: Path, what: str, session_id: str) -> None:
    if what == "import":
        await _transfer(folder / "imported").import_file(folder / f"{session_id}.jsonl", on_conflict="rename")
    elif what == "many":
        await transfer.export_many(SessionQuery(agent_id=session_id), folder / f"{session_id}.zip", overwrite=True)
    else:
        path, name = folder / f"{session_id}.{what}", cast("ExportFormat", what)
        await transfer.export_to_file(session_id, path, name, overwrite=True)


def _transfer(root: Path) -> Transfer:
    return SessionManager(FileStore(root, durability="process")).transfer


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
