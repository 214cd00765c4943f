"""What it costs to work with a long history: fork it, go back in it, mark a point, and go on for 500 turns."""

from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from agents import Agent, RunConfig
from agents.testing import ModelStep, ScriptedModel, assistant_message
from agents.usage import Usage

from agents_sessions import Compaction, FileStore, SessionInfo, SessionManager
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, item_entry
from benchmarks.contenders import OURS
from benchmarks.conversation import turns
from benchmarks.measure import Arm, figure, interleave
from benchmarks.report import Row

_ENTRIES = 10_000
_KEY = SessionKey("support", "long")
_FORK = "fork of it"
_APPEND = "one append"
_FIRST = "first half"


async def long_histories(folder: Path, rounds: int) -> list[Row]:
    """Ten thousand entries: a fork, an undo and a rewind; a checkpoint beside an append."""
    store = FileStore(folder)
    manager = SessionManager(store)
    await store.create(SessionInfo(id=_KEY.session_id, agent_id=_KEY.agent_id), _entries())
    names = count()

    async def fork() -> str:
        return (await manager.branches.fork(_KEY.session_id, new_id=f"fork-{next(names)}")).id

    undone = [await fork() for _ in range(rounds + 3)]
    rewound = [await fork() for _ in range(rounds + 3)]
    some = turns()
    arms = {
        "fork": Arm(fork),
        "undo": Arm(lambda: manager.undo(undone.pop())),
        "rewind": Arm(lambda: manager.rewind(rewound.pop(), seq=_ENTRIES // 2)),
        "save": Arm(lambda: manager.checkpoints.save(_KEY.session_id, {"step": 1})),
        "latest": Arm(lambda: manager.checkpoints.latest(_KEY.session_id)),
        "append": Arm(lambda: store.append(_KEY, [item_entry(cast("Item", next(some)[0]))])),
    }
    await interleave(list(arms.values()), rounds)
    taken = {name: figure(arm.seconds) for name, arm in arms.items()}
    beside_fork, beside_append = {_FORK: taken["fork"]}, {_APPEND: taken["append"]}
    return [
        Row(f"fork of {_ENTRIES:,} entries", "ms", {OURS.name: taken["fork"]}, bound=0.06),
        Row("undo there", "ms", {OURS.name: taken["undo"], **beside_fork}, goal=2.0, against=_FORK),
        Row("rewind there by half", "ms", {OURS.name: taken["rewind"], **beside_fork}, goal=2.0, against=_FORK),
        Row("checkpoint: save", "ms", {OURS.name: taken["save"], **beside_append}, goal=2.0, against=_APPEND),
        Row("checkpoint: latest", "ms", {OURS.name: taken["latest"], **beside_append}, goal=2.0, against=_APPEND),
    ]


async def long_conversation(folder: Path, length: int) -> list[Row]:
    """Hundreds of turns with automatic compaction: the model's input stays bounded, and so does the time of a turn."""
    inputs: list[int] = []

    async def answer(call: Any) -> Any:
        inputs.append(len(call.input))
        return [assistant_message("Your order was shipped on Monday and should arrive within three working days.")]

    model = ScriptedModel([ModelStep.respond(answer) for _ in range(length + 20)])
    model.set_default_usage(Usage(requests=1, input_tokens=120, output_tokens=20, total_tokens=140))
    manager = SessionManager(
        folder,
        agents=[Agent(name="support", model=model)],
        run_config=RunConfig(tracing_disabled=True),
        compaction=Compaction(at_tokens=150, keep_turns=4, summariser=_sum_up),
    )
    await manager.create_session("support", session_id="talk")
    seconds = []
    for number in range(length + 20):
        begun = perf_counter()
        await manager.send_message("talk", f"Where is my order, number {number}? " + "It is urgent. " * 20)
        seconds.append(perf_counter() - begun)
    seconds, inputs = seconds[20:], inputs[20:]
    half = length // 2
    halves = {OURS.name: figure(seconds[half:]), _FIRST: figure(seconds[:half])}
    return [
        Row(f"a turn in the second half of {length}, compacted", "ms", halves, goal=1.15, against=_FIRST),
        Row("the model's input there, most items", "items", {OURS.name: figure([float(max(inputs))])}, bound=30),
    ]


def _entries() -> list[Entry]:
    some, entries = turns(), list[Entry]()
    while len(entries) < _ENTRIES:
        entries += [item_entry(cast("Item", item)) for item in next(some)]
    return entries[:_ENTRIES]


def _sum_up(items: list[Item]) -> str:
    return f"{len(items)} items about an order."
