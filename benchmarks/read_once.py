"""Read one history in this process and print what its memory grew by: `python -m benchmarks.read_once`."""

import asyncio
import json
import resource
import sys
from pathlib import Path

from benchmarks.contenders import CONTENDERS


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


def _forget_peak() -> int:
    """Let the peak begin anew at what is resident now, and return that. Linux only; else the peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _resident("VmRSS:")
    except OSError:
        return _peak()


def _peak() -> int:
    try:
        return _resident("VmHWM:")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def _main(contender: str, folder: str, session_id: str) -> None:
    session = next(one for one in CONTENDERS if one.name == contender).open(Path(folder), session_id)
    await session.get_items(limit=1)  # threads, connections and lazy imports are not the read's
    before = _forget_peak()
    items = await session.get_items()
    print(json.dumps({"items": len(items), "bytes": _peak() - before}))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
