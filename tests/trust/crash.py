"""A process that works on sessions until it is killed, and a model of what it has acknowledged.

Run as a script, it is the nursery: it imports everything once and forks a child for each round. The child says
what it is about to do, does it, and says that it is done. It dies by SIGKILL, at a random moment from outside or at
its n-th system call. Whatever it was told as done must then be there, and what was not must be there whole or not
at all.

To add an operation, add one entry to `OPERATIONS`: how often it comes, how its arguments are drawn, how it is done and
what it does to the model. Each is an expression, or the name of a function if it takes more.
"""

import asyncio
import fcntl
import json
import logging
import os
import random
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

from system_calls import CALLS, LIBRARY, LOWEST

from agents_sessions.concurrency import process
from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.features.archive.archive import Archive
from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.model.entries import Entry, item_entry, item_kind
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.model.view import ABOUT_THE_HISTORY
from agents_sessions.session import StoredSession
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.store import FileStore

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
        return bool(of_turns) and not of_turns[-1].startswith("~turn")

    @property
    def waits_for_approval(self) -> bool:
        return [word for word in self.words if word[0] == "~"][-1:] == ["~turn:awaiting_approval"]

    @property
    def unanswered(self) -> list[str]:
        """The calls of the newest turn that have no output."""
        ends = ("~turn:completed", "~turn:failed", "~turn:interrupted")
        newest = max((place for place, word in enumerate(self.words) if word in ends), default=-1)
        parts = [word.partition(":") for word in self.words[newest + 1 :]]
        answered = [call for kind, _, call in parts if kind == "~function_call_output"]
        return [call for kind, _, call in parts if kind == "~function_call" and call not in answered]

    @property
    def last_call(self) -> str:
        return next(word for word in reversed(self.words) if word.startswith("~function_call:")).partition(":")[2]


Stages = list[State | None]
"""What a session holds before an operation, after each of its writes, and in the end."""


def word(entry: Entry) -> str:
    mark = "~" if "turn" in entry else ""
    if "record" in entry:
        record = entry["record"]
        return f"{mark}turn:{record['status']}" if record["type"] == "turn" else mark + record["type"]
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
    is_item = [
        w.lstrip("~").split(":")[0] not in ("usage", "decision", "turn", *ABOUT_THE_HISTORY) for w in state.words
    ]
    if not any(is_item):
        return [state, state]
    place = max(place for place, it_is in enumerate(is_item) if it_is)
    return [state, state._replace(words=state.words[:place] + state.words[place + 1 :])]


def cut(state: State, begin: int, end: int) -> Stages:
    return [state, state._replace(words=state.words[begin:end])]


class Turn(NamedTuple):
    """A turn: what it says, how many tools it calls before, and whether it answers, waits for approval or fails."""

    tag: str
    calls: int
    end: str
    streamed: bool


def ran(stages: Stages, turn: Turn) -> Stages:
    """Return the stages of a turn from its first model request on, behind those of its beginning."""
    tag, calls, end, _ = turn
    for call in range(calls):
        used = [f"~function_call:{tag}.{call}", f"~function_call_output:{tag}.{call}", "~usage"]
        stages = [*stages, stages[-1].plus(*used)]
    if end == "fails":
        return [*stages, stages[-1].plus("~turn:failed")]
    if end == "pauses":
        asked = stages[-1].plus(f"~function_call:{tag}.pay", "~usage")
        return [*stages, asked, asked.plus("~turn:awaiting_approval")]
    return [*stages, stages[-1].plus(f"~{tag}!", "~usage", "~turn:completed")]


def begun(state: State) -> Stages:
    if not state.turn_is_open:
        return [state]
    lost = [f"~function_call_output:{call}" for call in state.unanswered]
    return [state, state.plus(*lost, "~turn:interrupted")]


def sent(state: State, *turn: Any) -> Stages:
    stages = begun(state)
    return ran([*stages, stages[-1].plus(f"~{turn[0]}")], Turn(*turn))


