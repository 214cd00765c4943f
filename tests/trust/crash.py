"""A process that works on sessions until it is killed, and a model of what it has acknowledged.

Run as a script, it is the nursery: it imports everything once and forks a child for each round. The child says
what it is about to do, does it, and says that it is done. It dies by SIGKILL, at a random moment from outside or at
its n-th system call. Whatever it was told as done must then be there, and what was not must be there whole or not
at all.

To add an operation, write its effect on the model as a function and add one line to `OPERATIONS`.
"""

import asyncio
import fcntl
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agents_sessions.context import ContextStats, fold
from agents_sessions.entries import Entry, item_entry, item_kind
from agents_sessions.info import SessionInfo, SessionKey
from agents_sessions.session import StoredSession
from agents_sessions.stores import file_atomic, file_engine, file_io, file_locks
from agents_sessions.stores.file_store import FileStore

KEYS = [SessionKey("support", "one"), SessionKey("support", "two"), SessionKey("sales", "three")]
LONGEST = 120
"""Entries from which a session is rather cut than made longer, so that a round costs the same for ever."""


# --- the model -------------------------------------------------------------------------------------------------


class State(NamedTuple):
    """What one session holds. A word is one entry; those of a managed turn begin with a tilde."""

    words: tuple[str, ...] = ()
    name: str | None = None
    metadata: str | None = None
    sidecar: str | None = None

    def plus(self, *words: str) -> "State":
        return self._replace(words=(*self.words, *words))

    @property
    def turn_is_open(self) -> bool:
        of_turns = [word for word in self.words if word[0] == "~"]
        return bool(of_turns) and not of_turns[-1].startswith("~run")


Stages = list[State | None]
"""What a session holds before an operation, after each of its writes, and in the end."""


def word(entry: Entry) -> str:
    mark = "~" if "run" in entry else ""
    if "record" in entry:
        record = entry["record"]
        return f"{mark}run:{record['status']}" if record["type"] == "run" else mark + record["type"]
    item = entry["item"]
    if item_kind(item) in ("function_call", "function_call_output"):
        return f"{mark}{item['type']}:{item['call_id']}"
    content = item["content"]
    return mark + str(content if isinstance(content, str) else content[0]["text"])


def unplaced(entry: Entry) -> dict[str, Any]:
    """Return an entry without its place in a batch, which a repair takes from it."""
    return {name: value for name, value in entry.items() if name not in ("k", "n", "crc")}


def batch(tag: str, sizes: list[int]) -> list[str]:
    return [f"{tag}.{place} " + "äx\n"[place % 3] * size for place, size in enumerate(sizes)]


def appended(state: State, tag: str, sizes: list[int]) -> Stages:
    return [state, state.plus(*batch(tag, sizes))]


def popped(state: State) -> Stages:
    is_item = [w.lstrip("~").split(":")[0] not in ("usage", "run") for w in state.words]
    if not any(is_item):
        return [state, state]
    place = max(place for place, it_is in enumerate(is_item) if it_is)
    return [state, state._replace(words=state.words[:place] + state.words[place + 1 :])]


def cut(state: State, begin: int, end: int) -> Stages:
    return [state, state._replace(words=state.words[begin:end])]


def sent(state: State, tag: str, calls: int) -> Stages:
    stages = [state]
    if state.turn_is_open:
        stages.append(stages[-1].plus("~run:interrupted"))
    stages.append(stages[-1].plus(f"~{tag}"))
    for call in range(calls):
        call_id = f"{tag}.{call}"
        stages.append(stages[-1].plus(f"~function_call:{call_id}", f"~function_call_output:{call_id}", "~usage"))
    return [*stages, stages[-1].plus(f"~{tag}!", "~usage", "~run:completed")]


# --- the operations --------------------------------------------------------------------------------------------


