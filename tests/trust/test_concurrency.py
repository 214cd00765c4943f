"""Processes, threads and tasks on the same few sessions: every batch whole, exactly once, in its writer's order.

`TRUST_SECONDS` makes it longer: `make soak` runs a minute.
"""

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from agents_sessions.concurrency import process
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.store import FileStore

SECONDS = float(os.environ.get("TRUST_SECONDS", "5"))
PROCESSES, THREADS, WRITERS, READERS = 4, 4, 2, 1
KEYS = [SessionKey("support", name) for name in ("one", "two", "three")]
PATIENT = {"append": 0.05, "rewrite": 0.5, "read": 0.2, "turn": 0.05}
"""What those do who are never stopped, one for each session in each process, and the seconds in between."""
STARVED = 20.0
"""Seconds that no one may wait for one operation, also after all others have stopped. What was measured is printed."""


def batch(writer: str, number: int, size: int):
    return [
        item_entry({"role": "user", "content": f"{writer} {number} {place} {size} {'ä' * (97 * place)}"})
        for place in range(size)
    ]


def read_back(entries) -> list[tuple[str, int, int, int]]:
    """Return writer, batch, place and size of each entry."""
    found = []
    for entry in entries:
        writer, number, place, size, filler = entry["item"]["content"].split(" ")
        assert len(filler) == 97 * int(place)
        found.append((writer, int(number), int(place), int(size)))
    return found


def check_whole(entries) -> dict[str, list[int]]:
    """Assert that every batch is there in one piece and at most once, and return the batches of each writer."""
    found = read_back(entries)
    batches = defaultdict(list)
    place = 0
    while place < len(found):
        writer, number, _, size = found[place]
        assert found[place : place + size] == [(writer, number, k, size) for k in range(size)], "a batch in parts"
        batches[writer].append(number)
        place += size
    for writer, numbers in batches.items():
        assert numbers == sorted(set(numbers)), f"batches of {writer} out of order, or twice: {numbers}"
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    return batches


# --- one process of many ---------------------------------------------------------------------------------------


