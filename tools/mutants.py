"""Deliberate mistakes in a copy of the package: each must be caught by the tests that are named for it.

`make mutants` prints one line each and fails if one survives, or if a test fails without any mistake. A mutant is a
text that stands once in its file, and what it becomes; if the text is gone, the mutant is stale, which fails too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

HOME = Path(__file__).resolve().parents[1]
STORE = "tests/stores/file/test_file_store.py"
TAIL = "tests/stores/file/format/test_tail.py"
TORN = "tests/stores/file/format/test_torn.py"
CRASH = "tests/trust/test_crash.py"
CONCURRENCY = "tests/trust/test_concurrency.py"
GROWTH = "tests/trust/test_growth.py"


class Mutant(NamedTuple):
    """One mistake."""

    name: str
    file: str
    text: str
    becomes: str
    tests: str
    """What catches it: arguments of pytest."""


MUTANTS = [
    Mutant(
        "an append is not synced",
        "stores/file/disk/atomic.py",
        "        write_all(fd, data, offset)\n        sync(fd, durable=durable)\n        return leads_to",
        "        write_all(fd, data, offset)\n        return leads_to",
        f"{STORE} -k one_write_and_one_sync",
    ),
    Mutant(
        "a failed sync is tried again",
        "stores/file/disk/syscalls.py",
        "        os.fdatasync(fd)\n",
        "        try:\n            os.fdatasync(fd)\n        except OSError:\n            os.fdatasync(fd)\n",
        f"{STORE} -k failed_sync",
    ),
    Mutant(
        "a rewrite writes in place",
        "stores/file/disk/atomic.py",
        "            os.replace(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)\n            sync_directory",
        "            fd = os.open(name, os.O_RDWR | os.O_TRUNC | os.O_CREAT, dir_fd=dir_fd)\n"
        "            write_all(fd, data, 0)\n            os.close(fd)\n"
        "            os.unlink(temporary, dir_fd=dir_fd)\n            sync_directory",
        CRASH,
    ),
    Mutant(
        "a lock counts on a file that was replaced",
        "stores/file/disk/locks.py",
        "            if leads_to(dir_fd, name, fd):\n                return fd\n        except",
        "            if fd >= 0:\n                return fd\n        except",
        f"{STORE} -k between_opening_and_locking",
    ),
    Mutant(
        "the lock of a file is not taken",
        "stores/file/disk/locks.py",
        "    fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)",
        "    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        f"{CONCURRENCY} -k every_batch",
    ),
    Mutant(
        "a batch is written in two calls, and nothing is put back",
        "stores/file/disk/atomic.py",
        "        write_all(fd, data, offset)\n        sync(fd, durable=durable)\n        return leads_to",
        "        half = data.rfind(b'\\n,{') + 1\n"
        "        write_all(fd, data[:half], offset)\n        write_all(fd, data[half:], offset + half)\n"
        "        sync(fd, durable=durable)\n        old = b''\n        return leads_to",
        f"{STORE} -k one_write",
    ),
    Mutant(
        "a failed append leaves what it wrote",
        "stores/file/disk/atomic.py",
        "        _put_back(fd, offset, old, durable=durable)\n        raise",
        "        raise",
        f"{STORE} -k puts_the_old_end_back",
    ),
    Mutant(
        "a part of a batch is kept",
        "stores/file/format/verify.py",
        '        if len(batch) == entry.get("n", 1):\n',
        "        if batch:\n",
        CRASH,
    ),
    Mutant(
        "a line is believed without its checksum",
        "stores/file/format/verify.py",
        " or written != b'%s%08x\",' % (CRC_OPENS, crc32(rest, crc32(head, salt))):",
        " or not written:",
        TORN,
    ),
    Mutant(
        "the seal is believed without its checksum",
        "stores/file/format/tail.py",
        '    return closing.endswith(b"\\n") and closing.rstrip(b" \\n") == b\'%s%08x"}}\' % (CRC_OPENS, sealed)',
        '    return closing.endswith(b"\\n") and sealed >= 0',
        f"{TORN} -k any_sectors",
    ),
    Mutant(
        "the seal does not cover the last batch",
        "stores/file/format/tail.py",
        "    sealed = crc32(tail.text[:place], crc32(batch, crc32(header)))",
        "    sealed = crc32(tail.text[:place], crc32(header))",
        TAIL,
    ),
    Mutant(
        "the totals do not follow an append",
        "stores/file/format/append.py",
        "    context = fold(old.context, entries)\n",
        "    context = old.context\n",
        CRASH,
    ),
    Mutant(
        "the totals are not counted again after a rewrite",
        "stores/file/writer.py",
        "        entries, seq, context = renumber(after, whole.seq)\n",
        "        entries, seq, context = renumber(after, whole.seq)\n        context = before.info.context\n",
        CRASH,
    ),
    Mutant(
        "a number is given again after a pop",
        "stores/base.py",
        "    return numbered, max(newest, last)",
        "    return numbered, last",
        f"{STORE} -k never_given_again",
    ),
    Mutant(
        "a reader does not check the seal",
        "stores/file/format/sealed.py",
        "    if not seal_holds(line, batch, tail):\n        return None\n",
        "",
        f"{TORN} -k 'any_sectors or cut_at_any_byte'",
    ),
    Mutant(
        "temporaries are never swept",
        "stores/file/disk/atomic.py",
        "        _swept.put(place, True)\n        sweep(dir_fd)\n",
        "        _swept.put(place, True)\n",
        CRASH,
    ),
    Mutant(
        "a cancelled write is not waited for",
        "concurrency/settle.py",
        "    while not task.done():\n        with contextlib.suppress(asyncio.CancelledError):\n"
        "            await asyncio.wait({task})\n",
        "    if not task.done():\n        raise cancelled\n",
        "tests/concurrency/test_fair_locks.py",
    ),
    Mutant(
        "the end of a loop cuts what must be settled",
        "concurrency/settle.py",
        "        asyncio._unregister_task(task)\n",
        "        pass\n",
        f"{CONCURRENCY} -k counted_once",
    ),
    Mutant(
        "a gate is not forgotten",
        "concurrency/fair_locks.py",
        "            queue.popleft()\n        del self._queues[name]\n",
        "            queue.popleft()\n",
        f"{GROWTH} -k leave_no_gate",
    ),
    Mutant(
        "a gate lets the newest in first",
        "concurrency/fair_locks.py",
        "            queue.append(ticket)\n",
        "            queue.insert(1, ticket)\n",
        "tests/concurrency/test_fair_locks.py",
    ),
    Mutant(
        "turns do not exclude each other",
        "stores/file/turn_lock.py",
        "open_lock_file(folder, name, holder), os.getpid())\n",
        "open_lock_file(folder, name + os.urandom(4).hex(), holder), os.getpid())\n",
        f"{CONCURRENCY} -k every_batch",
    ),
    Mutant(
        "a turn lock is not released",
        "stores/file/writer.py",
        "            stack.callback(taken.release)\n",
        "",
        f"{STORE} -k an_error_in_a_turn",
    ),
    Mutant(
        "a forked child keeps its parent's locks",
        "stores/file/disk/locks.py",
        "    for fd in _locks:\n        close(fd)\n",
        "",
        f"{STORE} -k killed_parent",
    ),
    Mutant(
        "usage before a pause is counted again on resume",
        "turns/approvals.py",
        "return Continued(agent, UsageMark(*self.spent),",
        "return Continued(agent, UsageMark(0, 0, 0, 0, 0, 0, 0),",
        "tests/turns/test_approvals.py -k counts_what_it_spent",
    ),
    Mutant(
        "what a failed batch has cost is forgotten",
        "turns/recorder.py",
        'return "record" in entry and entry["record"]["type"] != "turn"',
        "return False",
        "tests/turns/test_failures.py -k keeps_its_cost",
    ),
    Mutant(
        "a decision is not stored before the tools run",
        "turns/turn.py",
        "await recorder.decide(run.decision)",
        "pass",
        "tests/turns/test_approvals.py -k before_any_tool_runs",
    ),
    Mutant(
        "a call is left without an output",
        "turns/recorder.py",
        "            self._waiting += lost_outputs(calls, self.held, agent=self.agent, turn=self.turn_id)\n",
        "",
        "tests/turns/test_cancellation.py -k memory-resume",
    ),
    Mutant(
        "the requests of a turn are stored twice",
        "turns/recorder.py",
        "        rows, self._rows = [*self._rows, *self._nested_rows()], []\n",
        "        rows = [*self._rows, *self._nested_rows()]\n",
        "tests/turns/test_recorder.py",
    ),
    Mutant(
        "a turn that died stays open",
        "turns/turn.py",
        "return info if info.context.open_turn is None else await self._interrupted(info, info.context.open_turn)",
        "return info",
        CRASH,
    ),
]


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    caught_by: str | None
    seconds: float


def mutated(source: str, mutant: Mutant) -> str:
    """Return a source with the mistake in it.

    Raises:
        LookupError: The text that the mutant changes does not stand there once.
    """
    if source.count(mutant.text) != 1:
        raise LookupError(f"stale: {mutant.name!r} changes a text that is {source.count(mutant.text)} times there")
    return source.replace(mutant.text, mutant.becomes)


def judge(mutant: Mutant, *, control: bool = False) -> Verdict:
    """Run a mutant's tests against a copy of the package that has the mistake; as a `control`, that has it not."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("agents_sessions", "tests"):
            shutil.copytree(HOME / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("conftest.py", "pyproject.toml"):
            shutil.copy(HOME / part, copy)
        file = copy / "agents_sessions" / mutant.file
        if not control:
            file.write_text(mutated(file.read_text(), mutant))
        return Verdict(mutant, caught_by(mutant, copy), time.monotonic() - begun)


def caught_by(mutant: Mutant, copy: Path) -> str | None:
    """Return the name of the first test that fails, or None if all pass."""
    # The working folder comes first on the path of every process that the tests start.
    environment = {**os.environ, "PYTHONPATH": str(copy), "TRUST_SECONDS": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import agents_sessions as a, sys; sys.exit(not a.__file__.startswith(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", where, str(copy)], cwd=copy, env=environment, check=True)
    command = f"{sys.executable} -m pytest -x -rfE --tb=line -p no:cacheprovider {mutant.tests}"
    try:
        ran = subprocess.run(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "nothing ends"
    if ran.returncode == 0:
        return None
    failed = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if ran.returncode != 1 or not failed:
        raise RuntimeError(f"{mutant.name}: pytest could not run: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return failed[0].rpartition("::")[2]


def main(wanted: list[str]) -> int:
    """Judge all mutants, or those whose name holds one of some words, two at a time."""
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    begun = time.monotonic()
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        controls = {mutant.tests: mutant for mutant in chosen}.values()
        for mutant, failed, _ in pool.map(partial(judge, control=True), controls):
            if failed is not None:
                raise SystemExit(f"without any mistake, {failed} of `{mutant.tests}` fails: what would catch one?")
        for mutant, caught, seconds in pool.map(judge, chosen):
            survivors += caught is None
            print(f"{mutant.name:58} {caught or 'SURVIVED':88.88} {seconds:6.1f} s", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants caught in {time.monotonic() - begun:.0f} s")
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
