"""Nothing grows that should not: the cost of an append, open files, memory, what the package remembers.

`TRUST_SENDS` makes it longer: `make soak` sends 100,000 messages and opens 10,000 sessions.
"""

import asyncio
import gc
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message

from agents_sessions.concurrency import process
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.file import layout as file_names
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns import lock

SENDS = int(os.environ.get("TRUST_SENDS", "700"))
SESSIONS = max(500, SENDS // 10)
LONG = 100_000
KEY = SessionKey("support", "order-42")
QUIET = RunConfig(tracing_disabled=True)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


# --- what an append costs the kernel ---------------------------------------------------------------------------

APPENDING = """
    import asyncio, os, sys
    from agents_sessions.model.entries import item_entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.file.store import FileStore

    def said(text):
        return item_entry({"role": "user", "content": text})

    async def main():
        key = SessionKey("support", "order-42")
        store = FileStore(sys.argv[1])
        await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id), [said("x" * 60)] * int(sys.argv[2]))
        for _ in range(3):
            await store.append(key, [said("warm")])
        for _ in range(20):
            os.access("measured", 0)
            await store.append(key, [said("y" * 60)])
        os.access("measured", 0)

    asyncio.run(main())
"""
READING = ("read", "pread64", "preadv", "preadv2")
WRITING = ("write", "pwrite64", "pwritev", "pwritev2")
FILE_CALLS = (
    "openat,open,close,read,pread64,preadv,preadv2,write,pwrite64,pwritev,fstat,newfstatat,statx,lseek,flock,fcntl,"
    "fsync,fdatasync,ftruncate,fallocate,getdents64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fchmod,mmap"
)


@pytest.fixture(scope="module")
def strace() -> str:
    program = shutil.which("strace")
    if program is None or subprocess.run([program, "-qq", "-o", os.devnull, "true"], check=False).returncode:
        pytest.skip("needs strace, and the right to trace")
    return program


def traced(strace: str, folder: Path, length: int) -> list[tuple[Counter[str], Counter[str]]]:
    """Return calls and bytes of each of 20 appends to a session of that many entries, as the kernel saw them."""
    log = folder / f"{length}.strace"
    script = [sys.executable, "-c", textwrap.dedent(APPENDING), str(folder / str(length)), str(length)]
    calls = f"trace={FILE_CALLS},access,faccessat2"
    subprocess.run([strace, "-f", "-qq", "-s", "16", "-e", calls, "-o", str(log), *script], check=True, timeout=120)
    appends: list[tuple[Counter[str], Counter[str]]] = []
    for line in log.read_text().splitlines():
        called = re.match(r"\d+ +(?:<\.\.\. )?(\w+)", line)
        if called is None:
            continue
        name = called[1]
        if name in ("access", "faccessat2") and "measured" in line:
            appends.append((Counter(), Counter()))
        elif appends and name != "mmap" and "unfinished" not in line:
            made, moved = appends[-1]
            made[name] += 1
            if name in READING + WRITING:
                moved[name] += int(line.rsplit("= ", 1)[1].split()[0])
    return appends[:-1]


def test_an_append_makes_the_same_system_calls_at_any_length(strace, tmp_path):
    short, long = (traced(strace, tmp_path, length) for length in (10, LONG))
    assert len(short) == len(long) == 20
    calls = short[0][0]
    print(f"\nan append, {calls.total()} calls: {dict(sorted(calls.items()))}")
    assert [made for made, _ in short + long] == [calls] * 40
    assert (calls["pwrite64"], calls["fdatasync"]) == (1, 1)
    for what, names in (("written", WRITING), ("read", READING)):
        few, many = (max(sum(moved[name] for name in names) for _, moved in each) for each in (short, long))
        print(f"{few:8} bytes {what} at 10 entries, {many} at {LONG}")
        assert 0 < few < many + 64 < few + 128  # a few more digits


# --- what stays in a process -----------------------------------------------------------------------------------


def agent_of(_info):
    return Agent(name="support", model=ScriptedModel([[assistant_message("answer")]]))


def make_store(kind, folder):
    return MemoryStore() if kind == "memory" else FileStore(folder, durability="process")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def standing() -> dict[str, int]:
    """What the process holds at this moment."""
    gc.collect()
    return {
        "open files": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        "bytes": resident_bytes(),
    }


def least_growth(standings: list[dict[str, int]]) -> dict[str, int]:
    """Return the smallest growth from one standing to the next: what stays of each turn shows in all of them.

    What comes once (a thread, a cache that fills, an arena) shows in one, at a time that no one knows.
    """
    steps = list(itertools.pairwise(standings))
    return {name: min(after[name] - before[name] for before, after in steps) for name in standings[0]}


def assert_nothing_waits():
    assert len(process.writers) == len(process.turn_takers) == 0
    assert lock.open_turns() == 0


@linux
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_process_that_sends_for_ever_does_not_grow(kind, tmp_path):
    async def send(manager, count):
        for number in range(count):
            await manager.send_message(KEY.session_id, "hello")
            if number % 20 == 19:  # the history itself may grow, so it is kept short
                await manager.clear_session(KEY.session_id)

    async def work():
        async with SessionManager(make_store(kind, tmp_path), agents=agent_of, run_config=QUIET) as manager:
            await manager.create_session("support", session_id=KEY.session_id)
            standings = []
            for _ in range(5):
                await send(manager, SENDS // 5)
                standings.append(standing())
            assert len(manager._streams) == len(manager._lookup._locks) == 0
            return standings

    standings = asyncio.run(work())
    print(f"\n{kind} after each {SENDS // 5} sends:", *standings, sep="\n")
    assert_nothing_waits()
    growth = least_growth(standings)
    assert growth["open files"] == 0
    assert growth["objects"] < SENDS // 10, "some object stays of each turn"
    assert growth["bytes"] < 1 << 20


@linux
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_streams_that_no_one_reads_leave_nothing(kind, tmp_path):
    async def work():
        async with SessionManager(make_store(kind, tmp_path), agents=agent_of, run_config=QUIET) as manager:
            await manager.create_session("support", session_id=KEY.session_id)
            standings = []
            for number in range(160):
                await manager.stream_message(KEY.session_id, "hello").reply()
                if number % 10 == 9:
                    await manager.clear_session(KEY.session_id)
                if number % 40 == 39:
                    standings.append(standing())
            assert len(manager._streams) == 0
            return standings

    growth = least_growth(asyncio.run(work()))
    assert_nothing_waits()
    assert growth["open files"] == 0
    assert growth["objects"] < 20, "some object stays of each stream"


@linux
def test_what_is_remembered_of_many_sessions_is_bounded(tmp_path):
    async def work():
        store = FileStore(tmp_path, durability="process")
        async with SessionManager(store, agents=agent_of, run_config=QUIET) as manager:
            open_before = len(os.listdir("/proc/self/fd"))
            for begin in range(0, SESSIONS, 50):
                names = [f"{number}" for number in range(begin, begin + 50)]
                await asyncio.gather(*(one(manager, name) for name in names))
            print(f"\n{SESSIONS} sessions: {standing()}")
            assert len(manager._streams) == len(manager._lookup._locks) == 0
            assert len(manager._lookup._known) <= 10_000
            assert await manager.count_sessions() == SESSIONS
            await store.aclose()  # its catalog is open from the first question on
            # The worker threads may have come since; what they have open, they have closed.
            assert len(os.listdir("/proc/self/fd")) == open_before

    async def one(manager, name):
        await manager.create_session("support", session_id=name)
        await manager.store.append(SessionKey("support", name), [item_entry({"role": "user", "content": "x"})])
        if int(name) % 10 == 0:
            await manager.send_message(name, "hello")

    asyncio.run(work())
    assert_nothing_waits()
    assert len(process.file_ends) <= 1024
    assert file_names.names_of.cache_info().currsize <= 4096


def test_many_who_wait_for_one_session_leave_no_lock(tmp_path):
    store = FileStore(tmp_path, durability="process")

    async def work():
        await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id))

        async def turn():
            async with store.turn_lock(KEY):
                await store.append(KEY, [item_entry({"x": 1})])

        tasks = [asyncio.create_task(turn()) for _ in range(200)]
        while not await store.entries(KEY):  # one has had its turn, and the others wait
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(work())
    assert_nothing_waits()
