"""Random operations through every door of the package, and the same ones on a plain dict of lists.

The doors are the store, the SDK's session, the manager with its turns, a new process, and a person with an editor.
What comes in through one of them is what the others find: the same entries under the same numbers, totals that are
the fold over them, the same facts. What must be refused is refused, and changes nothing.

`TRUST_EXAMPLES` makes it longer, and random.
"""

import asyncio
import copy
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from agents import Agent, MaxTurnsExceeded, RunConfig, Runner, UserError, function_tool
from agents.memory import SessionSettings
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from agents_sessions.errors import (
    ApprovalPendingError,
    InvalidDecisionError,
    InvalidItemError,
    NothingToResumeError,
    NothingToRetryError,
    SessionAmbiguousError,
    SessionClosedError,
    SessionConflictError,
    SessionExistsError,
    SessionNotFoundError,
    SessionPausedError,
    SessionReentryError,
    TurnCancelledError,
    UnknownAgentError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry, item_kind, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.session import FileSession, StoredSession
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.past import MAY_HAVE_RUN, NOT_RUN

EXAMPLES = os.environ.get("TRUST_EXAMPLES")
KEYS = [SessionKey("support", "one"), SessionKey("support", "two"), SessionKey("billing", "one")]
OTHER = {"support": "billing", "billing": "support"}
NO_FACTS = {
    **dict.fromkeys(["user_id", "name", "mode", "max_turns", "history_limit"]),
    "metadata": {},
    "status": "active",
    "session_type": "user",
}
QUIET = RunConfig(tracing_disabled=True)
STATE = "run_state.json"
REJECTED = "Tool execution was not approved."
LOST = (NOT_RUN, MAY_HAVE_RUN)
TO_RETRY = ("failed", "cancelled", "interrupted")
INACTIVE = {"paused": SessionPausedError, "closed": SessionClosedError}
LONG_AGO = datetime.min.replace(tzinfo=UTC)
CANCELLED = (asyncio.CancelledError, TurnCancelledError)

Word = tuple[Any, ...]
"""What an entry says, without what only the SDK or the clock can know."""


# --- the model -------------------------------------------------------------------------------------------------


class Paused(NamedTuple):
    """A turn that waits for approval."""

    run: str
    root: str
    speaker: str
    calls: tuple[str, ...]
    limit: int
    used: int


@dataclass
class Kept:
    """What one session holds: a list of entries, and little else."""

    facts: dict[str, Any]
    entries: list[Any] = field(default_factory=list)
    seq: int = 0
    updated_at: datetime = LONG_AGO
    sidecars: dict[str, bytes | None] = field(default_factory=dict)
    """None stands for the state of a turn, whose bytes are the SDK's."""
    paused: Paused | None = None
    """What the state of a turn says. It counts only while the history ends with a turn that waits."""

    @property
    def items(self) -> list[Any]:
        return [entry["item"] for entry in self.entries if "item" in entry]

    @property
    def tally(self) -> dict[str, Any]:
        """Totals, counted in another way than the package does."""
        records = [entry["record"] for entry in self.entries if "record" in entry]
        turns = [record for record in records if record["type"] == "turn"]
        rows = [row for record in records if record["type"] == "usage" for row in record["requests"]]
        kinds = [item_kind(item) for item in self.items]
        end = max((place for place, entry in enumerate(self.entries) if word(entry)[0] == "turn"), default=-1)
        return {
            "items": len(kinds),
            "user_messages": kinds.count("user"),
            "assistant_messages": kinds.count("assistant"),
            "function_calls": kinds.count("function_call"),
            "function_call_outputs": kinds.count("function_call_output"),
            "handoffs": sum(record["type"] == "handoff" for record in records),
            "turns": sum(run["status"] != "awaiting_approval" for run in turns),
            "failed_turns": sum(run["status"] == "failed" for run in turns),
            "requests": sum(row["requests"] for row in rows),
            "total_tokens": sum(row["total_tokens"] for row in rows),
            "last_status": turns[-1]["status"] if turns else None,
            "last_agent": next(filter(None, map(speaker_of, reversed(records))), None),
            "open_turn": next((entry["turn"] for entry in reversed(self.entries[end + 1 :]) if "turn" in entry), None),
        }

    @property
    def status(self) -> str | None:
        """How the newest turn ended, as the next one finds it."""
        tally = self.tally
        return "interrupted" if tally["open_turn"] else tally["last_status"]

    @property
    def unstored(self) -> list[Any]:
        """The message of the newest turn, if only the end of that turn has it."""
        ends = (entry["record"] for entry in reversed(self.entries) if word(entry)[0] == "turn")
        return next(ends, {}).get("message", [])

    @property
    def sent(self) -> list[Any]:
        """What the open turn was sent while it was paused, if no item has it."""
        mine = [entry for entry in self.entries if entry.get("turn") == self.tally["open_turn"] is not None]
        decided = [place for place, entry in enumerate(mine) if word(entry)[0] == "decision"]
        behind = mine[decided[-1] :] if decided else []
        if any("item" in entry and "agent" not in entry for entry in behind):
            return []
        return behind[0]["record"].get("message", []) if behind else []

    @property
    def interrupted(self) -> list[Word]:
        """The end that the next turn gives to one that has none: an output for each call, and the run."""
        tally = self.tally
        mine = [entry for entry in self.entries if entry.get("turn") == tally["open_turn"] is not None]
        calls, held = [], set()
        for entry, said in zip(mine, map(word, mine), strict=True):
            held |= set(entry.get("record", {}).get("asked", ()))
            if said[0] == "function_call":
                calls.append(said[2])
            elif said[0] == "function_call_output" and said[2] in calls:
                calls.remove(said[2])
            elif said[0] == "decision":
                held -= set(said[1])
        texts = {id_: NOT_RUN if id_ in held else MAY_HAVE_RUN for id_ in calls}
        outputs = [("function_call_output", tally["last_agent"], id_, text) for id_, text in texts.items()]
        message = tuple(text_of(item) for item in self.sent)
        return [*outputs, ("turn", "interrupted", 0, None, None, message)] if tally["open_turn"] is not None else []

    @property
    def pending(self) -> Paused | None:
        return self.paused if self.status == "awaiting_approval" and STATE in self.sidecars else None


def speaker_of(record: Any) -> str | None:
    if record["type"] == "usage":
        return next((row["agent"] for row in reversed(record["requests"]) if "agent" in row), None)
    return record["to"] if record["type"] == "handoff" else record.get("last_agent")


def renumber(kept: Kept, entries: list[Any]) -> None:
    """An entry keeps its number while the numbers rise; any other gets one that was never given."""
    kept.entries, last = [], 0
    for entry in entries:
        last = entry.get("seq", 0) if entry.get("seq", 0) > last else kept.seq + 1
        kept.seq = max(kept.seq, last)
        kept.entries.append({**entry, "seq": last})


def bare(entry: Any) -> Any:
    """Return an entry without its place in a batch, which a repair takes from it."""
    return {name: value for name, value in entry.items() if name not in ("k", "n", "crc")}


def text_of(item: Any) -> Any:
    content = item.get("output", item.get("content"))
    return content[0]["text"] if isinstance(content, list) else content


def word(entry: Any) -> Word:
    if "item" in entry:
        item = entry["item"]
        return item_kind(item), entry.get("agent"), item.get("call_id"), text_of(item)
    record = entry["record"]
    if record["type"] == "handoff":
        return "handoff", record["from"], record["to"]
    if record["type"] == "decision":
        return "decision", tuple(record["approved"]), tuple(record["rejected"])
    if record["type"] == "usage":
        return "usage", *((row["total_tokens"], row.get("agent"), row.get("nested")) for row in record["requests"])
    message = tuple(text_of(item) for item in record.get("message", ()))
    spent = record["usage"]["total_tokens"]
    return "turn", record["status"], spent, record.get("last_agent"), record.get("error"), message


def without_manager(words: list[Word]) -> list[Word]:
    """Return what the same turn leaves in a bare session, which knows no agents."""
    plain: list[Word] = []
    for kind, *rest in words:
        if kind == "usage":
            plain.append((kind, *((tokens, None, None) for tokens, _, _ in rest)))
        elif kind not in ("handoff", "turn"):
            plain.append((kind, None, *rest[1:]))
    return plain


def newest(values: list[Any], count: int | None) -> list[Any]:
    return values if count is None else values[len(values) - min(max(0, count), len(values)) :]


def window(items: list[Any], limit: int | None) -> list[Any]:
    """Return what the model sees of a history: the newest items from a user message on, or the newest turn whole."""
    if limit is None or len(items) <= limit:
        return items
    users = [place for place, item in enumerate(items) if item_kind(item) == "user"]
    inside = [place for place in users if place >= len(items) - limit]
    return items[(inside[:1] or users[-1:] or [0])[0] :]


def decided(calls: tuple[str, ...], approve: Any = (), reject: Any = (), **_: Any) -> dict[str, str] | None:
    """Return the outputs of calls after a decision, or None if there is no such decision."""
    approved, rejected = ([] if ids is True else list(ids) for ids in (approve, reject))
    if set(approved) & set(rejected) or not {*approved, *rejected} <= set(calls):
        return None
    rest = [id_ for id_ in calls if id_ not in approved + rejected]
    approved += rest if approve is True else []
    rejected += rest if reject is True and approve is not True else []
    return {id_: "paid" if id_ in approved else REJECTED for id_ in calls if id_ in approved + rejected}


ACCOUNTS = ("usage", "decision", "turn")
"""What a rollback leaves."""


def outlives_rollback(entry: Any) -> bool:
    return word(entry)[0] in ACCOUNTS


def spoil(value: Any) -> None:
    """Break a value that is ours, in case someone else holds on to it."""
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            spoil(part)
        value.clear()


# --- a turn ----------------------------------------------------------------------------------------------------


class Play:
    """One run: what its model says, and what it must leave in the history."""

    def __init__(self, number: Any, speaker: str, limit: int = 10, used: int = 0) -> None:
        self.number = number
        self.root = self.asked = self.speaker = speaker
        self.limit, self.used = limit, used
        self.steps: list[ModelStep] = []
        self.words: list[Word] = []
        self.begun = 0
        """How many of the words are the end of another turn, which was interrupted."""
        self.run: str | None = None
        """The paused turn that it goes on with."""
        self.was_paused = False
        self.message: list[str] = []
        self.seen: list[Any] | None = None
        """The user messages that the model is given, if that is known."""
        self.notes: list[str] = []
        """What came in through another door meanwhile."""
        self.name: str | None = None
        """What the session was renamed to meanwhile."""
        self.rows: list[Word] = []
        self.spent = 0
        self.status = "refused"
        self.error: type[BaseException] | None = None
        self.open: tuple[str, ...] = ()
        """Calls of the turn that have no output when it goes on."""
        self.waiting: tuple[str, ...] = ()
        self.text = ""

    def refuse(self, error: type[BaseException]) -> "Play":
        self.error = error
        return self

    def go(self, script: list[str]) -> "Play":
        for step in script:
            if self.status != "refused":
                break
            if self.used >= self.limit:
                self.speaker = self.asked
                self.end("failed", MaxTurnsExceeded)
            else:
                self.used += 1
                getattr(self, step)()
        return self

    def end(self, status: str, error: type[BaseException] | None = None) -> None:
        self.spend()
        self.status, self.error = status, error
        self.words.append(("turn", status, self.spent, self.speaker, error and error.__name__, ()))

    def request(self, *output: Any, nested: bool = False) -> None:
        tokens = 10 + self.number()
        usage = Usage(requests=1, input_tokens=tokens - 3, output_tokens=3, total_tokens=tokens)
        self.steps.append(ModelStep(output=output, usage=usage))
        self.rows.append((tokens, None, True) if nested else (tokens, self.speaker, None))
        self.spent += tokens
        self.asked = self.speaker

    def spend(self) -> None:
        self.words += [("usage", *self.rows)] if self.rows else []
        self.rows = []

    def call(self, *tools: str, **arguments: Any) -> list[str]:
        calls = {f"c{self.number()}": tool for tool in tools}
        self.request(*(function_call(tool, arguments, call_id=id_) for id_, tool in calls.items()))
        self.words += [("function_call", self.speaker, id_, None) for id_ in calls]
        return list(calls)

    def output(self, *ids: str, text: str) -> None:
        self.words += [("function_call_output", self.speaker, id_, text) for id_ in ids]

    def use(self, *tools: str, text: str, **arguments: Any) -> None:
        self.output(*self.call(*tools, **arguments), text=text)
        self.spend()

    # the steps

    def look(self) -> None:
        self.use("look", text="found")

    def looks(self) -> None:
        self.use("look", "look", text="found")

    def note(self) -> None:
        self.notes.append(f"n{self.number()}")
        self.words.append(("user", None, None, self.notes[-1]))
        self.use("note", text="noted", item=self.notes[-1])

    def rename(self) -> None:
        self.name = f"n{self.number()}"
        self.use("rename", text="renamed", name=self.name)

    def reenter(self) -> None:
        self.use("reenter", text="SessionReentryError")

    def consult(self) -> None:
        ids = self.call("consult", input="what?")
        self.request(assistant_message("that"), nested=True)
        self.output(*ids, text="that")
        self.spend()

    def hand_over(self) -> None:
        target = OTHER[self.speaker]
        self.output(*self.call(f"transfer_to_{target}"), text=json.dumps({"assistant": target}))
        self.words.append(("handoff", self.speaker, target))
        self.spend()
        self.speaker = target

    def pay(self) -> None:
        self.waiting = tuple(self.call("pay"))
        self.end("awaiting_approval")

    def pays(self) -> None:
        first, look, second = self.call("pay", "look", "pay")
        self.output(look, text="found")
        self.waiting = (first, second)
        self.end("awaiting_approval")

    def broken(self) -> None:
        self.call("broken")
        self.words.pop()
        self.end("failed", UserError)

    def gone(self) -> None:
        self.steps.append(ModelStep(error=ConnectionError("gone")))
        self.end("failed", ConnectionError)

    def say(self) -> None:
        self.text = f"t{self.number()}"
        self.request(assistant_message(self.text))
        self.words.append(("assistant", self.speaker, None, self.text))
        self.end("completed")


# --- what is drawn ---------------------------------------------------------------------------------------------
# All of it without a look at the model: what a cancelled turn leaves is a matter of time.

TEXT = st.text(st.characters(exclude_categories=()), max_size=8).map(lambda text: json.loads(json.dumps(text)))
PLAIN = st.text(max_size=8)
KEY = st.sampled_from(KEYS)
PICK = st.integers(0, 11)
KINDS = ["user", "user", "system", "assistant", "call", "rich", "reasoning"]
BATCH = st.lists(st.tuples(st.sampled_from(KINDS), TEXT, st.sampled_from([1, 1, 1, 300])), min_size=1, max_size=4)
OPTIONAL_FACTS = {
    "name": st.none() | PLAIN,
    "user_id": st.sampled_from([None, "u1", "u2"]),
    "mode": st.none() | PLAIN,
    "max_turns": st.sampled_from([None, None, None, 3]),
    "history_limit": st.sampled_from([None, None, 1, 4]),
    "metadata": st.dictionaries(PLAIN, st.integers() | st.lists(TEXT, max_size=2), max_size=2),
}
FACTS = st.fixed_dictionaries({}, optional=OPTIONAL_FACTS)
STATUS = st.sampled_from(["active", "active", "active", "paused", "closed"])
CHANGES = st.fixed_dictionaries({}, optional={**OPTIONAL_FACTS, "status": STATUS})
LIMIT = st.none() | st.integers(-2, 9) | st.just(2**31 - 1)
DOOR = st.sampled_from(["bare", "managed", "fresh"])
MIDDLE = ["look", "looks", "note", "rename", "reenter", "consult", "hand_over", "hand_over"]
LAST = ["say", "say", "pay", "pays", "gone", "broken"]
SCRIPT = st.builds(
    lambda middle, last: [*middle, last, "say"], st.lists(st.sampled_from(MIDDLE), max_size=3), st.sampled_from(LAST)
)
HOW = st.sampled_from(["plain", "plain", "read", "reply"])
EDITS = ["format", "name", "drop", "reword", "add", "insert", "copy"]
ON_FAILURE = st.sampled_from(["keep", "rollback"])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_turns": st.sampled_from([1, 3, 9]),
        "on_failure": ON_FAILURE,
        "start": st.sampled_from(["last", "entry"]),
    },
)
DECISION = st.sampled_from(["none", "none", "first", "last", "all", "all", "all", "unknown"])