class World:
    """What the child works with."""

    def __init__(self, store: FileStore) -> None:
        from agents import Agent, RunConfig, function_tool
        from agents.testing import ScriptedModel, assistant_message, function_call

        from agents_sessions.manager import SessionManager

        @function_tool
        def look() -> str:
            return "seen"

        def agent(tag: str, calls: int) -> Agent[Any]:
            steps = [[function_call("look", "{}", call_id=f"{tag}.{call}")] for call in range(calls)]
            return Agent(name="any", model=ScriptedModel([*steps, [assistant_message(f"{tag}!")]]), tools=[look])

        self.store = store
        self.next_turn = ("", 0)
        quiet = RunConfig(tracing_disabled=True)
        self.manager = SessionManager(store, agents=lambda _info: agent(*self.next_turn), run_config=quiet)

    async def create(self, key: SessionKey, tag: str, sizes: list[int]) -> None:
        info = SessionInfo(id=key.session_id, agent_id=key.agent_id)
        await self.store.create(info, [item_entry({"role": "user", "content": text}) for text in batch(tag, sizes)])

    async def append(self, key: SessionKey, tag: str, sizes: list[int]) -> None:
        await StoredSession(self.store, key).add_items(
            [{"role": "user", "content": text} for text in batch(tag, sizes)]
        )

    async def pop(self, key: SessionKey) -> None:
        await StoredSession(self.store, key).pop_item()

    async def clear(self, key: SessionKey) -> None:
        await self.manager.clear_session(key.session_id)

    async def rename(self, key: SessionKey, name: str) -> None:
        await self.manager.update_session(key.session_id, name=name)

    async def describe(self, key: SessionKey, text: str) -> None:
        await self.manager.update_session(key.session_id, metadata={"text": text})

    async def cut(self, key: SessionKey, begin: int, end: int) -> None:
        await self.store.rewrite(key, lambda history: history.with_entries(history.entries[begin:end]))

    async def save(self, key: SessionKey, text: str) -> None:
        await StoredSession(self.store, key).save_state_json({"text": text})

    async def forget(self, key: SessionKey) -> None:
        await StoredSession(self.store, key).save_state_json(None)

    async def send(self, key: SessionKey, tag: str, calls: int) -> None:
        self.next_turn = (tag, calls)
        await self.manager.send_message(key.session_id, tag, start="entry")

    async def delete(self, key: SessionKey) -> None:
        await self.manager.delete_session(key.session_id)


class Operation(NamedTuple):
    weight: int
    draw: Callable[[random.Random, str, int], tuple[Any, ...]]
    """Its arguments: from chance, a tag that is never used again, and the number of entries."""
    act: Callable[..., Any]
    stages: Callable[..., Stages]


def draw_batch(rng: random.Random, tag: str, _length: int) -> tuple[Any, ...]:
    longest = rng.choice([3, 40, 400, 6000])
    return tag, [rng.randrange(longest) for _ in range(rng.choice([1, 1, 2, 3, rng.randint(1, 20)]))]


def draw_cut(rng: random.Random, _tag: str, length: int) -> tuple[Any, ...]:
    begin = rng.choice([0, 0, rng.randint(0, length)])
    return begin, rng.randint(begin, length)


OPERATIONS = {
    "append": Operation(10, draw_batch, World.append, appended),
    "send": Operation(3, lambda rng, tag, _: (tag, rng.choice([0, 0, 1, 2])), World.send, sent),
    "pop": Operation(3, lambda *_: (), World.pop, popped),
    "rename": Operation(2, lambda _, tag, __: (tag,), World.rename, lambda s, name: [s, s._replace(name=name)]),
    "metadata": Operation(2, lambda _, t, __: (t,), World.describe, lambda s, text: [s, s._replace(metadata=text)]),
    "cut": Operation(1, draw_cut, World.cut, cut),
    "clear": Operation(1, lambda *_: (), World.clear, lambda s: [s, s._replace(words=())]),
    "save": Operation(2, lambda _, tag, __: (tag,), World.save, lambda s, text: [s, s._replace(sidecar=text)]),
    "forget": Operation(1, lambda *_: (), World.forget, lambda s: [s, s._replace(sidecar=None)]),
    "delete": Operation(1, lambda *_: (), World.delete, lambda s: [s, None]),
}
SHORTEN = ["cut", "clear", "delete"]
CREATE = Operation(0, draw_batch, World.create, lambda _, tag, sizes: [None, State().plus(*batch(tag, sizes))])


def operation(name: str) -> Operation:
    return CREATE if name == "create" else OPERATIONS[name]


# --- the child -------------------------------------------------------------------------------------------------


class Round(NamedTuple):
    """One child and its death."""

    root: str
    durability: str
    seed: str
    at_call: int | None = None
    """The system call at which it dies, or None if it is killed from outside ..."""
    after: float = 0.0
    """... so many seconds after it has begun."""
    writes_only: bool = False
    """Whether `at_call` counts only the calls that write bytes, in whose middle it dies then."""


