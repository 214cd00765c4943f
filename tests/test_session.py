"""The SDK's protocol, to the letter: driven by the real Runner and by the SDK's own wrappers."""

import asyncio
import inspect
import threading
from types import SimpleNamespace

import pytest
from agents import Agent, RunConfig, Runner, RunState, SQLiteSession, function_tool
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession, Session, SessionABC, SessionSettings
from agents.run_context import RunContextWrapper
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agents_sessions import FileSession, MemorySession, MemoryStore, SessionKey, SessionManager, StoredSession
from agents_sessions.errors import InvalidItemError, SessionCorruptedError, SessionIdError, SessionNotFoundError
from agents_sessions.signatures import ASKED_FOR
from agents_sessions.turns.recorder import Recorder

QUIET = RunConfig(tracing_disabled=True)
USAGE = Usage(
    requests=1,
    input_tokens=100,
    input_tokens_details=InputTokensDetails.model_validate({"cached_tokens": 40, "cache_write_tokens": 0}),
    output_tokens=20,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=5),
    total_tokens=120,
)


@function_tool
def lookup(order: int) -> str:
    """Look an order up."""
    return f"order {order} has shipped"


def model(*steps):
    scripted = ScriptedModel(steps)
    scripted.set_default_usage(USAGE)
    return scripted


def user(text):
    return {"role": "user", "content": text, "note": "Zaunkönig"}


@pytest.fixture(params=["file", "memory"])
def make(request, tmp_path):
    """Make sessions that share one place."""
    if request.param == "file":
        return lambda name="s", **options: FileSession(name, root=tmp_path, **options)
    store = MemoryStore()
    return lambda name="s", **options: StoredSession(store, SessionKey("default", name), **options)


def test_it_is_a_session_of_the_sdk(make):
    assert isinstance(make(), Session)
    assert isinstance(make(), SessionABC)


def test_all_four_methods_take_the_run_context_as_a_keyword(make):
    for method in ("get_items", "add_items", "pop_item", "clear_session"):
        parameter = inspect.signature(getattr(make(), method)).parameters["wrapper"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


def test_a_new_session_is_empty_and_makes_no_file(tmp_path):
    assert asyncio.run(FileSession("new", root=tmp_path / "root").get_items()) == []
    assert not (tmp_path / "root").exists()


def test_items_come_back_in_order_and_as_they_were(make):
    items = [user("one"), {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}, user("\ud800 2")]

    async def scenario():
        session = make()
        await session.add_items(items[:1])
        await session.add_items(items[1:])
        return await make().get_items()

    assert asyncio.run(scenario()) == items


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [1, 2, 3]), (2, [2, 3]), (3, [1, 2, 3]), (9, [1, 2, 3]), (0, []), (-1, [])]
)
def test_a_limit_gives_the_newest_items_in_order(make, limit, expected):
    async def scenario():
        session = make()
        await session.add_items([user(n) for n in ("1", "2", "3")])
        return [int(item["content"]) for item in await session.get_items(limit)]

    assert asyncio.run(scenario()) == expected


def test_the_largest_limit_of_the_sdk_gives_everything(make):
    async def scenario():
        session = make()
        await session.add_items([user("1"), user("2")])
        return await session.get_items(limit=2_147_483_647)

    assert len(asyncio.run(scenario())) == 2


@pytest.mark.parametrize("settings", [SessionSettings(limit=1), {"limit": 1}])
def test_settings_limit_a_read_and_the_argument_wins_over_them(make, settings):
    async def scenario():
        session = make(session_settings=settings)
        await session.add_items([user("1"), user("2")])
        return len(await session.get_items()), len(await session.get_items(5))

    assert asyncio.run(scenario()) == (1, 2)


def test_pop_takes_the_newest_item_and_none_from_an_empty_session(make):
    async def scenario():
        session = make()
        nothing = await session.pop_item()
        await session.add_items([user("1"), user("2")])
        popped = [await session.pop_item(), await session.pop_item(), await session.pop_item()]
        return nothing, popped, await session.get_items()

    assert asyncio.run(scenario()) == (None, [user("2"), user("1"), None], [])


