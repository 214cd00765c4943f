import asyncio
from inspect import signature

import pytest
from agents import MaxTurnsExceeded, RunConfig, RunContextWrapper, RunErrorHandlerResult, Runner, function_tool
from agents.memory import SessionSettings
from agents.testing import function_call
from openai.types.responses.response_reasoning_item import ResponseReasoningItem
from script import QUIET, agent, calls, managed, says, scripted, stored, turn

from agents_sessions.errors import InvalidValueError
from agents_sessions.manager import SessionManager
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.options import RunArguments, SendOptions, TurnSettings


@function_tool
def look() -> str:
    return "found"


REFUSED = ["conversation_id", "previous_response_id", "auto_previous_response_id", "session"]


def limited(limit: int) -> RunConfig:
    return RunConfig(tracing_disabled=True, session_settings=SessionSettings(limit=limit))


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_take_the_place_of_the_session_is_refused(name):
    async def run(manager, session_id):
        with pytest.raises(TypeError, match=f"{name} cannot be combined with a session"):
            await manager.send_message(session_id, "hello", **{name: "x"})

    turn(MemoryStore(), agent("support"), act=run)


@pytest.mark.parametrize("name", REFUSED)
def test_a_manager_refuses_it_as_a_default(name):
    with pytest.raises(TypeError, match="cannot be combined"):
        SessionManager(MemoryStore(), **{name: "x"})


def test_an_unknown_option_is_refused_with_the_known_ones():
    async def run(manager, session_id):
        with pytest.raises(TypeError, match=r"unknown option 'tempo'; known: agent, agent_id, .*, lock_timeout.*"):
            await manager.send_message(session_id, "hello", tempo=1)

    turn(MemoryStore(), agent("support"), act=run)


@pytest.mark.parametrize(("method", "option"), [("resume", "on_pending"), ("retry", "on_pending")])
def test_an_option_that_means_nothing_here_is_refused(method, option):
    async def run(manager, session_id):
        with pytest.raises(TypeError, match="unknown option"):
            await getattr(manager, method)(session_id, **{option: "entry"})

    turn(MemoryStore(), agent("support"), act=run)


@pytest.mark.parametrize("option", ["start", "on_failure", "on_pending"])
def test_a_choice_must_be_one_of_its_values(option):
    async def run(manager, session_id):
        with pytest.raises(ValueError, match=f"{option} must be one of .* not 'maybe'"):
            await manager.send_message(session_id, "hello", **{option: "maybe"})

    turn(MemoryStore(), agent("support"), act=run)


def test_every_other_argument_of_the_runner_passes_through():
    taken = {"starting_agent", "input", *REFUSED}
    assert set(signature(Runner.run).parameters) - taken == set(RunArguments.__annotations__)


def test_arguments_of_a_call_come_before_those_of_the_manager():
    seen = []

    @function_tool
    def context(wrapper: RunContextWrapper[str]) -> str:
        seen.append(wrapper.context)
        return "ok"

    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        await manager.send_message(session_id, "two", context="call")

    steps = [calls("context", "c1"), "a", calls("context", "c2"), "b"]
    turn(MemoryStore(), agent("support", *steps, tools=[context]), act=run, context="manager")
    assert seen == ["manager", "call"]


def test_error_handlers_pass_through():
    def handler(_data):
        return RunErrorHandlerResult(final_output="enough")

    reply = turn(
        MemoryStore(),
        agent("support", calls("look"), calls("look", "c2"), tools=[look]),
        max_turns=1,
        error_handlers={"max_turns": handler},
    )
    assert (reply.text, reply.status) == ("enough", "completed")


def grouped(**config) -> str | None:
    return TurnSettings.of(SendOptions, "s", {}, config).runner["run_config"]


def test_traces_are_grouped_by_session():
    assert grouped(run_config=QUIET).group_id == "s"


def test_traces_without_a_run_config_are_grouped_by_session():
    assert grouped() == {"group_id": "s"}


def test_a_run_config_as_a_dict_stays_one():
    assert grouped(run_config={"workflow_name": "w"}) == {"workflow_name": "w", "group_id": "s"}


def test_a_group_that_is_given_stays():
    assert grouped(run_config=RunConfig(group_id="mine")).group_id == "mine"


def test_the_callers_run_config_is_not_changed():
    grouped(run_config=QUIET)
    assert QUIET.group_id is None


# --- what a session says itself ---


def looks_twice():
    return agent("support", calls("look", "c1"), calls("look", "c2"), "done", tools=[look])


async def with_own(facts, **options):
    manager = managed(MemoryStore(), looks_twice(), **options.pop("defaults", {}))
    await manager.create_session("support", session_id="s", **facts)
    return await manager.send_message("s", "hello", **options)


def test_a_session_limits_the_turns_of_the_sdk():
    with pytest.raises(MaxTurnsExceeded):
        asyncio.run(with_own({"max_turns": 2}))


@pytest.mark.parametrize("options", [{"max_turns": 3}, {"max_turns": None}, {"defaults": {"max_turns": 3}}])
def test_a_limit_of_the_call_or_the_manager_comes_before_the_sessions(options):
    assert asyncio.run(with_own({"max_turns": 1}, **options)).text == "done"


@pytest.mark.parametrize("name", ["max_turns", "history_limit"])
def test_a_limit_of_a_session_can_be_changed_and_taken_away(store, name):
    async def run():
        manager = SessionManager(store)
        info = await manager.create_session("support", session_id="s", **{name: 5})
        changed = await manager.update_session("s", **{name: 7})
        gone = await manager.update_session("s", **{name: None})
        return [getattr(each, name) for each in (info, changed, gone, await manager.get_session("s"))]

    assert asyncio.run(run()) == [5, 7, None, None]