def retried(state: State, *turn: Any) -> Stages:
    return ran(begun(state), Turn(*turn))


def resumed(state: State, _approve: bool, *turn: Any) -> Stages:
    decided = state.plus("~decision")
    return ran([state, decided, decided.plus(f"~function_call_output:{state.last_call}")], Turn(*turn))


# --- the operations --------------------------------------------------------------------------------------------


class Broken(Exception):
    """What a model raises."""


class World:
    """What the child works with."""

    def __init__(self, store: FileStore) -> None:
        from agents import RunConfig

        from agents_sessions.manager import SessionManager

        self.store = store
        self.turn = Turn("", 0, "answers", False)
        quiet = RunConfig(tracing_disabled=True)
        self.manager = SessionManager(store, agents=lambda _info: self._agent(), run_config=quiet)

    def _agent(self) -> Any:
        from agents import Agent, function_tool
        from agents.testing import ScriptedModel, assistant_message, function_call

        look = function_tool(lambda: "seen", name_override="look")
        pay = function_tool(lambda: "paid", name_override="pay", needs_approval=True)
        tag, calls, end, _ = self.turn
        steps: list[Any] = [[function_call("look", "{}", call_id=f"{tag}.{call}")] for call in range(calls)]
        ends = {"answers": [assistant_message(f"{tag}!")], "pauses": [function_call("pay", "{}", call_id=f"{tag}.pay")]}
        return Agent(name="any", model=ScriptedModel([*steps, ends.get(end, Broken())]), tools=[look, pay])

    def session(self, key: SessionKey) -> StoredSession:
        return StoredSession(self.store, key)

    async def run(self, how: str, session_id: str, turn: tuple[Any, ...], *args: Any, **options: Any) -> None:
        """Run a turn by the method of the manager that is called `how`, or by the one that streams."""
        self.turn = Turn(*turn)
        try:
            if self.turn.streamed:
                await getattr(self.manager, f"stream_{how}")(session_id, *args, **options).reply()
            else:
                await getattr(self.manager, {"message": "send_message"}.get(how, how))(session_id, *args, **options)
        except Broken:
            assert self.turn.end == "fails"


class Operation(NamedTuple):
    weight: int
    draw: Callable[[random.Random, str, int], tuple[Any, ...]]
    """Its arguments: from chance, a tag that is never used again, and the number of entries."""
    act: Callable[..., Any]
    stages: Callable[..., Stages]
    possible: Callable[[State], bool] = lambda _: True


ELSEWHERE = "elsewhere"
"""The agent that sessions are moved to and back from."""


def draw_nothing(*_: object) -> tuple[Any, ...]:
    return ()


def draw_tag(_rng: random.Random, tag: str, _length: int) -> tuple[Any, ...]:
    return (tag,)


def draw_batch(rng: random.Random, tag: str, _length: int) -> tuple[Any, ...]:
    longest = rng.choice([3, 40, 400, 6000])
    return tag, [rng.randrange(longest) for _ in range(rng.choice([1, 1, 2, 3, rng.randint(1, 20)]))]


def draw_cut(rng: random.Random, _tag: str, length: int) -> tuple[Any, ...]:
    begin = rng.choice([0, 0, rng.randint(0, length)])
    return begin, rng.randint(begin, length)


def draw_turn(rng: random.Random, tag: str, _length: int) -> tuple[Any, ...]:
    end = rng.choice(["answers", "answers", "pauses", "fails"])
    return Turn(tag, rng.choice([0, 0, 1, 2]), end, rng.random() < 0.5)


def items_of(tag: str, sizes: list[int]) -> list[Any]:
    return [{"role": "user", "content": text} for text in batch(tag, sizes)]


def create(w: World, key: SessionKey, tag: str, sizes: list[int]) -> Any:
    info = SessionInfo(id=key.session_id, agent_id=key.agent_id)
    return w.store.create(info, [item_entry(item) for item in items_of(tag, sizes)])


def cleared(state: State) -> Stages:
    """What awaits approval goes with the history, and so does the state that was saved beside it."""
    empty = state._replace(words=())
    return [state, empty, empty._replace(sidecar=None)]