def test_clear_empties_the_history_and_keeps_the_session(make):
    async def scenario():
        session = make()
        await session.clear_session()
        await session.add_items([user("1")])
        await session.clear_session()
        await session.add_items([user("2")])
        return await session.get_items(), (await session.info()).context.items

    assert asyncio.run(scenario()) == ([user("2")], 1)


def test_an_empty_list_stores_nothing(tmp_path):
    asyncio.run(FileSession("s", root=tmp_path / "root").add_items([]))
    assert not (tmp_path / "root").exists()


def test_a_batch_with_a_bad_item_is_refused_as_a_whole(make):
    async def scenario():
        session = make()
        await session.add_items([user("1")])
        with pytest.raises(InvalidItemError, match="item 2 of 2"):
            await session.add_items([user("2"), user(float("nan"))])
        return await session.get_items()

    assert asyncio.run(scenario()) == [user("1")]


@pytest.mark.parametrize("bad", ["", "a\0b"])
def test_an_impossible_id_is_refused_at_once(tmp_path, bad):
    with pytest.raises(SessionIdError):
        FileSession(bad, root=tmp_path)


def test_a_session_that_was_deleted_is_not_made_again_unless_asked_for():
    async def scenario():
        session = StoredSession(MemoryStore(), SessionKey("a", "s"), create=False)
        for operation in (
            session.get_items(),
            session.add_items([user("1")]),
            session.pop_item(),
            session.clear_session(),
            session.info(),
        ):
            with pytest.raises(SessionNotFoundError):
                await operation

    asyncio.run(scenario())


def test_two_first_writers_both_get_their_items_in(make):
    async def scenario():
        await asyncio.gather(*(make().add_items([user(str(n))]) for n in range(20)))
        return sorted(int(item["content"]) for item in await make().get_items())

    assert asyncio.run(scenario()) == list(range(20))


def test_one_object_serves_threads_with_loops_of_their_own(make):
    session = make()

    def work(name):
        asyncio.run(add_some(name))

    async def add_some(name):
        for n in range(10):
            await session.add_items([user(f"{name}-{n}")])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = [item["content"] for item in asyncio.run(session.get_items())]
    assert sorted(stored) == sorted(f"{name}-{n}" for name in "abcd" for n in range(10))
    assert [text for text in stored if text[0] == "a"] == [f"a-{n}" for n in range(10)]


# --- under the Runner ---