@pytest.mark.parametrize("name", ["max_turns", "history_limit"])
def test_a_limit_of_a_session_is_positive(store, name):
    with pytest.raises(ValueError, match=f"{name} must be greater than or equal to 1"):
        asyncio.run(SessionManager(store).create_session("support", **{name: 0}))


# --- how much of the history the model sees ---


def reasoning(number: int) -> ResponseReasoningItem:
    return ResponseReasoningItem(id=f"rs{number}", summary=[], type="reasoning")


def thinks(number: int):
    """A turn of six items: user, reasoning, call, output, reasoning, answer."""
    return [
        [reasoning(number), function_call("look", "{}", call_id=f"c{number}")],
        [reasoning(number + 100), *says(f"answer {number}")],
    ]


def seen_with(limit=None, turns=3, **facts):
    """What the model saw of a history of some turns, as one word per item."""

    async def run():
        model = scripted(*[step for number in range(turns) for step in thinks(number)], "end")
        support = agent("support", tools=[look])
        support.model = model
        manager = managed(MemoryStore(), support)
        await manager.create_session("support", session_id="s", **facts)
        for number in range(turns):
            await manager.send_message("s", f"question {number}", run_config=QUIET if not facts else limited(1000))
        await manager.send_message("s", "last", run_config=QUIET if limit is None else limited(limit))
        return [item.get("type", item.get("role")) for item in model.last_call.input]

    return asyncio.run(run())


TURN = ["user", "reasoning", "function_call", "function_call_output", "reasoning", "message"]


@pytest.mark.parametrize(
    ("limit", "turns"), [(1, 1), (5, 1), (6, 1), (7, 1), (11, 1), (12, 2), (17, 2), (18, 3), (19, 3), (1000, 3)]
)
def test_a_limit_leaves_whole_turns(limit, turns):
    assert seen_with(limit) == [*TURN * turns, "user"]


def test_without_a_limit_the_model_sees_everything():
    assert seen_with() == [*TURN * 3, "user"]


@pytest.mark.parametrize(("limit", "turns"), [(1, 1), (12, 2)])
def test_a_session_has_a_limit_of_its_own(limit, turns):
    assert seen_with(history_limit=limit) == [*TURN * turns, "user"]


def test_a_limit_of_the_run_comes_before_the_sessions():
    assert seen_with(12, history_limit=1) == [*TURN * 2, "user"]


@pytest.mark.parametrize(("limit", "seen"), [(4, 3), (3, 3), (2, 2), (1, 2)])
def test_a_history_that_fits_a_limit_is_shown_whole(limit, seen):
    """Also if it does not begin with a user message."""

    async def run(manager, session_id):
        begin = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hello"}]
        await manager.session(session_id).add_items([*begin, {"role": "assistant", "content": "hi"}])
        await manager.send_message(session_id, "last", run_config=limited(limit))

    support = agent("support", "done")
    turn(MemoryStore(), support, act=run)
    assert len(support.model.last_call.input) == seen + 1


@pytest.mark.parametrize("content", [None, 5, {"role": "user", "content": "hello"}, ("hello",)])
def test_a_message_is_a_text_or_a_list_of_items(content):
    async def run(manager, session_id):
        with pytest.raises(InvalidValueError, match=r"content must be a text or a list of items, not a '\w+'"):
            await manager.send_message(session_id, content)

    turn(MemoryStore(), agent("support"), act=run)


def test_a_manager_takes_no_wrapper_as_the_context_of_all_turns():
    with pytest.raises(TypeError, match="RunContextWrapper"):
        managed(MemoryStore(), agent("support"), context=RunContextWrapper(context={}))


def test_a_limit_of_zero_shows_nothing_of_the_history():
    assert seen_with(0) == ["user"]


def test_a_limit_changes_nothing_in_what_is_stored(store):
    async def run(manager, session_id):
        for number in range(3):
            await manager.send_message(session_id, str(number), run_config=limited(1))

    turn(store, agent("support", "a", "b", "c"), act=run)
    assert stored(store) == ["user", "assistant", "usage:1", "completed"] * 3


def test_a_session_input_callback_shapes_what_the_model_sees():
    support = agent("support", "first", "second")

    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        config = RunConfig(tracing_disabled=True, session_input_callback=lambda _history, new: new)
        await manager.send_message(session_id, "two", run_config=config)
        return await manager.get_history(session_id)

    history = turn(MemoryStore(), support, act=run)
    assert [item["content"] for item in support.model.last_call.input] == ["two"]
    assert [entry.text for entry in history if entry.type == "item"] == ["one", "first", "two", "second"]


def test_content_can_be_items():
    reply = turn(
        MemoryStore(),
        agent("support", "a cat"),
        act=lambda manager, session_id: manager.send_message(
            session_id, [{"role": "user", "content": [{"type": "input_text", "text": "what is this?"}]}]
        ),
    )
    assert reply.entries[0].text == "what is this?"


@pytest.mark.parametrize("kind", ["user", "sub_agent", "scheduled"])
def test_a_session_has_a_type(store, kind):
    async def run():
        manager = managed(store, agent("support", "hi"))
        await manager.create_session("support", session_id="s", session_type=kind)
        await manager.send_message("s", "hello")
        return [info.id for info in await manager.list_sessions(session_type=kind)]

    assert asyncio.run(run()) == ["s"]


def test_a_streamed_step_sees_the_same_options():
    async def run(manager, session_id):
        with pytest.raises(MaxTurnsExceeded):
            await manager.stream_message(session_id, "hello", max_turns=1).reply()

    turn(MemoryStore(), looks_twice(), act=run)