async def hide(w: World, key: SessionKey) -> None:
    """Set a session aside and bring it back. Who dies in between leaves it to the parent to bring back."""
    await w.store.bring_back((await w.store.set_aside(key, "crash")).token)


async def put_away(w: World, key: SessionKey) -> None:
    """Archive a session and restore it. Who dies in between leaves it to the parent to restore."""
    await w.manager.archive.archive(key.session_id)
    await w.manager.archive.restore(key.session_id)


async def throw_away(w: World, key: SessionKey) -> None:
    """Put a session into the trash and have it back."""
    await w.manager.trash.put(key, lock_timeout=None)
    await w.manager.trash.restore(key.session_id)


async def purge(w: World, key: SessionKey) -> None:
    await w.manager.trash.put(key, lock_timeout=None)
    await w.manager.trash.purge(key.session_id)


async def carry(w: World, key: SessionKey) -> None:
    """Export a session and let it take its own place. Who dies in between leaves the old one aside."""
    text = await w.manager.transfer.export(key.session_id, "jsonl", include_run_state=True)
    await w.manager.transfer.import_session(text, on_conflict="replace")


async def move(w: World, key: SessionKey) -> None:
    """Give a session to another agent and back. Who dies in between leaves it to the parent to give it back."""
    await w.store.move((await w.store.move(key, ELSEWHERE)).key, key.agent_id)


async def give_back(store: FileStore) -> int:
    """Give back the sessions that the child has left with another agent, and return how many."""
    infos = [info async for info in store.scan(ELSEWHERE)]
    for info in infos:
        key = await SessionLookup(store).key(info.id)  # where a session is with both, it says whose it is
        if key.agent_id == ELSEWHERE:
            await store.move(key, (info.model_extra or {})["moved_from"]["agent_id"])
    return len(infos)


def at_rest(state: State) -> bool:
    return not state.waits_for_approval


def never_waited(state: State) -> bool:
    """Tell whether no cut can make an approval the newest end of a turn again, whose state is gone, or split a view."""
    return "~turn:awaiting_approval" not in state.words and "view" not in state.words


def is_seen_whole(state: State) -> bool:
    """Tell whether nothing is taken back: every view has a second one that brings all back."""
    return state.words.count("view") % 2 == 0


def can_be_undone(state: State) -> bool:
    said = any(word not in ABOUT_THE_HISTORY for word in state.words)
    return said and is_seen_whole(state) and at_rest(state) and not state.turn_is_open


def undone(state: State) -> Stages:
    """What was taken back is brought back. What awaited approval without a manager goes with the first of the two."""
    hidden = state.plus("view")
    forgotten = hidden._replace(sidecar=None)
    return [state, hidden, forgotten, forgotten.plus("view")]


async def undo(w: World, key: SessionKey) -> None:
    await w.manager.undo(key.session_id)
    await w.manager.redo(key.session_id)


def has_message_to_answer(state: State) -> bool:
    """Tell whether a message stands behind the last turn that was completed: a pop or a cut may have taken it."""
    completed = max((place for place, word in enumerate(state.words) if word == "~turn:completed"), default=-1)
    return any(map(is_message, state.words[completed + 1 :]))


def is_message(word: str) -> bool:
    kind = word.lstrip("~").split(":")[0]
    others = ("usage", "decision", "turn", "function_call", "function_call_output", *ABOUT_THE_HISTORY)
    return kind not in others and not word.endswith("!")


def has_failed(state: State) -> bool:
    if not is_seen_whole(state) or not has_message_to_answer(state):
        return False
    ends = [word for word in state.words if word.startswith("~turn:")]
    return state.turn_is_open or ends[-1:] in (["~turn:failed"], ["~turn:interrupted"])