class Worker:
    """What one process does and what it has seen."""

    def __init__(self, root: str, name: str, until: float) -> None:
        self.root, self.name, self.until = root, name, until
        self.done: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.figures: Counter[str] = Counter()
        self.longest: dict[str, float] = defaultdict(float)
        self.served = {f"{what} {key.session_id}": 0 for what in PATIENT for key in KEYS}
        """How often each of those who are never stopped was served while the others worked."""
        self.failures: list[str] = []

    def run(self) -> dict:
        threads = [threading.Thread(target=self.thread, args=(number,)) for number in range(THREADS)]
        threads += [threading.Thread(target=self.patient_thread, daemon=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self.until - time.time()) + STARVED + 10)
            if thread.is_alive():
                self.failures.append("a loop does not end")
        locks = len(process.writers) + len(process.turn_takers)
        if locks:
            self.failures.append(f"{locks} locks are left")
        return {
            "done": [[*place, numbers] for place, numbers in self.done.items()],
            "figures": self.figures,
            "longest": self.longest,
            "served": self.served,
            "failures": self.failures,
        }

    def thread(self, number: int) -> None:
        """Start and stop one loop after another, each in the middle of what its tasks do."""
        rng = random.Random(f"{self.name}.{number}")
        try:
            for life in itertools.count():
                if time.time() >= self.until:
                    return
                self.figures["loops"] += 1
                asyncio.run(self.loop(f"{self.name}.{number}.{life}", rng))
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}"[:500])

    async def loop(self, name: str, rng: random.Random) -> None:
        store = FileStore(self.root, durability=rng.choice(["full", "process", "process"]))
        tasks = [asyncio.create_task(self.write(store, f"{name}.{n}", rng)) for n in range(WRITERS)]
        tasks += [asyncio.create_task(self.read(store, rng)) for _ in range(READERS)]
        tasks += [asyncio.create_task(self.take_turns(store, rng))]
        life = min(rng.uniform(0.05, 1.5), max(0.0, self.until - time.time()))
        finished, _ = await asyncio.wait(tasks, timeout=life, return_when=asyncio.FIRST_EXCEPTION)
        for task in finished:
            task.result()  # the others are cancelled as the loop ends, in whatever they wait for

    async def timed(self, what: str, operation):
        begun = time.monotonic()
        result = await operation
        self.longest[what] = max(self.longest[what], time.monotonic() - begun)
        self.figures[what] += 1
        return result

    async def write(self, store: FileStore, name: str, rng: random.Random) -> None:
        for number in itertools.count():
            key = rng.choice(KEYS)
            if rng.random() < 0.05:
                await self.timed("rewrites", store.rewrite(key, lambda history: history.with_facts(name=name)))
                continue
            await self.timed("appends", store.append(key, batch(name, number, rng.randint(1, 5))))
            self.done[key.session_id, name].append(number)

    async def read(self, store: FileStore, rng: random.Random) -> None:
        newest: Counter[SessionKey] = Counter()
        while True:
            key = rng.choice(KEYS)
            if rng.random() < 0.2:
                entries = await self.timed("whole reads", store.entries(key))
                check_whole(entries)
                assert len(entries) >= newest[key], "what was read before is gone"
                newest[key] = len(entries)
            else:
                info = await self.timed("totals read", store.load(key))
                assert info is not None
                assert info.seq == info.context.items >= newest[key]
                newest[key] = info.seq
            found = read_back(await self.timed("newest read", store.entries(key, limit=7)))
            assert found[-1][2] == found[-1][3] - 1, "the newest batch is not whole"
            await asyncio.sleep(0.002)

    async def take_turns(self, store: FileStore, rng: random.Random) -> None:
        while True:
            await self.take_turn(store, rng.choice(KEYS), "turns")
            await asyncio.sleep(0.005)

    async def take_turn(self, store: FileStore, key: SessionKey, what: str) -> None:
        async with contextlib.AsyncExitStack() as turn:
            await self.timed(what, turn.enter_async_context(store.turn_lock(key, timeout=None)))
            inside = Path(self.root) / f"inside-{key.session_id}"
            inside.touch(exist_ok=False)  # two in one turn: FileExistsError
            try:
                await asyncio.sleep(0.001)
            finally:
                inside.unlink()

    # --- those who are never stopped ---

    def patient_thread(self) -> None:
        try:
            asyncio.run(self.patient_loop())
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}"[:500])

    async def patient_loop(self) -> None:
        """Wait for each kind of operation on each session, to the end of every wait."""
        store = FileStore(self.root, durability="process")
        tasks = {
            asyncio.create_task(self.wait_patiently(store, what, key)): f"{what} {key.session_id}"
            for what in PATIENT
            for key in KEYS
        }
        _, waiting = await asyncio.wait(tasks, timeout=max(0.0, self.until - time.time()) + STARVED)
        for task in tasks.keys() - waiting:
            task.result()
        if waiting:
            self.failures.append(f"never served: {sorted(tasks[task] for task in waiting)}")

    async def wait_patiently(self, store: FileStore, what: str, key: SessionKey) -> None:
        name = f"{self.name}.patient.{what}"
        for number in itertools.count():
            if what == "append":
                await self.timed("patient appends", store.append(key, batch(name, number, 2)))
                self.done[key.session_id, name].append(number)
            elif what == "rewrite":
                await self.timed("patient rewrites", store.rewrite(key, lambda history: history.with_facts(name=name)))
            elif what == "read":
                check_whole(await self.timed("patient reads", store.entries(key)))
            else:
                await self.take_turn(store, key, "patient turns")
            if time.time() >= self.until:
                return
            self.served[f"{what} {key.session_id}"] += 1
            await asyncio.sleep(PATIENT[what])


def work(root: str, name: str, pipe) -> None:
    pipe.send("up")
    pipe.send(Worker(root, name, pipe.recv()).run())


def test_every_batch_of_many_processes_threads_and_loops_is_there_once_and_whole(tmp_path):
    root = tmp_path / "sessions"
    store = FileStore(root)
    for key in KEYS:
        first = batch("first", 0, 1)
        asyncio.run(store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id), first))
    spawn = multiprocessing.get_context("spawn")
    workers = []
    for number in range(PROCESSES):
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=work, args=(str(root), str(number), theirs), daemon=True)
        process.start()
        workers.append((process, ours))
    for _, pipe in workers:
        assert pipe.poll(60), "it does not come up"
        pipe.recv()
    until = time.time() + SECONDS
    for _, pipe in workers:
        pipe.send(until)
    reports = []
    for process, pipe in workers:
        assert pipe.poll(SECONDS + 60), "a deadlock"
        reports.append(pipe.recv())
        process.join(60)
        assert process.exitcode == 0
    account(store, reports)