def say(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


async def work(round_: Round) -> None:
    rng = random.Random(round_.seed)
    store = FileStore(round_.root, durability=round_.durability)  # type: ignore[arg-type]
    world = World(store)
    say(ready=True)
    for number in range(10_000):
        key = rng.choice(KEYS)
        info = await store.load(key)
        length = 0 if info is None else len(await store.entries(key))
        if info is None:
            name = "create"
        elif length > LONGEST:
            name = rng.choice(SHORTEN)
        else:
            name = rng.choices(list(OPERATIONS), [operation.weight for operation in OPERATIONS.values()])[0]
        arguments = operation(name).draw(rng, f"{round_.seed}.{number}", length)
        say(begun=name, key=KEYS.index(key), arguments=arguments)
        await operation(name).act(world, key, *arguments)
        say(done=number)


class Mine:
    """Stands before a module in those that use it, and lets the process die at one of its calls."""

    left = 0
    writes_only = False
    watched = frozenset(
        {"open", "close", "pwrite", "preadv", "fdatasync", "fsync", "ftruncate", "fchmod", "stat", "listdir"}
        | {"link", "unlink", "replace", "mkdir", "flock", "rmtree"}
    )

    def __init__(self, module: Any, rng: random.Random) -> None:
        self._module, self._rng = module, rng

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._module, name)
        return self._mined(name, real) if name in self.watched else real

    def _mined(self, name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            Mine.left -= name == "pwrite" or not Mine.writes_only
            if Mine.left > 0:
                return real(*args, **kwargs)
            if name == "pwrite" and (Mine.writes_only or self._rng.random() < 0.6):
                fd, data, offset = args
                real(fd, data[: self._rng.randrange(len(data) + 1)], offset)
            elif self._rng.random() < 0.5:
                real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
            return time.sleep(60)

        return call


def child(round_: Round) -> None:
    signal.alarm(60)  # one that hangs dies of something else than SIGKILL
    if round_.at_call is not None:
        rng = random.Random(round_.seed + "mine")
        Mine.left, Mine.writes_only = round_.at_call, round_.writes_only
        for user in (file_io, file_locks, file_atomic):
            for module in (os, fcntl, shutil):
                if hasattr(user, module.__name__):
                    setattr(user, module.__name__, Mine(module, rng))
    asyncio.run(work(round_))


# --- the nursery -----------------------------------------------------------------------------------------------


async def warm_up() -> None:
    """Load and build before the first fork what every child would load and build for itself."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(FileStore(folder))
        await world.create(KEYS[0], "warm", [])
        await world.send(KEYS[0], "up", 1)


def serve() -> None:
    """For each line of input, a `Round`, fork a child, see it dead, and say so."""
    logging.getLogger("agents_sessions").setLevel(logging.CRITICAL)
    asyncio.run(warm_up())
    say(warm=True)
    for line in sys.stdin:
        round_ = Round(*json.loads(line))
        pid = os.fork()
        if pid == 0:
            try:
                child(round_)
            finally:
                traceback.print_exc()
                os._exit(1)
        if round_.at_call is None:
            time.sleep(round_.after)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        say(dead=os.waitstatus_to_exitcode(status))


class Nursery:
    """The parent's end of the nursery."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._line() == {"warm": True}

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def play(self, round_: Round) -> Iterator[dict[str, Any]]:
        """Let a child live, and yield all that it said before it died."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(round_).encode() + b"\n")
        self._process.stdin.flush()
        while "dead" not in (line := self._line()):
            yield line
        assert line["dead"] == -signal.SIGKILL, f"the child failed by itself: {line}"

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(60)


# --- the parent ------------------------------------------------------------------------------------------------


@dataclass
class Known:
    """What the parent knows of one session."""

    stages: Stages = field(default_factory=lambda: [None])
    """What it may hold: one state if all operations on it were acknowledged."""
    numbers: dict[int, str] = field(default_factory=dict)
    """Every number that was ever seen, and the word that had it."""


@dataclass
class Watch:
    """Plays rounds in one folder, and checks what each leaves."""

    root: Path
    seed: str
    figures: Counter[str] = field(default_factory=Counter)
    repaired: set[str] = field(default_factory=set)
    """Names of the copies that repairs have kept."""
    left_by_deletions: set[str] = field(default_factory=set)
    """Names of what belonged to sessions that are gone."""
    known: dict[SessionKey, Known] = field(default_factory=lambda: {key: Known() for key in KEYS})

    def __post_init__(self) -> None:
        self.store = FileStore(self.root, durability="process")
        self._rng = random.Random(self.seed)

    async def play(self, nursery: Nursery, round_: Round) -> None:
        begun: tuple[str, SessionKey] | None = None
        for line in nursery.play(round_):
            if "begun" in line:
                key = KEYS[line["key"]]
                known = self.known[key]
                assert len(known.stages) == 1
                known.stages = operation(line["begun"]).stages(known.stages[0], *line["arguments"])
                begun = (line["begun"], key)
            elif "done" in line and begun is not None:
                name, key = begun
                begun = None
                self.known[key].stages = self.known[key].stages[-1:]
                if name == "delete":
                    self.known[key].numbers = {}
                self.figures["acknowledged operations"] += 1
        self.figures["kills"] += 1
        if begun is not None:
            self.figures[f"killed in {begun[0]}"] += 1
        await self._check_all()

    async def _check_all(self) -> None:
        for key, known in self.known.items():
            found = await self._found(key, known)
            assert found in known.stages, _difference(key, found, known.stages)
            if len(known.stages) > 1:
                which = "not at all" if found == known.stages[0] else "whole"
                which = which if found in (known.stages[0], known.stages[-1]) else "as some of its writes"
                self.figures[f"unacknowledged operation there {which}"] += 1
            known.stages = [found]
            if self.store.path(key).parent.exists():  # else no session of this agent was ever begun
                async with self.store.turn_lock(key, timeout=0):
                    pass
        self.figures["temporaries swept"] += await self._sweep()
        self._check_names()

    async def _found(self, key: SessionKey, known: Known) -> State | None:
        """Read a session as a user would."""
        info = await self.store.load(key)
        if info is None:
            known.numbers = {}
            return None
        entries = await self.store.entries(key)
        assert info.context == fold(ContextStats(), entries)
        self._check_numbers(key, known, info, entries)
        if self._rng.random() < 0.6:  # else the next child meets what this one has left
            await self._repair(key, info, entries)
        saved = await StoredSession(self.store, key).load_state_json()
        return State(
            tuple(word(entry) for entry in entries),
            info.name,
            info.metadata.get("text"),
            None if saved is None else saved["text"],
        )

    async def _repair(self, key: SessionKey, info: SessionInfo, entries: list[Entry]) -> None:
        """Write nothing, which brings the file into shape, and read it bare."""
        await self.store.append(key, [])
        again = await self.store.load(key)
        assert again is not None
        assert again.updated_at >= info.updated_at
        assert again.model_copy(update={"updated_at": info.updated_at}) == info
        assert [unplaced(entry) for entry in await self.store.entries(key)] == [unplaced(entry) for entry in entries]
        bare = json.loads(self.store.path(key).read_bytes())
        assert [word(entry) for entry in bare["history"]] == [word(entry) for entry in entries]
        assert bare["context"] == info.context.to_json()

    def _check_numbers(self, key: SessionKey, known: Known, info: SessionInfo, entries: list[Entry]) -> None:
        numbers = [entry["seq"] for entry in entries]
        assert numbers == sorted(set(numbers)), f"{key}: numbers out of order: {numbers}"
        newest = max(known.numbers, default=0)
        assert info.seq >= max([newest, *numbers])
        for entry in entries:
            seen = known.numbers.setdefault(entry["seq"], word(entry))
            assert seen == word(entry), f"{key}: the number {entry['seq']} was given twice"

    async def _sweep(self) -> int:
        """Let everything be ten minutes old, and open the folders as a new process would."""
        before = self._temporaries()
        for left in before:
            os.utime(left, (0, 0))
        file_engine._swept.clear()
        for key in [info.key async for info in self.store.scan()]:
            if await self.store.list_sidecars(key):
                await self.store.write_sidecar(key, "opened", b"")
                await self.store.delete_sidecar(key, "opened")
        left_over = [path.name for path in self._temporaries()]
        assert left_over == [], f"not swept: {left_over}"
        return len(before)

    def _temporaries(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.name.endswith(".tmp")]

    def _check_names(self) -> None:
        """Nothing lies in the folders but sessions that exist and what belongs to them."""
        for key, known in self.known.items():
            for path in self.store.path(key).parent.glob(f"*{key.session_id}*"):
                if known.stages == [None]:  # a deletion that was killed: the session is gone, this was its own
                    self.left_by_deletions.add(path.name)
                if path.name == f"{key.session_id}.json":
                    assert known.stages != [None]
                elif path.name == key.session_id:
                    assert {item.name for item in path.iterdir()} <= {"state.json"}
                else:
                    assert path.name.startswith(f"{key.session_id}.json.torn-"), f"{path.name} was left behind"
                    self.repaired.add(path.name)


def _difference(key: SessionKey, found: State | None, stages: Stages) -> str:
    def short(state: State | None) -> Any:
        return state and state._replace(words=tuple(w[:24].strip() for w in state.words[-25:]))

    return f"{key} holds\n{short(found)}\nbut should hold one of\n" + "\n".join(str(short(stage)) for stage in stages)


def rounds(root: Path, seed: str, count: int) -> Iterator[Round]:
    """Return so many rounds, half of them killed at a moment, half at a system call, a fifth synced."""
    rng = random.Random(seed)
    for number in range(count):
        durability = "full" if rng.random() < 0.2 else "process"
        death = rng.choice(["moment", "moment", "call", "write"])
        at_call = {"moment": None, "call": rng.randint(1, 400), "write": rng.randint(1, 25)}[death]
        after = rng.uniform(0.005, 0.045)
        yield Round(str(root), durability, f"{seed}.{number}", at_call, after, death == "write")


if __name__ == "__main__":
    serve()