OPERATIONS = {
    "append": Operation(8, draw_batch, lambda w, key, *drawn: w.session(key).add_items(items_of(*drawn)), appended),
    "send": Operation(
        4,
        draw_turn,
        lambda w, key, *turn: w.run("message", key.session_id, turn, turn[0], start="entry"),
        sent,
        at_rest,
    ),
    "retry": Operation(
        3, draw_turn, lambda w, key, *turn: w.run("retry", key.session_id, turn, start="entry"), retried, has_failed
    ),
    "resume": Operation(
        6,
        lambda rng, *drawn: (rng.random() < 0.5, *draw_turn(rng, *drawn)),
        lambda w, key, yes, *turn: w.run("resume", key.session_id, turn, approve=yes, reject=not yes),
        resumed,
        lambda state: state.waits_for_approval,
    ),
    "pop": Operation(
        3,
        draw_nothing,
        lambda w, key: w.session(key).pop_item(),
        popped,
        lambda state: at_rest(state) and is_seen_whole(state),
    ),
    "undo": Operation(3, draw_nothing, undo, undone, can_be_undone),
    "mark": Operation(
        2,
        draw_tag,
        lambda w, key, tag: w.manager.checkpoints.save(key.session_id, {"tag": tag}),
        lambda s, _tag: [s, s.plus("checkpoint")],
    ),
    "rename": Operation(
        2,
        draw_tag,
        lambda w, key, name: w.manager.update_session(key.session_id, name=name),
        lambda s, name: [s, s._replace(name=name)],
    ),
    "metadata": Operation(
        2,
        draw_tag,
        lambda w, key, text: w.manager.update_session(key.session_id, metadata={"text": text}),
        lambda s, text: [s, s._replace(metadata=text)],
    ),
    "merge": Operation(
        2,
        draw_tag,
        lambda w, key, text: w.manager.update_session_metadata(key.session_id, {"text": text}),
        lambda s, text: [s, s._replace(metadata=text)],
    ),
    "cut": Operation(
        2,
        draw_cut,
        lambda w, key, begin, end: w.store.rewrite(key, lambda h: h.with_entries(h.entries[begin:end])),
        cut,
        never_waited,
    ),
    "clear": Operation(1, draw_nothing, lambda w, key: w.manager.clear_session(key.session_id), cleared),
    "save": Operation(
        4,
        draw_tag,
        lambda w, key, text: w.session(key).save_state_json({"text": text}),
        lambda s, text: [s, s._replace(sidecar=text)],
    ),
    "forget": Operation(
        1, draw_nothing, lambda w, key: w.session(key).save_state_json(None), lambda s: [s, s._replace(sidecar=None)]
    ),
    "search": Operation(
        2, draw_tag, lambda w, key, text: w.store.search(SearchQuery(text=text, kinds=("name",))), lambda s, _: [s, s]
    ),
    "hide": Operation(2, draw_nothing, hide, lambda s: [s, s]),
    "archive": Operation(2, draw_nothing, put_away, lambda s: [s, s]),
    "trash": Operation(1, draw_nothing, throw_away, lambda s: [s, s]),
    "purge": Operation(1, draw_nothing, purge, lambda _: [_, None]),
    "refresh": Operation(1, draw_nothing, lambda w, key: w.manager.refresh_session(key.session_id), lambda s: [s, s]),
    "carry": Operation(2, draw_nothing, carry, lambda s: [s, s]),
    "move": Operation(2, draw_nothing, move, lambda s: [s, s]),
    "delete": Operation(3, draw_nothing, lambda w, key: w.manager.delete_session(key.session_id), lambda _: [_, None]),
}
SHORTEN = ["clear", "delete"]
CREATE = Operation(0, draw_batch, create, lambda _, tag, sizes: [None, State().plus(*batch(tag, sizes))])


def operation(name: str) -> Operation:
    return CREATE if name == "create" else OPERATIONS[name]


def next_operation(rng: random.Random, state: State | None) -> str:
    if state is None:
        return "create"
    if len(state.words) > LONGEST:
        return rng.choice(SHORTEN)
    possible = {name: operation.weight for name, operation in OPERATIONS.items() if operation.possible(state)}
    return rng.choices(list(possible), list(possible.values()))[0]


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
    counted: str = "all"
    """Which calls `at_call` counts: all, those that write bytes, in whose middle it dies then, or that change names."""


