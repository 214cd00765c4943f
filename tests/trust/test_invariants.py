"""Random conversations through every door of the manager, and what must be true of them at any moment.

Nothing here says what a turn stores: tests/turns do. These are properties, and they hold whatever happened before.

`TRUST_STEPS` makes it longer, and `TRUST_SEED` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from agents import Agent, AgentsException, RunConfig, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from seeds import SEED

from agents_sessions.concurrency import process
from agents_sessions.errors import SessionError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.history import typed
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

STEPS = int(os.environ.get("TRUST_STEPS", "150"))
KEYS = [SessionKey("support", "one"), SessionKey("billing", "two")]
CALLS, OUTPUTS = "function_call", "function_call_output"


class GoneError(Exception):
    """The service does not answer."""


class Play:
    """One store, one manager, and some sessions that anything may happen to."""

    def __init__(self, store, seed):
        self.store = store
        self.rng = random.Random(seed)
        self.calls = 0
        self.shown: list[list] = []
        """The inputs that models were shown in the present step."""
        self.numbers = {key: {} for key in KEYS}
        """Every item that was ever seen under a number."""
        self.newest = dict.fromkeys(KEYS, 0)
        self.popped: set[SessionKey] = set()
        """Sessions from which a person took items: a call of theirs may have lost its output."""
        self.figures: Counter[str] = Counter()
        self.manager = SessionManager(store, agents=self.agents(), run_config=RunConfig(tracing_disabled=True))

    # --- the agents, whose models do as they like ---

    def agents(self):
        @function_tool
        async def look() -> str:
            return "seen"

        @function_tool(needs_approval=True)
        async def pay() -> str:
            return "paid"

        support, billing = (Agent(name=name, model=self.model(), tools=[look, pay]) for name in ("support", "billing"))
        support.handoffs, billing.handoffs = [billing], [support]
        return [support, billing]

    def model(self):
        model = ScriptedModel([ModelStep.respond(self.answer) for _ in range(STEPS * 12)])
        model.set_default_usage(Usage(requests=1, input_tokens=3, output_tokens=2, total_tokens=5))
        return model

    async def answer(self, call):
        self.shown.append([dict(item) for item in call.input])
        kind = self.rng.choices(["say", "look", "pay", "hand", "fail"], [6, 3, 2, 1, 1])[0]
        self.calls += 1
        if kind == "fail":
            raise GoneError
        if kind == "say":
            return [assistant_message(f"answer {self.calls}")]
        names = list(call.handoffs) if kind == "hand" else [kind]
        name = names[0].tool_name if kind == "hand" else names[0]
        return [function_call(name, "{}", call_id=f"c{self.calls}")]

    # --- what may happen ---

    async def send(self, key):
        pending = self.rng.choice(["error", "reject", "give_up"])
        failure = self.rng.choice(["keep", "rollback"])
        text = f"message {self.rng.random()}"
        reply = await self.manager.send_message(
            key.session_id, text, on_pending=pending, on_failure=failure, start=self.rng.choice(["last", "entry"])
        )
        stored = await self.store.entries(key)
        assert text in [entry["item"].get("content") for entry in stored if "item" in entry], "a message is not there"
        mine = [entry["seq"] for entry in stored if entry.get("turn") == reply.turn_id]
        assert [entry.seq for entry in reply.entries] == mine[len(mine) - len(reply.entries) :]
        assert [entry.at for entry in reply.entries] == [typed(e).at for e in stored if e["seq"] in mine][-len(mine) :][
            -len(reply.entries) :
        ]

    async def stream(self, key):
        stream = self.manager.stream_message(key.session_id, "streamed", on_pending="reject")
        until = self.rng.choice([0, 1, 5, 1000])
        async for _ in stream.stream_events():
            until -= 1
            if until <= 0:
                stream.cancel(self.rng.choice(["immediate", "after_turn"]))
        await stream.reply()

    async def resume(self, key):
        approve = self.rng.random() < 0.5
        await self.manager.resume(key.session_id, approve=approve, reject=not approve)

    async def cancel(self, key):
        task = asyncio.create_task(self.manager.send_message(key.session_id, "cancelled", on_pending="reject"))
        for _ in range(self.rng.randint(0, 60)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def retry(self, key):
        await self.manager.retry(key.session_id)

    async def give_up(self, key):
        await self.manager.give_up(key.session_id)

    async def pop(self, key):
        self.popped.add(key)
        await self.manager.session(key.session_id).pop_item()

    async def add(self, key):
        await self.manager.session(key.session_id).add_items([{"role": "user", "content": "beside"}])

    async def rename(self, key):
        await self.manager.update_session(key.session_id, name=f"name {self.rng.random()}")

    async def clear(self, key):
        await self.manager.clear_session(key.session_id)

    async def begin_anew(self, key):
        await self.manager.delete_session(key.session_id)
        await self.begin(key)

    async def begin(self, key):
        self.numbers[key], self.newest[key] = {}, 0
        self.popped.discard(key)
        await self.manager.create_session(key.agent_id, session_id=key.session_id, history_limit=12)

    async def step(self):
        key = self.rng.choice(KEYS)
        acts = {"send": 8, "stream": 4, "resume": 6, "cancel": 3, "retry": 3, "give_up": 1, "pop": 1, "add": 1,
                "rename": 1, "clear": 1, "begin_anew": 1}  # fmt: skip
        name = self.rng.choices(list(acts), list(acts.values()))[0]
        self.shown.clear()
        try:
            await getattr(self, name)(key)
            self.figures[name] += 1
        except (SessionError, AgentsException, GoneError) as error:
            self.figures[f"{name}: {type(error).__name__}"] += 1
        for one in KEYS:
            await self.check(one)

    # --- what is true at any moment ---

    async def check(self, key):
        info = await self.store.load(key)
        entries = await self.store.entries(key)
        assert info.context == fold(ContextStats(), entries), "the totals are not the fold over the entries"
        assert info.context.open_turn is None, "a turn is open that no one runs"
        assert await self.store.items(key) == [entry["item"] for entry in entries if "item" in entry]
        self.check_numbers(key, info, entries)
        if key not in self.popped:
            self.check_calls(info, entries)
        history = await SessionManager(self.store).get_history(key.session_id, agent_id=key.agent_id)
        assert [entry.seq for entry in history] == [entry["seq"] for entry in entries]
        for shown in self.shown:
            self.check_shown(shown)
        in_use = process.open_resources()
        assert not any(in_use[name] for name in ("writers", "turn_takers", "locked_files", "open_turns")), in_use

    def check_numbers(self, key, info, entries):
        numbers = [entry["seq"] for entry in entries]
        assert numbers == sorted(set(numbers)), "numbers do not grow"
        assert info.seq >= max([self.newest[key], *numbers]), "a number that was given is free again"
        self.newest[key] = info.seq
        for entry in entries:
            if "item" in entry:
                known = self.numbers[key].setdefault(entry["seq"], entry["item"])
                assert known == entry["item"], "a number was given twice"

    def check_calls(self, info, entries):
        items = [entry["item"] for entry in entries if "item" in entry]
        called = [item["call_id"] for item in items if item.get("type") == CALLS]
        answered = [item["call_id"] for item in items if item.get("type") == OUTPUTS]
        assert set(answered) <= set(called), "an output has no call"
        assert len(answered) == len(set(answered)), "a call has two outputs"
        if info.context.last_status != "awaiting_approval":
            assert set(called) == set(answered), "a call has no output, and no turn awaits approval"

    def check_shown(self, shown):
        """A service refuses a call without its output, and an output without its call."""
        called = {item["call_id"] for item in shown if item.get("type") == CALLS}
        answered = {item["call_id"] for item in shown if item.get("type") == OUTPUTS}
        assert called == answered, "a model was shown half of a call"


def in_memory(_folder):
    return MemoryStore()


def in_files(folder):
    return FileStore(folder, durability="process")


@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [in_memory, in_files])
def test_what_must_be_true_of_a_conversation_is_true_after_anything(tmp_path: Path, make, seed):
    async def run():
        play = Play(make(tmp_path), f"{SEED}.{seed}")
        for key in KEYS:
            await play.begin(key)
        for _ in range(STEPS):
            await play.step()
        assert play.figures["send"] > STEPS // 50
        assert sum(play.figures.values()) == STEPS
        return play.figures

    print(f"TRUST_SEED={SEED}", asyncio.run(run()))
