import asyncio
import contextlib
import logging

import pytest
from agents import function_tool
from script import agent, calls, managed, opened, stored, to, turn

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.events import ApprovalNeeded, HandedOff, TurnEvent, TurnFailed, TurnFinished, TurnStarted

SECRET = "my-secret"


@function_tool
def look() -> str:
    return SECRET


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


def heard(*agents, kind=TurnEvent, act=None, **options):
    """What a listener hears while one message is sent."""
    events = []

    async def run(manager, session_id):
        manager.on(kind, events.append)
        with contextlib.suppress(ConnectionError):
            await (manager.send_message(session_id, SECRET, **options) if act is None else act(manager, session_id))

    turn(MemoryStore(), *agents, act=run)
    return events


def kinds(events):
    return [type(event) for event in events]


def test_a_turn_is_told_when_it_starts_and_when_it_is_finished():
    events = heard(agent("support", "hi"))
    assert kinds(events) == [TurnStarted, TurnFinished]
    assert events[0].agent == "support"
    assert (events[1].last_agent, events[1].usage.total_tokens) == ("support", 15)


def test_every_event_names_the_session_and_the_turn():
    events = heard(agent("support", to("billing"), handoffs=[agent("billing", "hi")]))
    assert len({(event.key, event.turn_id) for event in events}) == 1
    assert events[0].key == ("support", "s")


def test_a_failed_turn_is_told_with_its_error():
    events = heard(agent("support", ConnectionError("gone")))
    assert kinds(events) == [TurnStarted, TurnFailed]
    assert isinstance(events[1].error, ConnectionError)


def test_a_cancelled_stream_is_told_as_failed():
    async def act(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for event in stream.stream_events():
            if event.type == "run_item_stream_event":
                stream.cancel("after_turn")
        await stream.reply()

    events = heard(agent("support", calls("look"), "hi", tools=[look]), act=act)
    assert kinds(events) == [TurnStarted, TurnFailed]
    assert isinstance(events[1].error, asyncio.CancelledError)


def test_a_handoff_is_told_when_it_happens():
    order = []

    @function_tool
    def note() -> str:
        order.append("billing works")
        return "ok"

    billing = agent("billing", calls("note"), "hi", tools=[note])

    async def run(manager, session_id):
        manager.on(HandedOff, lambda event: order.append(f"{event.from_agent}>{event.to_agent}"))
        await manager.send_message(session_id, "hello")

    turn(MemoryStore(), agent("support", to("billing"), handoffs=[billing]), act=run)
    assert order == ["support>billing", "billing works"]


def test_a_handoff_of_a_stream_is_told():
    async def act(manager, session_id):
        await manager.stream_message(session_id, "hello").reply()

    events = heard(agent("support", to("billing"), handoffs=[agent("billing", "hi")]), kind=HandedOff, act=act)
    assert [(event.from_agent, event.to_agent) for event in events] == [("support", "billing")]


def test_an_approval_is_told_with_its_calls():
    events = heard(agent("support", calls("pay"), tools=[pay]))
    assert kinds(events) == [TurnStarted, ApprovalNeeded]
    assert events[1].call_ids == ("c1",)


def test_a_finished_turn_is_stored_when_it_is_told():
    store = MemoryStore()
    lasts = []

    async def run(manager, session_id):
        async def look_up(event):
            lasts.append((await manager.get_session(event.key.session_id)).context.last_status)

        manager.on(TurnFinished, look_up)
        await manager.send_message(session_id, "hello")

    turn(store, agent("support", "hi"), act=run)
    assert lasts == ["completed"]


@pytest.mark.parametrize("kind", [TurnStarted, HandedOff, TurnFinished, TurnFailed, ApprovalNeeded])
@pytest.mark.parametrize("wait", [False, True], ids=["sync", "async"])
def test_a_listener_that_raises_harms_no_turn(kind, wait, caplog):
    def bad(_event):
        raise KeyError

    async def worse(_event):
        raise KeyError

    async def run(manager, session_id):
        manager.on(kind, worse if wait else bad)
        replies = [await manager.send_message(session_id, "hello")]
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "again")
        replies.append(await manager.send_message(session_id, "pay"))
        return [reply.status for reply in replies]

    billing = agent("billing", "hi", ConnectionError("gone"), calls("pay"), tools=[pay])
    statuses = turn(MemoryStore(), agent("support", to("billing"), handoffs=[billing]), act=run)
    assert statuses == ["completed", "awaiting_approval"]
    assert f"a listener of {kind.__name__} raised" in caplog.text