def some(calls: tuple[str, ...], which: str) -> Any:
    return {"none": (), "first": calls[:1], "last": calls[-1:], "all": True, "unknown": ("c0",)}[which]


# --- the machine -----------------------------------------------------------------------------------------------


class Sessions(stateful.RuleBasedStateMachine):
    """Up to three sessions on one store."""

    in_files: bool

    @initialize(facts=FACTS, batch=BATCH)
    def begin(self, facts, batch):
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.memory = MemoryStore()
        self.numbers = 0
        self.kept: dict[SessionKey, Kept] = {}
        self.touched: set[SessionKey] = set()
        self.turns: set[str] = set()
        self.agents = self.make_agents()
        self.reopen()
        self.neighbour = SessionManager(self.store)
        self.create(KEYS[0], "manager", facts, batch)
        self.create(KEYS[1], "store", facts, batch)

    def teardown(self):
        if hasattr(self, "runner"):
            try:
                if not self.touched:  # else it has failed
                    self.touched = set(KEYS)
                    self.same()
                    self.run(self.check_everything())
            finally:
                self.runner.close()
                shutil.rmtree(self.root)

    def make_agents(self) -> dict[str, Agent]:
        @function_tool
        async def look() -> str:
            await asyncio.sleep(0)
            return "found"

        @function_tool
        async def note(item: str) -> str:
            await StoredSession(self.store, self.playing).add_items([{"role": "user", "content": item}])
            return "noted"

        @function_tool
        async def rename(name: str) -> str:
            await self.manager.update_session(self.playing.session_id, agent_id=self.playing.agent_id, name=name)
            return "renamed"

        @function_tool
        async def reenter() -> str:
            with pytest.raises(SessionReentryError) as caught:
                await self.manager.send_message(self.playing.session_id, "again", agent_id=self.playing.agent_id)
            return caught.typename

        @function_tool(needs_approval=True)
        def pay() -> str:
            return "paid"

        @function_tool(failure_error_function=None)
        def broken() -> str:
            raise RuntimeError("the tool broke")

        self.inner = Agent(name="inner")
        tools = [look, note, rename, reenter, pay, broken, self.inner.as_tool("consult", "Knows.")]
        agents = {name: Agent(name=name, tools=tools) for name in OTHER}
        for name, other in OTHER.items():
            agents[name].handoffs = [agents[other]]
        return agents

    def make_store(self) -> Any:
        return FileStore(self.root, durability="process") if self.in_files else self.memory

    def reopen(self):
        """All that a process holds is made anew."""
        self.store = self.make_store()
        self.manager = SessionManager(self.store, agents=list(self.agents.values()), run_config=QUIET)
        options = {"root": self.root, "durability": "process"}
        self.sessions = {
            key: FileSession(key.session_id, agent_id=key.agent_id, **options)
            if self.in_files
            else StoredSession(self.store, key)
            for key in KEYS
        }

    # --- help ---

    def run(self, operation: Any) -> Any:
        return self.runner.run(asyncio.wait_for(operation, 30))

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def session_of(self, key: SessionKey, door: str) -> StoredSession:
        if door == "managed":
            return self.manager.session(key.session_id, agent_id=key.agent_id)
        return self.sessions[key] if door == "bare" else StoredSession(self.store, key)

    def choose(self, pick: int, wanted: Any = None) -> SessionKey:
        """Return a session of the kind that is wanted, if there is one; now and then any, or one that is missing."""
        there = [key for key in KEYS if key in self.kept]
        fit = [key for key in there if wanted is None or wanted(self.kept[key])]
        keys = KEYS if pick % 6 == 5 else fit or there or KEYS
        key = keys[pick % len(keys)]
        self.touched.add(key)
        return key

    def prepare(self, pick: int, script: list[str], wanted: Any) -> SessionKey:
        """Choose a session, and make it what is wanted by a turn; now and then leave it as it is."""
        key = self.choose(pick, wanted)
        if pick % 6 != 5 and key in self.kept and not wanted(self.kept[key]):
            self.run(self.manager.update_session(key.session_id, agent_id=key.agent_id, status="active"))
            self.kept[key].facts["status"] = "active"
            self.turn(key, "send_message", "plain", script, {"on_pending": "reject"}, f"u{self.number()}")
        return key

    def items_of(self, batch: Any) -> list[Any]:
        items: list[Any] = []
        for kind, text, times in batch:
            content, id_ = text * times, f"x{self.number()}"
            if kind == "assistant":
                part = {"type": "output_text", "text": content, "annotations": []}
                items.append({"type": "message", "role": "assistant", "content": [part]})
            elif kind == "call":
                items.append({"type": "function_call", "name": "look", "arguments": "{}", "call_id": id_})
                items.append({"type": "function_call_output", "call_id": id_, "output": content})
            elif kind == "rich":
                odd = {text: [1e-9, 10**30, None, True, {"": text}]}
                items.append({"role": "user", "content": [{"type": "input_text", "text": content}], "odd": odd})
            elif kind == "reasoning":
                items.append({"type": "reasoning", "id": id_, "summary": [{"type": "summary_text", "text": content}]})
            else:
                items.append({"role": kind, "content": content})
        return items

    def items_in(self, key: SessionKey) -> list[Any]:
        return self.kept[key].items if key in self.kept else []

    def refused(self, error: type[BaseException], operation: Any) -> None:
        with pytest.raises(error) as caught:
            self.run(operation)
        assert type(caught.value) is error

    def new_entries(self, key: SessionKey) -> list[Any]:
        return [bare(entry) for entry in self.run(self.store.entries(key, after=self.kept[key].seq))]

    def grew(self, key: SessionKey, items: list[Any]) -> None:
        """Take items into the model that were stored at the end."""
        kept, new = self.kept[key], self.new_entries(key)
        expected = [{"seq": seq, "item": item} for seq, item in enumerate(items, kept.seq + 1)]
        assert [{name: value for name, value in entry.items() if name != "at"} for entry in new] == expected
        kept.entries += new
        kept.seq += len(new)

    def renumber(self, key: SessionKey, entries: list[Any]) -> None:
        """Take entries into the model that are the whole history now."""
        kept = self.kept[key]
        renumber(kept, entries)
        moments = [entry["at"] for entry in self.run(self.store.entries(key))]
        kept.entries = [{"at": at, **entry} for entry, at in zip(kept.entries, moments, strict=True)]

    @invariant()
    def same(self):
        """What was touched is what the model says."""
        for key in sorted(self.touched):
            self.run(self.check(key))
        self.touched = set()

    async def check(self, key: SessionKey) -> None:
        info = await self.store.load(key)
        if key not in self.kept:
            assert info is None
            assert await self.store.list_sidecars(key) == []
            return
        kept, tally = self.kept[key], self.kept[key].tally
        entries, items = await self.store.entries(key), await self.store.items(key)
        assert [bare(entry) for entry in entries] == kept.entries
        assert items == kept.items
        assert info is not None
        assert info.context == fold(ContextStats(), entries)
        assert {name: getattr(info.context, name) for name in tally} == tally
        assert {name: getattr(info, name) for name in kept.facts} == kept.facts
        assert (info.seq, info.updated_at >= kept.updated_at) == (kept.seq, True)
        assert await self.store.list_sidecars(key) == sorted(kept.sidecars)
        kept.updated_at = info.updated_at
        spoil([entries, items, info.metadata])
        await self.check_parts(key, kept, self.numbers % 5, self.numbers % 7)

    async def check_parts(self, key: SessionKey, kept: Kept, last: int, back: int) -> None:
        names = {"session_id": key.session_id, "agent_id": key.agent_id}
        after = max(0, kept.seq - back)
        later = [entry for entry in kept.entries if entry["seq"] > after]
        said = [entry["seq"] for entry in kept.entries if word(entry)[0] in ("user", "assistant")]
        assert await self.store.items(key, limit=last) == newest(kept.items, last)
        assert [bare(entry) for entry in await self.store.entries(key, limit=last)] == newest(kept.entries, last)
        assert [bare(entry) for entry in await self.store.entries(key, after=after)] == later
        history = await self.manager.get_history(**names, limit=last, after=after)
        assert [entry.seq for entry in history] == [entry["seq"] for entry in later[:last]]
        messages = await self.manager.get_recent_messages(**names, limit=last)
        assert [message.seq for message in messages] == newest(said, last)

    async def check_everything(self) -> None:
        """What is there is there for a stranger too, and nothing is left of what was in progress."""
        store = self.make_store()
        manager = SessionManager(store)
        assert [info.key async for info in store.scan()] == sorted(self.kept)
        for key, kept in self.kept.items():
            async with store.turn_lock(key, timeout=0):
                history = await manager.get_history(key.session_id, agent_id=key.agent_id)
            numbers = [entry.seq for entry in history]
            assert numbers == [entry["seq"] for entry in kept.entries] == sorted(set(numbers))
        assert not [path for path in self.root.rglob("*") if path.suffix in (".turn", ".tmp")]

    # --- the store, and the SDK's session ---

    @rule(key=KEY, door=st.sampled_from(["store", "manager"]), facts=FACTS, batch=BATCH)
    def create(self, key, door, facts, batch):
        self.touched.add(key)
        items, given = self.items_of(batch) if door == "store" else [], copy.deepcopy(facts)
        if door == "manager":
            taken = key.session_id in {other.session_id for other in self.kept}
            create = self.manager.create_session(key.agent_id, session_id=key.session_id, **given)
        else:
            taken = key in self.kept
            info = SessionInfo(agent_id=key.agent_id, id=key.session_id, **given)
            create = self.store.create(info, [item_entry(item) for item in items])
        if taken:
            return self.refused(SessionExistsError, create)
        made = self.run(create)
        assert (made.key, made.seq, made.context.items) == (key, len(items), len(items))
        spoil([given, made.metadata])
        self.kept[key] = Kept({**NO_FACTS, **facts})
        return self.grew(key, items)

    @rule(pick=PICK, batch=BATCH, off=st.sampled_from([None, None, 0, 0, -1, 1]))
    def append(self, pick, batch, off):
        key = self.choose(pick)
        items = self.items_of(batch)
        given = [item_entry(item) for item in copy.deepcopy(items)]
        seq = self.kept[key].seq if key in self.kept else 0
        append = self.store.append(key, given, expected_seq=None if off is None else seq + off)
        if key not in self.kept or off:
            return self.refused(SessionConflictError if key in self.kept else SessionNotFoundError, append)
        totals = self.run(append)
        spoil(given)
        self.grew(key, items)
        assert (totals.seq, totals.context.items) == (seq + len(items), len(self.kept[key].items))
        return None

    @rule(key=KEY, door=DOOR, batch=BATCH)
    def add(self, key, door, batch):
        self.touched.add(key)
        items = self.items_of(batch)
        given = copy.deepcopy(items)
        add = self.session_of(key, door).add_items(given)
        if key not in self.kept and door == "managed":
            return self.refused(SessionNotFoundError, add)
        self.run(add)
        spoil(given)
        self.kept.setdefault(key, Kept({**NO_FACTS}))
        return self.grew(key, items)

    @rule(pick=PICK, door=DOOR, times=st.integers(1, 3))
    def pop(self, pick, door, times):
        key = self.choose(pick, lambda kept: kept.items)
        if key not in self.kept and door == "managed":
            return self.refused(SessionNotFoundError, self.session_of(key, door).pop_item())
        entries = self.kept[key].entries if key in self.kept else []
        for _ in range(times):
            place = max((place for place, entry in enumerate(entries) if "item" in entry), default=None)
            popped = self.run(self.session_of(key, door).pop_item())
            assert popped == (None if place is None else entries.pop(place)["item"])
        return None

    @rule(pick=PICK, kind=st.integers(0, 7), begin=PICK, end=PICK, batch=BATCH)
    def rewrite(self, pick, kind, begin, end, batch):
        key = self.choose(pick, lambda kept: kept.entries)
        items = self.items_of(batch)
        new = [item_entry(item) for item in items]

        def reword(old: list[Any]) -> list[Any]:
            return [{**e, "item": items[0]} if place == begin and "item" in e else e for place, e in enumerate(old)]

        change = [
            lambda old: old[: max(0, len(old) - end)],
            lambda old: old[min(begin, 2) : max(0, len(old) - end // 3)],
            lambda old: old[begin:] + old[:begin],
            lambda old: [*new, *old],
            lambda old: [*old, *new],
            lambda old: [entry for entry in old if "item" not in entry or entry["seq"] % 2],
            reword,
            lambda old: [*(entry for entry in old if "record" in entry), *new],
        ][kind]
        if key not in self.kept:
            return self.refused(SessionNotFoundError, self.store.rewrite(key, lambda history: history))
        if kind == 7:  # what the SDK's compaction asks for
            assert self.run(self.sessions[key]._atomic_replace_items(items))
        else:
            histories = []
            self.run(
                self.store.rewrite(
                    key, lambda history: histories.append(history) or history.with_entries(change(history.entries))
                )
            )
            spoil([[history.entries, history.info.metadata] for history in histories])
        return self.renumber(key, copy.deepcopy(change(self.kept[key].entries)))

    @rule(pick=PICK, door=st.sampled_from(["bare", "managed", "manager.clear", "manager", "store"]))
    def empty(self, pick, door):
        """Delete a session, or clear it."""
        key = self.choose(pick, lambda kept: kept.sidecars)
        names = {"session_id": key.session_id, "agent_id": key.agent_id}
        begin = {
            "store": lambda: self.store.delete(key),
            "manager": lambda: self.manager.delete_session(**names),
            "manager.clear": lambda: self.manager.clear_session(**names),
        }.get(door, lambda: self.session_of(key, door).clear_session())
        if key not in self.kept and door != "bare":
            return self.refused(SessionNotFoundError, begin())
        self.run(self.find(key.session_id))
        self.run(begin())
        if door in ("store", "manager"):
            del self.kept[key]
            self.run(self.find(key.session_id))
        elif key in self.kept:
            self.kept[key].entries = []
            self.kept[key].sidecars.pop(STATE, None)
        return None

    @rule(pick=PICK, door=DOOR, limit=LIMIT, setting=LIMIT)
    def get(self, pick, door, limit, setting):
        key = self.choose(pick)
        names = {"session_id": key.session_id, "agent_id": key.agent_id}
        if key not in self.kept:
            self.refused(SessionNotFoundError, self.store.entries(key))
            self.refused(SessionNotFoundError, self.store.items(key))
            self.refused(SessionNotFoundError, self.manager.get_history(**names))
            self.refused(SessionNotFoundError, self.manager.get_recent_messages(**names))
            self.refused(SessionNotFoundError, self.session_of(key, "managed").get_items())
        if key in self.kept or door != "managed":
            session = self.session_of(key, door)
            session.session_settings = SessionSettings(limit=setting)
            items = self.run(session.get_items(limit))
            session.session_settings = None
            assert items == newest(self.items_in(key), setting if limit is None else limit)
            spoil(items)

    @rule(key=KEY, name=st.sampled_from(["a.txt", "notes/b", "state.json"]), data=st.none() | st.binary(max_size=9))
    def sidecar(self, key, name, data):
        self.touched.add(key)
        kept = self.kept.get(key, Kept({}))
        if data is None:
            assert self.run(self.store.delete_sidecar(key, name)) == (name in kept.sidecars)
            kept.sidecars.pop(name, None)
        elif key in self.kept:
            self.run(self.store.write_sidecar(key, name, data))
            kept.sidecars[name] = data
        else:
            self.refused(SessionNotFoundError, self.store.write_sidecar(key, name, data))
        assert self.run(self.store.read_sidecar(key, name)) == kept.sidecars.get(name)

    @rule(pick=PICK, kind=st.integers(0, 17))
    def refuse(self, pick, kind):
        key, store, manager = self.choose(pick), self.store, self.manager
        names = {"session_id": key.session_id, "agent_id": key.agent_id}
        good: Any = item_entry({"role": "user", "content": "good"})
        nan = item_entry({"x": [float("nan")]})
        both = {**good, "record": {"type": "usage", "requests": []}}
        part: Any = record_entry({"type": "usage", "requests": [{"requests": 1}]})

        def stranger(history: Any) -> Any:
            return type(history)(history.info.model_copy(update={"id": "x"}), history.entries)

        error, begin = [
            (InvalidItemError, lambda: store.append(key, [good, nan])),
            (InvalidItemError, lambda: store.append(key, [good, both])),
            (InvalidItemError, lambda: store.append(key, [good, {"item": "text"}])),
            (InvalidItemError, lambda: store.append(key, [good, part])),
            (InvalidItemError, lambda: store.rewrite(key, lambda old: old.with_entries([*old.entries, nan]))),
            (InvalidItemError, lambda: store.rewrite(key, lambda old: old.with_entries([part]))),
            (ValueError, lambda: store.rewrite(key, lambda old: old.with_facts(metadata={"x": float("inf")}))),
            (ZeroDivisionError, lambda: store.rewrite(key, lambda old: old.with_entries([1 // 0]))),
            (ValueError, lambda: store.rewrite(key, stranger)),
            (InvalidItemError, lambda: self.sessions[key].add_items([good["item"], {"x": {1}}])),
            (ValueError, lambda: manager.update_session(**names, status="odd")),
            (ValueError, lambda: manager.update_session(**names, metadata={"x": float("nan")})),
            (ValueError, lambda: manager.update_session(**names, max_turns=0)),
            (InvalidItemError, lambda: manager.send_message(content=[{"x": b""}], **names)),
            (TypeError, lambda: manager.send_message(content="x", conversation_id="x", **names)),
            (ValueError, lambda: manager.send_message(content="x", start="middle", **names)),
            (UnknownAgentError, lambda: manager.create_session("nobody")),
            (SessionNotFoundError, lambda: manager.get_session("three")),
        ][kind]
        with pytest.raises((error, SessionNotFoundError)) as caught:
            self.run(begin())
        assert isinstance(caught.value, error) or key not in self.kept

    # --- the manager ---

    @rule(pick=PICK, facts=CHANGES)
    def update(self, pick, facts):
        key = self.choose(pick, lambda kept: kept.facts["status"] in INACTIVE)
        given = copy.deepcopy(facts)
        update = self.manager.update_session(key.session_id, agent_id=key.agent_id, **given)
        if key not in self.kept:
            return self.refused(SessionNotFoundError, update)
        info = self.run(update)
        spoil([given, info.metadata])
        self.kept[key].facts.update(facts)
        if info.status in INACTIVE:
            self.turn(key, "send_message", "plain", ["say"], {}, "are you there?")
        return None

    @rule(reopens=st.booleans(), agent_id=st.sampled_from([None, *OTHER]), user_id=st.sampled_from([None, "u1"]))
    def look_around(self, reopens, agent_id, user_id):
        if reopens:
            self.reopen()
        wanted = {"agent_id": agent_id, "user_id": user_id}
        found = self.run(self.manager.list_sessions(**wanted))
        assert {info.key for info in found} == {
            key
            for key, kept in self.kept.items()
            if agent_id in (None, key.agent_id) and user_id in (None, kept.facts["user_id"])
        }
        changed = [info.updated_at for info in found]
        assert changed == sorted(changed, reverse=True)
        for limit in (-1, 0, 1):
            some = self.run(self.manager.list_sessions(**wanted, limit=limit))
            assert len(some) == min(max(0, limit), len(found))
        for session_id in ("one", "two", "three"):
            self.run(self.find(session_id))

    async def find(self, session_id: str) -> None:
        """A session is found by its id alone, unless two agents have one."""
        keys = [key for key in sorted(self.kept) if key.session_id == session_id]
        assert sorted(await self.store.find(session_id)) == keys
        if len(keys) == 1:
            assert (await self.neighbour.get_session(session_id)).key == keys[0]
            assert await (await self.neighbour.session(session_id)).get_items() == self.kept[keys[0]].items
        else:
            manager = SessionManager(self.store) if keys else self.neighbour  # that may have known one before
            with pytest.raises(SessionAmbiguousError if keys else SessionNotFoundError):
                await manager.get_session(session_id)

    # --- turns ---

    @rule(pick=PICK, script=SCRIPT, how=HOW, options=OPTIONS, batch=st.none() | BATCH, rejects=st.booleans())
    def send(self, pick, script, how, options, batch, rejects):
        key = self.choose(pick, lambda kept: kept.facts["status"] == "active")
        message: Any = f"u{self.number()}"
        if batch is not None:
            message = [item for item in self.items_of(batch) if item.get("role") in ("user", "system")]
        on_pending = {"on_pending": "reject" if rejects else "error"}
        self.turn(key, "send_message", how, script, {**options, **on_pending}, message)

    @rule(pick=PICK, script=SCRIPT, how=HOW, options=OPTIONS)
    def retry(self, pick, script, how, options):
        key = self.prepare(pick, ["look", "gone"], lambda kept: kept.status in TO_RETRY)
        self.turn(key, "retry", how, script, options)

    @rule(
        pick=PICK,
        script=SCRIPT,
        how=HOW,
        on_failure=ON_FAILURE,
        hesitates=st.booleans(),
        approve=DECISION,
        reject=DECISION,
    )
    def resume(self, pick, script, how, on_failure, hesitates, approve, reject):
        key = self.prepare(pick, ["pays"], lambda kept: kept.pending is not None)
        if hesitates:
            self.turn(key, "resume", how, script, {})
        pending = self.kept[key].pending if key in self.kept else None
        calls = () if pending is None else pending.calls
        if key in self.kept and self.kept[key].status != "interrupted":
            approvals = self.run(self.manager.pending_approvals(key.session_id, agent_id=key.agent_id))
            assert tuple(approval.call_id for approval in approvals) == calls
        decisions = {"approve": some(calls, approve), "reject": some(calls, reject)}
        self.turn(key, "resume", how, script, {**decisions, "on_failure": on_failure})

    @rule(
        pick=PICK,
        script=SCRIPT,
        verb=st.sampled_from(["send_message", "send_message", "resume", "retry"]),
        how=st.sampled_from(["task", "immediate", "after_turn"]),
        steps=st.integers(0, 60),
        on_failure=ON_FAILURE,
    )
    def cancel(self, pick, script, verb, how, steps, on_failure):
        """A turn that is cancelled after so many steps of the event loop, or so many events."""
        if verb == "resume":
            key, options = self.prepare(pick, ["pay"], lambda kept: kept.pending is not None), {"approve": True}
        elif verb == "retry":
            key, options = self.prepare(pick, ["gone"], lambda kept: kept.status in TO_RETRY), {}
        else:
            key = self.choose(pick, lambda kept: kept.facts["status"] == "active")
            options = {"on_pending": "reject"}
        script = ["look" if step == "rename" else step for step in script]  # the name would be a matter of time
        message = f"u{self.number()}" if verb == "send_message" else None
        self.turn(key, verb, how, script, {**options, "on_failure": on_failure}, message, steps)

    @rule(
        pick=PICK,
        script=SCRIPT,
        lost=st.integers(0, 4),
        verb=st.sampled_from(["send_message", "retry", "resume"]),
        options=OPTIONS,
    )
    def kill(self, pick, script, lost, verb, options):
        """A process dies before the end of its turn is stored, and another one takes the next turn."""
        key = self.choose(pick, lambda kept: kept.facts["status"] == "active")
        length = len(self.kept[key].entries) if key in self.kept else 0
        self.turn(key, "send_message", "plain", script, {"on_pending": "reject"}, f"u{self.number()}")
        if key in self.kept:
            kept = self.kept[key]
            rest = max(length, len(kept.entries) - 1 - lost)
            self.run(self.store.rewrite(key, lambda history: history.with_entries(history.entries[:rest])))
            del kept.entries[rest:]
            options = {"on_failure": options.get("on_failure", "keep")} if verb == "resume" else options
            self.turn(key, verb, "plain", script, options, f"u{self.number()}" if verb == "send_message" else None)

    @rule(pick=PICK, middle=st.lists(st.sampled_from(MIDDLE), max_size=2))
    def send_two(self, pick, middle):
        """Two messages at once: first come, first served."""
        key = self.choose(pick, lambda kept: kept.facts["status"] == "active")
        texts = [f"u{self.number()}", f"u{self.number()}"]
        options = {"agent_id": key.agent_id, "on_pending": "reject", "max_turns": 9}
        first = self.expect(key, "send_message", [*middle, "say"], options, texts[0])
        if first.status != "completed":
            return
        second = Play(self.number, first.speaker)
        second.words.append(("user", None, None, texts[1]))
        second.go(["consult", "say"])

        async def both() -> Any:
            return await asyncio.gather(*(self.manager.send_message(key.session_id, text, **options) for text in texts))

        replies = self.act(key, [*first.steps, *second.steps], both())
        assert [reply.text for reply in replies] == [first.text, second.text]
        new = self.new_entries(key)
        assert [word(entry) for entry in new] == first.words + second.words
        self.settle(key, first, new[: len(first.words)])
        self.settle(key, second, new[len(first.words) :])

    @rule(pick=PICK, script=SCRIPT, door=DOOR, streamed=st.booleans())
    def run_bare(self, pick, script, door, streamed):
        """The Runner itself, with a session that no turn protects."""
        key = self.choose(pick)
        if key not in self.kept:
            return
        play = Play(self.number, "support").go([step for step in script if step not in ("reenter", "broken")])
        play.words.insert(0, ("user", None, None, f"u{self.number()}"))

        async def begin() -> str:
            arguments = {"session": self.session_of(key, door), "run_config": QUIET}
            start = Runner.run_streamed if streamed else Runner.run
            result: Any = start(self.agents["support"], play.words[0][-1], **arguments)
            if not streamed:
                return (await result).final_output or ""
            async for _ in result.stream_events():
                pass
            return result.final_output or ""

        result = self.act(key, play.steps, begin())
        assert result == play.text if play.error is None else type(result) is play.error
        new = self.new_entries(key)
        assert [word(entry) for entry in new] == without_manager(play.words)
        self.settle(key, play, new)

    # --- one turn ---

    def turn(
        self,
        key: SessionKey,
        verb: str,
        how: str,
        script: list[str],
        options: dict[str, Any],
        message: Any = None,
        steps: int = 0,
    ) -> None:
        play = self.expect(key, verb, script, options, message)
        given = [] if message is None else [copy.deepcopy(message)]
        drive = self.drive(verb, how, steps, key.session_id, *given, **options, agent_id=key.agent_id)
        result = self.act(key, play.steps, drive)
        spoil(given)
        if key not in self.kept:
            assert isinstance(result, (SessionNotFoundError, *CANCELLED))
            return
        new, rollback = self.new_entries(key), options.get("on_failure") == "rollback"
        if how in ("task", "immediate", "after_turn") and is_cancelled(play, result, new):
            self.settle_cancelled(key, play, result, new, rollback=rollback)
            return
        if not isinstance(result, CANCELLED):  # it came too late
            self.check_result(play, result, new)
        if rollback and play.status == "failed":
            self.settle_rolled_back(key, play, new)
        else:
            assert [word(entry) for entry in new] == play.words
            self.settle(key, play, new)

    def expect(self, key: SessionKey, verb: str, script: list[str], options: dict[str, Any], message: Any) -> Play:
        """Return what a turn must do, or the error by which it is refused."""
        kept, play = self.kept.get(key), Play(self.number, "nobody")
        if kept is None:
            return play.refuse(SessionNotFoundError)
        if kept.facts["status"] in INACTIVE:
            return play.refuse(INACTIVE[kept.facts["status"]])
        tally, pending = kept.tally, None if verb == "retry" else kept.pending
        play.words = kept.interrupted
        play.begun = len(play.words)
        error, outputs = decisions_of(kept, verb, options)
        if error is not None:
            return play.refuse(error)
        items = (kept.sent if play.begun else kept.unstored) if verb == "retry" else []
        if message is not None:
            items = [{"role": "user", "content": message}] if isinstance(message, str) else message
        play.message = [text_of(item) for item in items]
        play.was_paused = kept.status == "awaiting_approval"
        if pending is None:
            last = None if options.get("start") == "entry" else tally["last_agent"]
            play.root = play.asked = play.speaker = last or key.agent_id
            play.limit = options.get("max_turns") or kept.facts["max_turns"] or 10
            seen = [*window(kept.items, kept.facts["history_limit"]), *items]
            play.seen = [text_of(item) for item in seen if item_kind(item) == "user"]
        else:
            play.run, play.root, play.speaker, play.open, _, play.used = pending
            play.limit = limit_of(pending, kept, options)
            play.asked = play.speaker
            play.waiting = tuple(id_ for id_ in pending.calls if id_ not in outputs)
        if outputs:
            sides = (tuple(id_ for id_, text in outputs.items() if (text == "paid") is side) for side in (True, False))
            play.words.append(("decision", *sides))
        play.words += [("function_call_output", tally["last_agent"], *output) for output in outputs.items()]
        play.words += [word(item_entry(item)) for item in items]
        if play.waiting:
            play.end("awaiting_approval")
        return play.go(script)

    def act(self, key: SessionKey, steps: list[ModelStep], drive: Any) -> Any:
        """Do something with a model of these steps; return what comes of it, or the error."""
        self.playing = key
        self.model = self.inner.model = ScriptedModel(steps)
        for agent in self.agents.values():
            agent.model = self.model
        try:
            return self.run(drive)
        except (Exception, asyncio.CancelledError) as error:
            return error

    async def drive(self, verb: str, how: str, steps: int, *arguments: Any, **options: Any) -> Any:
        if how in ("plain", "task"):
            sending = asyncio.ensure_future(getattr(self.manager, verb)(*arguments, **options))
            if how == "task":
                for _ in range(steps):
                    await asyncio.sleep(0.0001 if self.in_files else 0)
                sending.cancel()
            return await sending
        stream = getattr(self.manager, f"stream_{verb.removeprefix('send_')}")(*arguments, **options)
        if how != "reply":
            async for _ in stream.stream_events():
                steps -= 1
                if steps == 0 and how != "read":
                    stream.cancel(how)
        return await stream.reply()

    def check_result(self, play: Play, result: Any, new: list[Any]) -> None:
        if play.seen is not None and self.model.first_call is not None:
            given = self.model.first_call.input
            assert [text_of(item) for item in given if item_kind(item) == "user"] == play.seen
        if play.error is not None:
            assert type(result) is play.error
            return
        assert (result.status, result.text, result.last_agent) == (play.status, play.text, play.speaker)
        assert result.usage.total_tokens == play.spent
        assert tuple(item.call_id for item in result.interruptions) == play.waiting
        assert [entry.seq for entry in result.entries] == [e["seq"] for e in new[play.begun :] if "turn" in e]

    def settle(self, key: SessionKey, play: Play, new: list[Any]) -> None:
        """Take what a run has stored into the model."""
        kept = self.kept[key]
        assert [entry["seq"] for entry in new] == list(range(kept.seq + 1, kept.seq + len(new) + 1))
        self.settle_facts(kept, play, new)
        kept.entries += new
        kept.seq += len(new)

    def settle_rolled_back(self, key: SessionKey, play: Play, new: list[Any]) -> None:
        """Of what the turn has stored its cost stays, and its end, which has its message now."""
        kept = self.kept[key]
        mine = [entry for entry in kept.entries if play.run is not None and entry.get("turn") == play.run]
        message = [text_of(entry["item"]) for entry in mine if "item" in entry and "agent" not in entry]
        numbered = list(enumerate(play.words, kept.seq + 1))
        stays = [said[0] in ACCOUNTS or said[-1] in play.notes for said in play.words[play.begun :]]
        expected = numbered[: play.begun] + list(compress(numbered[play.begun :], stays))
        kept.seq, (_, status, spent, _, error, _) = expected.pop()
        expected.append((kept.seq, ("turn", status, spent, play.root, error, (*message, *play.message))))
        assert [(entry["seq"], word(entry)) for entry in new] == expected
        self.settle_facts(kept, play, new)
        kept.entries = [entry for entry in kept.entries if entry not in mine or outlives_rollback(entry)] + new

    def settle_cancelled(self, key: SessionKey, play: Play, result: Any, new: list[Any], *, rollback: bool) -> None:
        """Whole batches of what the turn would have stored, what it has spent so far, and its end; or nothing."""
        kept, words = self.kept[key], [word(entry) for entry in new]
        assert isinstance(result, CANCELLED) or getattr(result, "status", None) == "cancelled"
        if len(new) > play.begun:
            mine = [said for said in words[play.begun :] if said[-1] not in LOST]
            for kinds in (
                ("decision",),
                ("handoff",),
                ("user", "system", "assistant", "function_call", "function_call_output"),
            ):
                said, could = ([w for w in ws if w[0] in kinds] for ws in (mine, play.words[play.begun :]))
                if rollback:
                    could = [w for w in could if w[0] in ACCOUNTS or w[-1] in play.notes]
                assert said == could[: len(said)]
            answered = {said[2] for said in words if said[0] == "function_call_output"}
            assert rollback or {*play.open, *(w[2] for w in said if w[0] == "function_call")} <= answered
            spent, could = ([row for w in ws if w[0] == "usage" for row in w[1:]] for ws in (words, play.words))
            assert spent == could[: len(spent)]
            assert words[-1][:3] == ("turn", "cancelled", sum(tokens for tokens, *_ in spent))
            self.settle_facts(kept, play, new)
            mine = [entry for entry in kept.entries if rollback and play.run and entry.get("turn") == play.run]
            kept.entries = [entry for entry in kept.entries if entry not in mine or outlives_rollback(entry)]
        assert words[: play.begun] == play.words[: len(words)][: play.begun]
        if len(new) == play.begun > 0:
            kept.sidecars.pop(STATE, None)
        kept.entries += new
        kept.seq = self.run(self.store.load(key)).seq

    def settle_facts(self, kept: Kept, play: Play, new: list[Any]) -> None:
        """All of a turn has one name: that of the turn it goes on with, or one that was never used."""
        assert [entry["turn"] for entry in new[: play.begun]] == [kept.tally["open_turn"]] * play.begun
        turns = {entry["turn"] for entry in new[play.begun :] if "turn" in entry}
        assert len(turns) <= 1
        assert not turns or (turns == {play.run} if play.run else not turns & self.turns)
        self.turns |= turns
        if play.name is not None:
            kept.facts["name"] = play.name
        if play.begun or (turns and word(new[-1])[1] in ("failed", "cancelled")):
            kept.sidecars.pop(STATE, None)
        if turns and word(new[-1])[1] == "awaiting_approval":
            kept.sidecars[STATE] = None
            kept.paused = Paused(*turns, play.root, play.speaker, play.waiting, play.limit, play.used)
        elif play.was_paused:
            kept.sidecars.pop(STATE, None)

    # --- files ---

    @precondition(lambda self: self.in_files)
    @rule(pick=PICK, batch=BATCH, share=st.floats(0, 0.99), zeros=st.booleans())
    def tear(self, pick, batch, share, zeros):
        """A process dies in the middle of an append. What was acknowledged before stays, the batch may come whole."""
        key = self.choose(pick)
        if key not in self.kept:
            return
        kept, path, items = self.kept[key], self.store.path(key), self.items_of(batch)
        self.run(self.store.rewrite(key, lambda history: history.with_facts(name=kept.facts["name"])))
        before = path.read_bytes()
        self.run(self.store.append(key, [item_entry(item) for item in items]))
        after = path.read_bytes()
        begin, end = json.loads(before)["seal"]["end"], len(after.rstrip())
        cut = begin + int((end - begin) * share)
        path.write_bytes(after[:cut] + (bytes(end - cut) + after[end:] if zeros else before[cut:]))
        kept.updated_at = LONG_AGO  # it is read from what is left of the history
        found = self.run(self.store.items(key))
        assert found in (kept.items, kept.items + items)
        self.grew(key, items if len(found) > len(kept.items) else [])

    @precondition(lambda self: self.in_files)
    @rule(pick=PICK, pops=st.booleans(), kind=st.sampled_from(EDITS), place=PICK, text=TEXT)
    def edit(self, pick, pops, kind, place, text):
        """A person with an editor, who may find the newest number gone."""
        key = self.choose(pick)
        if key not in self.kept:
            return
        if pops:
            self.pop(pick, "fresh", 1)
        kept, path, item = self.kept[key], self.store.path(key), {"role": "user", "content": text}
        self.run(self.store.append(key, []))  # no one can save a torn file: it is repaired before
        document = json.loads(path.read_bytes())
        for history in (document["history"], kept.entries):
            if kind in ("add", "insert"):
                history.insert(place if kind == "insert" else len(history), {"item": item})
            elif kind == "copy":
                history += copy.deepcopy(history[place : place + 1])
            elif kind == "drop":
                del history[place : place + 1]
            elif kind == "reword" and len(history) > place and "item" in history[place]:
                history[place]["item"] = item
        if kind == "name":
            document["name"] = kept.facts["name"] = text
        path.write_text(json.dumps(document, indent=place % 3 or None))
        self.renumber(key, kept.entries)


def decisions_of(kept: Kept, verb: str, options: dict[str, Any]) -> tuple[type[BaseException] | None, dict[str, str]]:
    """Return the outputs of calls that a turn begins with, or why it is refused."""
    pending = kept.pending
    if verb == "retry":
        return None if kept.status in TO_RETRY else NothingToRetryError, {}
    if verb == "resume":
        if pending is None:
            return NothingToResumeError, {}
        outputs = decided(pending.calls, **options)
        return InvalidDecisionError if outputs is None else None, outputs or {}
    if pending is None:
        return None, {}
    if options.get("on_pending") != "reject":
        return ApprovalPendingError, {}
    # The SDK's error: no turn of its own is left for the message.
    full = pending.used >= limit_of(pending, kept, options)
    return UserError if full else None, dict.fromkeys(pending.calls, REJECTED)


def limit_of(pending: Paused, kept: Kept, options: dict[str, Any]) -> int:
    return options.get("max_turns") or kept.facts["max_turns"] or pending.limit


def is_cancelled(play: Play, result: Any, new: list[Any]) -> bool:
    """Tell whether a turn did not come to an end of its own."""
    if play.status == "refused":
        return isinstance(result, CANCELLED)
    return len(new) <= play.begun or word(new[-1])[:2] == ("turn", "cancelled") or word(new[-1])[0] != "turn"


class InFiles(Sessions):
    in_files = True


class InMemory(Sessions):
    in_files = False


def play(sessions: type[Sessions], seed: int | None, **length: int) -> None:
    chosen = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **length)
    test = stateful.get_state_machine_test(sessions, settings=chosen)
    (test if seed is None else hypothesis.seed(seed)(test))()


# The SDK drops a coroutine of its own when it is cancelled in just that moment.
@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("seed", [1, 2, 3, 4] if EXAMPLES is None else [None])
@pytest.mark.parametrize("sessions", [InFiles, InMemory])
def test_sessions_hold_what_a_dict_of_lists_holds(sessions, seed):
    # After ten examples the eleventh would be made of the ones before; other seeds show more.
    play(sessions, seed, max_examples=int(EXAMPLES or 10), stateful_step_count=25 if EXAMPLES is None else 100)