def test_a_run_continues_from_the_history_of_the_run_before(make):
    async def scenario():
        scripted = model([assistant_message("Hello Ann")], [assistant_message("Your name is Ann")])
        agent = Agent(name="a", model=scripted)
        await Runner.run(agent, "I am Ann", session=make(), run_config=QUIET)
        await Runner.run(agent, "Who am I?", session=make(), run_config=QUIET)
        return [item.get("content") for item in scripted.last_call.input if item["role"] == "user"]

    assert asyncio.run(scenario()) == ["I am Ann", "Who am I?"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_bare_session_keeps_the_tokens_of_its_runs(make, streamed):
    async def scenario():
        session = make()
        agent = Agent(
            name="a",
            tools=[lookup],
            model=model([function_call("lookup", {"order": 1}, call_id="c")], [assistant_message("shipped")]),
        )
        if streamed:
            async for _ in Runner.run_streamed(agent, "where?", session=session, run_config=QUIET).stream_events():
                pass
        else:
            await Runner.run(agent, "where?", session=session, run_config=QUIET)
        return (await session.info()).context

    context = asyncio.run(scenario())
    assert (context.requests, context.input_tokens, context.cached_tokens) == (2, 200, 80)
    assert (context.output_tokens, context.reasoning_tokens, context.total_tokens) == (40, 10, 240)
    assert context.context_tokens == 120
    assert (context.user_messages, context.assistant_messages, context.function_calls) == (1, 1, 1)


def test_runs_one_after_the_other_add_up(make):
    async def scenario():
        session = make()
        agent = Agent(name="a", model=model([assistant_message("1")], [assistant_message("2")]))
        for text in ("one", "two"):
            await Runner.run(agent, text, session=session, run_config=QUIET)
        return (await session.info()).context.total_tokens

    assert asyncio.run(scenario()) == 240


def test_usage_is_kept_beside_the_items_and_never_in_them(make):
    async def scenario():
        session = make()
        agent = Agent(name="a", model=model([assistant_message("hi")]))
        await Runner.run(agent, "hello", session=session, run_config=QUIET)
        plain = SQLiteSession("s")
        agent = Agent(name="a", model=model([assistant_message("hi")]))
        await Runner.run(agent, "hello", session=plain, run_config=QUIET)
        expected = await plain.get_items()
        plain.close()
        return await session.get_items(), expected

    stored, expected = asyncio.run(scenario())
    assert stored == expected


def test_a_resumed_run_is_not_counted_twice(make):
    @function_tool(needs_approval=True)
    def refund(order: int) -> str:
        """Refund an order."""
        return f"order {order} refunded"

    async def scenario():
        session = make()
        scripted = model([function_call("refund", {"order": 1}, call_id="c")], [assistant_message("done")])
        agent = Agent(name="a", tools=[refund], model=scripted)
        result = await Runner.run(agent, "refund it", session=session, run_config=QUIET)
        await session.save_state_json(result.to_state().to_json())
        paused = (await session.info()).context.total_tokens

        other = make()
        state = await RunState.from_json(agent, await other.load_state_json())
        for item in state.get_interruptions():
            state.approve(item)
        await Runner.run(agent, state, session=other, run_config=QUIET)
        await other.save_state_json(None)
        kinds = [item.get("type", "message") for item in await other.get_items()]
        return paused, (await other.info()).context.total_tokens, kinds, await other.load_state_json()

    kinds = ["message", "function_call", "function_call_output", "message"]
    assert asyncio.run(scenario()) == (120, 240, kinds, None)


def test_a_run_state_can_be_saved_before_the_first_item(make):
    async def scenario():
        await make().save_state_json({"ok": 1})
        return await make().load_state_json(), await make().get_items(), (await make().info()).context.items

    assert asyncio.run(scenario()) == ({"ok": 1}, [], 0)


def test_no_run_state_makes_no_session(tmp_path):
    asyncio.run(FileSession("s", root=tmp_path).save_state_json(None))
    assert not list(tmp_path.rglob("*"))


def test_a_run_state_makes_no_session_of_a_manager():
    with pytest.raises(SessionNotFoundError):
        asyncio.run(SessionManager(MemoryStore()).session("s").save_state_json({}))


def test_a_run_state_that_json_cannot_carry_is_refused(make):
    async def scenario():
        session = make()
        await session.add_items([user("1")])
        await session.save_state_json({"bad": {1, 2}})

    with pytest.raises(InvalidItemError, match="run state"):
        asyncio.run(scenario())


def test_what_json_cannot_carry_is_an_error_of_the_type_that_the_sdk_raises(make):
    with pytest.raises(TypeError):
        asyncio.run(make().add_items([{"role": "user", "content": object()}]))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]"])