def account(store: FileStore, reports: list[dict]) -> None:
    assert [report["failures"] for report in reports] == [[]] * PROCESSES
    done = {(session, writer): set(numbers) for report in reports for session, writer, numbers in report["done"]}
    beyond = 0
    for key in KEYS:
        entries = asyncio.run(store.entries(key))
        found = check_whole(entries)
        for (session, writer), numbers in done.items():
            if session == key.session_id:
                assert numbers <= set(found.get(writer, [])), f"acknowledged batches of {writer} are lost"
        # A writer whose loop was stopped may have stored one batch that it never heard of, and no more.
        more = {writer: set(found[writer]) - done.get((key.session_id, writer), set()) for writer in found}
        assert all(len(numbers) <= 1 for numbers in more.values())
        beyond += sum(map(len, more.values()))
        info = asyncio.run(store.load(key))
        assert info.context == fold(ContextStats(), entries)
        assert [entry["seq"] for entry in json.loads(store.path(key).read_bytes())["history"]] == [
            entry["seq"] for entry in entries
        ]
        assert sorted(os.listdir(store.path(key).parent)) == sorted(f"{key.session_id}.json" for key in KEYS)
    figures = sum((Counter(report["figures"]) for report in reports), Counter())
    print()
    for name, count in sorted(figures.items()):
        longest = max(report["longest"].get(name, 0.0) for report in reports)
        print(f"{count:8} {name}" + (f", the longest took {longest:.3f} s" if longest else ""))
        assert longest < STARVED, f"{name}: starved"
    print(f"{beyond:8} batches stored whose writer was stopped before it heard")
    assert all(report["figures"]["appends"] > 0 for report in reports)
    # Beside the busy, and not only after them.
    assert [name for report in reports for name, times in report["served"].items() if times == 0] == []


# --- fork ------------------------------------------------------------------------------------------------------