def say(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


async def work(round_: Round) -> None:
    rng = random.Random(round_.seed)
    store = FileStore(round_.root, durability=round_.durability)  # type: ignore[arg-type]
    world = World(store)
    say(ready=True)
    for number in range(10_000):
        key = rng.choice(KEYS)
        there = await store.load(key)
        state = None if there is None else State(tuple(word(entry) for entry in await store.entries(key)))
        name = next_operation(rng, state)
        arguments = operation(name).draw(rng, f"{round_.seed}.{number}", 0 if state is None else len(state.words))
        say(begun=name, key=KEYS.index(key), arguments=arguments)
        await operation(name).act(world, key, *arguments)
        say(done=number)


COUNTED = {
    "all": frozenset(CALLS),
    "writes": frozenset({"pwrite"}),
    "names": frozenset({"link", "unlink", "rename", "replace", "mkdir", "rmdir"}),
}


class Mine:
    """Stands before a module in those that use it, and lets the process die at one of its calls."""

    left = 0
    counted = "all"

    def __init__(self, module: Any, rng: random.Random) -> None:
        self._module, self._rng = module, rng

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._module, name)
        return self._mined(name, real) if name in CALLS else real

    def _mined(self, name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            Mine.left -= name in COUNTED[Mine.counted]
            if Mine.left > 0:
                return real(*args, **kwargs)
            if name == "pwrite" and (Mine.counted == "writes" or self._rng.random() < 0.6):
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
        Mine.left, Mine.counted = round_.at_call, round_.counted
        for user in (*LOWEST, *LIBRARY):
            for module in (os, fcntl):
                if hasattr(user, module.__name__):
                    setattr(user, module.__name__, Mine(module, rng))
    asyncio.run(work(round_))


# --- the nursery -----------------------------------------------------------------------------------------------


async def warm_up() -> None:
    """Load and build before the first fork what every child would load and build for itself."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(FileStore(folder))
        await create(world, KEYS[0], "warm", [])
        for streamed in (False, True):
            await OPERATIONS["send"].act(world, KEYS[0], f"up {streamed}", 1, "pauses", streamed)
            await OPERATIONS["resume"].act(world, KEYS[0], True, f"on {streamed}", 0, "fails", streamed)


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
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
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
    known: dict[SessionKey, Known] = field(default_factory=lambda: {key: Known() for key in KEYS})

    def __post_init__(self) -> None:
        self.store = FileStore(self.root, durability="process")
        self.archive = Archive(self.store, SessionLookup(self.store))
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
                if name in ("delete", "purge"):
                    self.known[key].numbers = {}
                self.figures["acknowledged operations"] += 1
        self.figures["kills"] += 1
        if begun is not None:
            self.figures[f"killed in {begun[0]}"] += 1
            if begun[0] == "purge":  # a copy that a repair kept goes last; diagnostics finds one that is left
                await self.store.clear_copies(begun[1])
        try:
            await self._check_all()
        except AssertionError as error:
            raise AssertionError(f"killed in {begun}: {error}") from error

    async def _check_all(self) -> None:
        for aside in await self.store.list_aside():
            try:
                await self.store.bring_back(aside.token)
                self.figures["sessions brought back"] += 1
            except SessionExistsError:  # what replaced it was whole
                await self.store.discard(aside.token)
        for archived in await self.archive.list():
            self.figures["sessions restored"] += 1
            await self.archive.restore(archived.session_id)
        self.figures["sessions given back"] += await give_back(self.store)
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
        await self._check_catalog()
        self.figures["temporaries swept"] += await self._sweep()
        await self._check_names()

    async def _check_catalog(self) -> None:
        """Whatever a child was doing to the catalog, it says what the files do."""
        query, search = SessionQuery(sort="id"), SearchQuery(text="x", limit=1000)
        found = [_timeless(info) for info in await self.store.query(query)]
        scanned = [_timeless(info) for info in await SessionStore.query(self.store, query)]
        assert found == scanned, f"{found} is not {scanned}"
        hits = [(hit.key, hit.seq, hit.snippet) for hit in await self.store.search(search)]
        scanned = await SessionStore.search(self.store, search)
        assert hits == [(hit.key, hit.seq, hit.snippet) for hit in scanned]
        self.figures["hits of a search"] += len(hits)

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
        names = await self.store.list_sidecars(key)
        assert set(names) <= {"state.json", "run_state.json"}
        waits = info.context.last_status == "awaiting_approval" and info.context.open_turn is None
        assert not waits or "run_state.json" in names, f"{key} awaits approval without its run state: {names}"
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
        process.swept_folders.clear()
        await self.archive.check()
        for key in [info.key async for info in self.store.scan()]:
            if self.store.path(key).with_suffix("").exists():
                await self.store.write_sidecar(key, "opened", b"")
                await self.store.delete_sidecar(key, "opened")
        left_over = [path.name for path in self._temporaries()]
        assert left_over == [], f"not swept: {left_over}"
        return len(before)

    def _temporaries(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.name.endswith(".tmp")]

    async def _check_names(self) -> None:
        """Nothing lies in the folders but sessions that exist, what belongs to them, and the sidecars of the dead."""
        for key, known in self.known.items():
            left = self._names_of(key)
            if known.stages == [None]:
                # The copies go before the session; its folder is put out of the way after it.
                assert left <= {key.session_id}, f"{left} was left by a deletion"
                if left:
                    await self._clear_what_is_left(key)
                continue
            copies = {name for name in left if name.startswith(f"{key.session_id}.json.torn-")}
            assert left - copies <= {f"{key.session_id}.json", key.session_id}, f"{left} was left behind"
            self.repaired |= copies

    def _names_of(self, key: SessionKey) -> set[str]:
        names = {path.name for path in self.store.path(key).parent.glob(f"*{key.session_id}*")}
        # One that died while it was brought back has both its names for a while: the next look takes one of them away.
        return {name for name in names if not name.endswith(".aside")}

    async def _clear_what_is_left(self, key: SessionKey) -> None:
        """Delete again, or make a session of that name: neither sees or leaves what the dead deletion left."""
        how = self._rng.choice(["by deleting again", "by the next session", "by a later child"])
        self.figures[f"folders left by killed deletions, cleared {how}"] += 1
        if how == "by deleting again":
            try:
                await self.store.delete(key)
            except SessionNotFoundError:
                assert self._names_of(key) == set()
            else:
                raise AssertionError("a session was deleted that is not there")
        elif how == "by the next session":
            await self.store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id))
            assert self._names_of(key) == {f"{key.session_id}.json"}
            self.known[key].stages = [State()]


def _timeless(info: SessionInfo) -> dict[str, Any]:
    """Return a session without the time of its last change: a torn tail may not tell it."""
    return info.model_dump(exclude={"updated_at", "last_active_at"})


def _difference(key: SessionKey, found: State | None, stages: Stages) -> str:
    def short(state: State | None) -> Any:
        return state and state._replace(words=tuple(w[:24].strip() for w in state.words[-25:]))

    return f"{key} holds\n{short(found)}\nbut should hold one of\n" + "\n".join(str(short(stage)) for stage in stages)


def rounds(root: Path, seed: str, count: int) -> Iterator[Round]:
    """Return so many rounds, two of five killed at a moment, the others at a system call, and a fifth synced."""
    rng = random.Random(seed)
    for number in range(count):
        durability = "full" if rng.random() < 0.2 else "process"
        counted, longest = rng.choice([("", 0), ("", 0), ("all", 600), ("writes", 25), ("names", 25)])
        at_call = rng.randint(1, longest) if counted else None
        after = rng.uniform(0.005, 0.045)
        yield Round(str(root), durability, f"{seed}.{number}", at_call, after, counted)


if __name__ == "__main__":
    serve()