def test_a_run_state_that_is_damaged_is_an_error_of_the_session(make, data):
    async def scenario():
        session = make()
        await session.add_items([user("1")])
        await session.store.write_sidecar(session.key, "state.json", data)
        with pytest.raises(SessionCorruptedError, match="run state cannot be used"):
            await session.load_state_json()
        await session.save_state_json({"ok": 1})
        assert await session.load_state_json() == {"ok": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize("cls", [StoredSession, Recorder], ids=["a session", "a recorder"])
@pytest.mark.parametrize("method", ASKED_FOR)
def test_a_signature_that_the_sdk_asks_for_at_every_call_is_computed_once(cls, method):
    function = getattr(cls, method)
    assert inspect.signature(function) is inspect.signature(function)


# --- under the SDK's wrappers ---


def test_it_works_under_encrypted_session(make):
    async def scenario():
        def session():
            return EncryptedSession("s", make(), encryption_key="a long enough secret for a test", ttl=600)

        scripted = model([assistant_message("hi")], [assistant_message("again")])
        agent = Agent(name="a", model=scripted)
        await Runner.run(agent, "hello", session=session(), run_config=QUIET)
        await Runner.run(agent, "and now?", session=session(), run_config=QUIET)
        raw = await make().get_items()
        clear = await session().get_items()
        popped = await session().pop_item()
        tokens = (await make().info()).context.total_tokens
        return raw, [item["role"] for item in clear], popped["role"], tokens

    raw, roles, popped, tokens = asyncio.run(scenario())
    assert all(set(item) == {"__enc__", "v", "kid", "payload"} for item in raw)
    assert (roles, popped, tokens) == (["user", "assistant"] * 2, "assistant", 240)


class CompactingClient:
    """Stands for the one call of the OpenAI client that compaction makes."""

    def __init__(self):
        self.responses = self

    async def compact(self, **_):
        summary = {"type": "compaction", "id": "cmp_1", "encrypted_content": "all of it"}
        return SimpleNamespace(output=[SimpleNamespace(model_dump=lambda **_: summary)], usage=None)


def test_it_works_under_compaction_session_and_keeps_what_was_spent(make):
    async def scenario():
        inner = make()
        session = OpenAIResponsesCompactionSession("s", inner, client=CompactingClient(), compaction_mode="input")
        agent = Agent(name="a", model=model([assistant_message("hi")], [assistant_message("again")]))
        await Runner.run(agent, "hello", session=inner, run_config=QUIET)
        await Runner.run(agent, "hello", session=session, run_config=QUIET)  # passes no run context on
        await session.run_compaction({"force": True})
        info = await inner.info()
        return [item["type"] for item in await inner.get_items()], info.context.total_tokens

    assert asyncio.run(scenario()) == (["compaction"], 120)


def test_history_is_replaced_in_one_step_for_the_compaction_wrapper(make):
    async def scenario():
        session = make()
        await session.add_items([user("1"), user("2")])
        replaced = await session._atomic_replace_items([user("3")])
        return replaced, await session.get_items()

    assert asyncio.run(scenario()) == (True, [user("3")])


def test_a_subclass_that_changes_what_is_stored_is_not_bypassed(tmp_path):
    class Shouting(FileSession):
        async def add_items(self, items, *, wrapper=None):
            await super().add_items([{**item, "content": item["content"].upper()} for item in items], wrapper=wrapper)

    assert asyncio.run(Shouting("s", root=tmp_path)._atomic_replace_items([user("3")])) is False


def test_a_subclass_that_stores_what_its_base_stores_is_replaced_in_one_step(tmp_path):
    class Named(FileSession):
        title = "mine"

    assert asyncio.run(Named("s", root=tmp_path)._atomic_replace_items([user("3")])) is True


# --- its key ---


def test_a_session_has_its_key(make):
    assert make().key == SessionKey("default", "s")


def test_a_session_of_a_manager_shows_no_key_before_it_was_looked_up(tmp_path):
    async def scenario():
        manager = SessionManager(tmp_path)
        await manager.create_session("support", session_id="s")
        session = manager.session("s")
        shown = repr(session)
        with pytest.raises(RuntimeError, match="await the session first"):
            session.key  # noqa: B018
        return shown, (await session).key, repr(session)

    key = SessionKey("support", "s")
    assert asyncio.run(scenario()) == ("ManagedSession('s')", key, "ManagedSession('s', agent_id='support')")


def test_a_session_of_a_manager_whose_agent_is_named_has_its_key_at_once():
    assert SessionManager(MemoryStore()).session("s", agent_id="support").key == SessionKey("support", "s")


@pytest.mark.parametrize("names", [{"session_id": ""}, {"session_id": "s", "agent_id": ""}])
def test_an_invalid_id_is_refused_at_once(names):
    with pytest.raises(SessionIdError):
        SessionManager(MemoryStore()).session(**names)


# --- in the place of SQLiteSession ---


def test_it_answers_as_sqlite_session_does(tmp_path):
    """The walk through the session methods of the SDK's documentation, on both."""

    async def walk(session):
        seen = [await session.get_items()]
        await session.add_items([user("Hello"), {"role": "assistant", "content": "Hi there!"}])
        seen.append(await session.get_items())
        seen.append(await session.get_items(limit=1))
        seen.append(await session.pop_item())
        seen.append(await session.get_items())
        await session.clear_session()
        seen.append(await session.get_items())
        seen.append(await session.pop_item())
        return seen

    async def scenario():
        theirs = SQLiteSession("user_123", tmp_path / "conversations.db")
        ours = FileSession("user_123", root=tmp_path / "conversations")
        try:
            return await walk(ours), await walk(theirs)
        finally:
            theirs.close()

    ours, theirs = asyncio.run(scenario())
    assert ours == theirs


def test_an_add_that_is_cancelled_counts_what_was_spent_once(make):
    async def run():
        session = make()
        wrapper = RunContextWrapper(context=None)
        await session.get_items(wrapper=wrapper)
        await session.add_items([user("a")], wrapper=wrapper)
        wrapper.usage.add(Usage(requests=1, input_tokens=100, output_tokens=1, total_tokens=101))
        for steps in range(30):
            adding = asyncio.create_task(session.add_items([user("b")], wrapper=wrapper))
            for _ in range(steps):
                await asyncio.sleep(0)
            adding.cancel()
            await asyncio.wait({adding})
        await session.add_items([user("c")], wrapper=wrapper)
        return (await session.info()).context

    context = asyncio.run(run())
    assert (context.requests, context.total_tokens) == (1, 101)


def test_a_file_session_says_where_its_file_is(tmp_path):
    session = FileSession("order-42", agent_id="support", root=tmp_path)
    assert not session.path.exists()
    asyncio.run(session.add_items([{"role": "user", "content": "hello"}]))
    assert session.path == tmp_path / "support" / "order-42.json"
    assert session.path.is_file()


def test_a_session_that_holds_nothing_yet_says_so(tmp_path):
    with pytest.raises(SessionNotFoundError, match="nothing was stored in it yet: its first item makes it"):
        asyncio.run(FileSession("order-42", root=tmp_path).info())


# --- its end ---


def kinds_of_sessions(tmp_path):
    manager = SessionManager(MemoryStore())
    return [FileSession("s", root=tmp_path), MemorySession("s"), StoredSession(MemoryStore(), SessionKey("a", "s")),
            manager.session("s", agent_id="a")]  # fmt: skip


CALLS = {
    "get_items": lambda session: session.get_items(),
    "add_items": lambda session: session.add_items([user("1")]),
    "add_items of none": lambda session: session.add_items([]),
    "pop_item": lambda session: session.pop_item(),
    "clear_session": lambda session: session.clear_session(),
    "info": lambda session: session.info(),
    "load_state_json": lambda session: session.load_state_json(),
    "save_state_json": lambda session: session.save_state_json({}),
    "replace": lambda session: session._atomic_replace_items([]),
    "snapshot": lambda session: session._get_compaction_snapshot(1),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_session_takes_no_call(tmp_path, call):
    for session in kinds_of_sessions(tmp_path):
        session.close()
        with pytest.raises(RuntimeError, match="is closed; make another one"):
            asyncio.run(CALLS[call](session))


def test_a_session_is_closed_by_a_call_or_by_an_await_and_as_often_as_one_likes(tmp_path):
    async def scenario():
        for session in kinds_of_sessions(tmp_path):
            session.close()
            assert await session.close() is None
            await EncryptedSession("s", session, "a long enough secret for a test").close()

    asyncio.run(scenario())


def test_a_session_is_closed_at_the_end_of_async_with_and_keeps_what_was_stored(tmp_path):
    async def scenario():
        async with FileSession("s", root=tmp_path) as session:
            await session.add_items([user("1")])
        with pytest.raises(RuntimeError):
            await session.get_items()
        return await FileSession("s", root=tmp_path).get_items()

    assert asyncio.run(scenario()) == [user("1")]


def test_sessions_in_memory_share_nothing_by_their_name():
    async def scenario():
        one, other = MemorySession("s"), MemorySession("s", session_settings={"limit": 1})
        await one.add_items([user("1"), user("2")])
        await other.add_items([user("3"), user("4")])
        return await one.get_items(), await other.get_items()

    assert asyncio.run(scenario()) == ([user("1"), user("2")], [user("4")])