FORKING = """
    import asyncio, os, sys, threading, time
    from agents import Agent, RunConfig
    from agents.testing import ModelStep, ScriptedModel, assistant_message
    from agents_sessions.manager import SessionManager

    async def slow(call):
        if os.getpid() == parent:
            inside.set()
            await asyncio.to_thread(go_on.wait)
        return [assistant_message("answer")]

    def agent(info):
        return Agent(name="support", model=ScriptedModel([ModelStep.respond(slow)]))

    def child():
        # A fork takes over neither the loop nor the threads of its parent: it begins its own.
        asyncio.events._set_running_loop(None)
        async def work():
            from agents_sessions.errors import SessionBusyError
            try:
                await manager.send_message("busy", "child", lock_timeout=0.05)
            except SessionBusyError as error:
                print("busy: held by", "parent" if str(parent) in error.holder else error.holder, flush=True)
            print("free:", (await manager.send_message("free", "child", lock_timeout=20)).text, flush=True)
            print("read:", len(await manager.get_history("busy")) > 0, flush=True)
        asyncio.run(asyncio.wait_for(work(), 30))

    def writer():
        async def write():
            session = await manager.session("other")
            while not go_on.is_set():
                await session.add_items([{"role": "user", "content": "x"}])
        asyncio.run(write())

    async def main():
        for name in ("busy", "free", "other"):
            await manager.create_session("support", session_id=name)
        threads = [threading.Thread(target=writer) for _ in range(3)]
        for thread in threads:
            thread.start()
        turn = asyncio.create_task(manager.send_message("busy", "parent"))
        await asyncio.to_thread(inside.wait)
        for _ in range(5):  # each at another moment of the writers
            await asyncio.sleep(0.01)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    child()
                    code = 0
                finally:
                    os._exit(code)
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            assert status == 0, status
        go_on.set()
        print("turn:", (await turn).text, flush=True)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        for name in ("busy", "free", "other"):
            print(name, (await manager.get_session(name)).context.turns, flush=True)

    parent = os.getpid()
    inside, go_on = threading.Event(), threading.Event()
    quiet = RunConfig(tracing_disabled=True)
    manager = SessionManager(sys.argv[1], agents=agent, run_config=quiet)
    asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_inside_a_turn_beside_writers_can_work_and_holds_nothing(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), str(tmp_path / "sessions")]
    forking = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert forking.returncode == 0, forking.stderr[-3000:]
    of_child = ["busy: held by parent", "free: answer", "read: True"]
    assert forking.stdout.splitlines() == [*of_child * 5, "turn: answer", "busy 1", "free 5", "other 0"]
    folder = tmp_path / "sessions" / "support"
    assert sorted(os.listdir(folder)) == ["busy.json", "free.json", "other.json"]


def test_those_who_wait_are_served_though_the_loops_of_others_stop(tmp_path):
    """Loops that end while their tasks hold a turn or wait for one, in threads, beside one that waits its turn."""
    store = FileStore(tmp_path / "sessions", durability="process")
    key = KEYS[0]
    asyncio.run(store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id)))
    served = []

    async def hold_and_stop(pause: float) -> None:
        async def turn() -> None:
            async with store.turn_lock(key):
                await store.append(key, [item_entry({"x": 1}), item_entry({"x": 2})])
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(turn()) for _ in range(3)]
        await asyncio.wait(tasks, timeout=pause)

    async def wait_for_turns(number: int) -> None:
        for _ in range(3):
            async with store.turn_lock(key, timeout=60):
                served.append(number)

    stopping = [threading.Thread(target=lambda n=n: asyncio.run(hold_and_stop(n / 100))) for n in range(12)]
    waiting = [threading.Thread(target=lambda n=n: asyncio.run(wait_for_turns(n))) for n in range(4)]
    for thread in itertools.chain.from_iterable(itertools.zip_longest(stopping, waiting)):
        if thread is not None:
            thread.start()
    for thread in [*stopping, *waiting]:
        thread.join(120)
        assert not thread.is_alive(), "a deadlock"
    assert Counter(served) == dict.fromkeys(range(4), 3)
    assert len(asyncio.run(store.entries(key))) % 2 == 0
    assert len(process.turn_takers) == len(process.writers) == 0


@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited")  # the SDK's own, cut at its begin
def test_a_turn_whose_loop_ends_is_counted_once(tmp_path):
    """As on Ctrl-C: the loop cancels every task it knows, whatever that was waiting for."""
    # Loaded here, because every worker of the test above loads this module.
    from agents import Agent, RunConfig, function_tool
    from agents.testing import ModelStep, ScriptedModel, function_call
    from agents.usage import Usage

    from agents_sessions.manager import SessionManager

    @function_tool
    def look() -> str:
        return "seen"

    usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
    quiet = RunConfig(tracing_disabled=True)
    spent = 0
    for step in range(40):
        answered: list[int] = []
        tasks: list[asyncio.Task] = []

        async def answer(_call, answered=answered):
            answered.append(1)
            return [function_call("look", "{}", call_id=f"c{len(answered)}")]

        model = ScriptedModel([ModelStep.respond(answer) for _ in range(9)], default_usage=usage)
        agents = [Agent(name="support", model=model, tools=[look])]
        manager = SessionManager(FileStore(tmp_path / "sessions"), agents=agents, run_config=quiet)

        async def begin(manager=manager, name=str(step), pause=step / 1500, tasks=tasks):
            await manager.create_session("support", session_id=name)
            tasks.append(asyncio.create_task(manager.send_message(name, "hello")))
            await asyncio.sleep(pause)

        asyncio.run(begin())
        info = asyncio.run(manager.get_session(str(step)))
        entries = asyncio.run(manager.store.entries(info.key))
        assert info.context == fold(ContextStats(), entries)
        assert info.context.requests == len(answered), f"step {step}: {len(answered)} requests were spent"
        rows = [row for entry in entries if "record" in entry for row in entry["record"].get("requests", [])]
        assert sum(row["requests"] for row in rows) == len(answered)
        assert info.context.open_turn is None
        spent += len(answered)
    assert spent, "no turn had begun when its loop ended"