@pytest.mark.parametrize("kind", [TurnStarted, TurnFinished])
def test_a_listener_whose_own_work_was_cancelled_harms_no_turn(kind, caplog):
    async def bad(_event):
        raise asyncio.CancelledError

    async def run(manager, session_id):
        manager.on(kind, bad)
        return await manager.send_message(session_id, "hello")

    assert turn(MemoryStore(), agent("support", "hi"), act=run).text == "hi"
    assert f"a listener of {kind.__name__} raised" in caplog.text


def test_a_listener_can_be_ended():
    events = []

    async def run(manager, session_id):
        end = manager.on(TurnEvent, events.append)
        await manager.send_message(session_id, "one")
        end()
        end()
        await manager.send_message(session_id, "two")

    turn(MemoryStore(), agent("support", "a", "b"), act=run)
    assert len(events) == 2


def test_a_listener_can_end_itself():
    events = []

    async def run(manager, session_id):
        def once(event):
            events.append(event)
            end()

        end = manager.on(TurnStarted, once)
        manager.on(TurnStarted, events.append)
        await manager.send_message(session_id, "one")

    turn(MemoryStore(), agent("support", "a"), act=run)
    assert len(events) == 2


# --- the log ---


def of_ours(caplog):
    return [record for record in caplog.records if record.name.startswith("agents_sessions")]


def whole_life(store):
    """Turns of every outcome, with a secret in all that was said."""

    async def run():
        steps = [calls("look", arguments=f'{{"x": "{SECRET}"}}'), SECRET, ConnectionError(SECRET), calls("pay"), SECRET]
        manager = managed(store, agent("support", *steps, tools=[look, pay]))
        session_id = await opened(manager)
        await manager.send_message(session_id, SECRET, context={"token": SECRET})
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, SECRET)
        await manager.send_message(session_id, SECRET)
        await manager.resume(session_id, reject={"c1": SECRET})
        await manager.delete_session(session_id)

    asyncio.run(run())


def test_the_log_never_holds_what_was_said(store, caplog):
    caplog.set_level(logging.DEBUG, "agents_sessions")
    whole_life(store)
    records = of_ours(caplog)
    assert records
    for record in records:
        assert SECRET not in logging.Formatter().format(record)


def test_the_log_names_session_agent_and_turn(caplog):
    caplog.set_level(logging.INFO, "agents_sessions")
    reply = turn(MemoryStore(), agent("support", "hi"))
    assert [record.getMessage() for record in of_ours(caplog)] == [
        f"turn {reply.turn_id} begins on session 's' of agent 'support'",
        f"turn {reply.turn_id} of session 's' of agent 'support' ends: completed",
    ]


def test_a_turn_that_fails_is_a_warning(caplog):
    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "hello")

    turn(MemoryStore(), agent("support", ConnectionError(SECRET)), act=run)
    (record,) = of_ours(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith("is failed: ConnectionError")


def test_an_interrupted_turn_is_a_warning(caplog):
    async def run(manager, session_id):
        left = [item_entry({"role": "user", "content": SECRET}, turn="dead")]
        await manager.store.append(SessionKey("support", session_id), left)
        await manager.send_message(session_id, "hello")

    store = MemoryStore()
    turn(store, agent("support", "hi"), act=run)
    assert "turn dead of session 's' of agent 'support' was interrupted before its end was stored" in caplog.text
    assert stored(store)[:2] == ["user", "interrupted"]


def test_a_listener_can_be_decorated():
    events = []

    async def run(manager, session_id):
        @manager.on(TurnFinished)
        async def finished(event: TurnFinished) -> None:
            events.append(event.last_agent)

        await manager.send_message(session_id, "hello")
        return finished

    assert asyncio.iscoroutinefunction(turn(MemoryStore(), agent("support", "hi"), act=run))
    assert events == ["support"]


@pytest.mark.parametrize("kind", ["TurnFinished", int, None, (TurnFinished, TurnFailed)])
def test_a_kind_that_is_no_class_of_events_is_refused_at_once(kind):
    with pytest.raises(TypeError, match=r"kind must be TurnEvent or one of its classes, such as TurnFinished, not "):
        managed(MemoryStore()).on(kind, print)
