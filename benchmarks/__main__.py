"""`python -m benchmarks [--quick] [--dir DIR] [--json FILE]`."""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import FULL, QUICK, Bench, Effort
from benchmarks.measure import file_system
from benchmarks.report import Row, as_json, environment, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shortened form, below half a minute")
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    options = parser.parse_args()
    kind = file_system(options.dir or Path.cwd())
    if kind in ("tmpfs", "ramfs") and options.dir is None:
        parser.error(f"the working directory is on {kind}, where a sync costs nothing; name a real disk with --dir")
    _raise_descriptor_limit()
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.dir or Path.cwd()) as folder:
        rows = asyncio.run(_measure(Path(folder), effort))
    about = environment(kind)
    print(f"\n{about}{'; a quick run' if options.quick else ''}. Medians (quartiles); ratio to SQLiteSession.\n")
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(rows, about), indent=1) + "\n")


async def _measure(folder: Path, effort: Effort) -> list[Row]:
    rows = []
    async for row in Bench(folder, effort).rows():
        rows.append(row)
        print(f"measured: {row.case}", file=sys.stderr)
    return rows


def _raise_descriptor_limit() -> None:
    """`SQLiteSession` opens a connection per session and thread: a hundred sessions exceed the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if most == resource.RLIM_INFINITY else min(8192, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    main()
