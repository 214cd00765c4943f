import asyncio
import contextlib
import contextvars
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from agents import function_tool
from agents.testing import ModelStep
from script import agent, calls, check_totals, echo, history, managed, opened, says, stored, turn

from agents_sessions.errors import SessionBusyError, SessionReentryError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns import lock
from agents_sessions.turns.lock import check_reentry, exclusive_turn

KEY = SessionKey("support", "s")


def alternates(store, turns: int) -> bool:
    spoken = [kind for kind in stored(store) if kind in ("user", "assistant")]
    return spoken == ["user", "assistant"] * turns


def test_concurrent_messages_alternate_with_their_answers(store):
    async def four(manager, session_id):
        await asyncio.gather(*(manager.send_message(session_id, str(number)) for number in range(4)))

    turn(store, echo(pause=0.005), act=four)
    assert alternates(store, 4)
    check_totals(store)


def test_concurrent_messages_are_served_in_the_order_of_their_coming(store):
    async def five(_manager, session_id):
        manager = managed(store, echo(pause=0.003))  # one that must look for the session
        replies = await asyncio.gather(*(manager.send_message(session_id, str(number)) for number in range(5)))
        return [reply.text for reply in replies]

    texts = turn(store, echo(pause=0.003), act=five)
    assert texts == ["0", "0 1", "0 1 2", "0 1 2 3", "0 1 2 3 4"]


def test_messages_to_different_sessions_do_not_wait_for_each_other(store):
    async def two():
        meeting = asyncio.Barrier(2)

        @function_tool
        async def meet() -> str:
            await asyncio.wait_for(meeting.wait(), 60)
            return "met"

        manager = managed(store, agent("support", calls("meet"), calls("meet", "c2"), "a", "b", tools=[meet]))
        ids = [await opened(manager, session_id=name) for name in ("one", "two")]
        return await asyncio.gather(*(manager.send_message(session_id, "go") for session_id in ids))

    assert {reply.status for reply in asyncio.run(two())} == {"completed"}


def test_threads_with_their_own_loops_take_turns(store):
    manager = managed(store, echo(pause=0.001))
    asyncio.run(opened(manager))

    def send(number: int) -> None:
        for part in range(3):
            asyncio.run(manager.send_message("s", f"{number}.{part}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alternates(store, 12)


def send_messages(root: str) -> None:
    manager = managed(FileStore(root, durability="process"), echo())

    async def run() -> None:
        for number in range(25):
            await manager.send_message("s", f"{os.getpid()} {number}")

    asyncio.run(run())


def test_processes_take_turns(file_store):
    asyncio.run(opened(managed(file_store, echo())))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=send_messages, args=(str(file_store.root),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert alternates(file_store, 100)
    assert check_totals(file_store).turns == 100


def hold(root: str, ready) -> None:
    async def run() -> None:
        async with FileStore(root, durability="process").turn_lock(KEY):
            ready.set()
            await asyncio.sleep(60)

    asyncio.run(run())


@pytest.fixture
def held(file_store):
    """A process that holds the turn lock."""
    asyncio.run(opened(managed(file_store, echo())))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(str(file_store.root), ready))
    holder.start()
    assert ready.wait(30)
    yield holder
    holder.kill()
    holder.join()


def test_a_busy_session_names_the_process_that_holds_it(file_store, held):
    with pytest.raises(SessionBusyError, match=rf"held by process {held.pid} .* gave up after 0.1 s") as caught:
        asyncio.run(managed(file_store, echo()).send_message("s", "hello", lock_timeout=0.1))
    assert caught.value.held_for.total_seconds() >= 0.09


def test_a_busy_session_takes_no_message(file_store, held):
    with pytest.raises(SessionBusyError):
        asyncio.run(managed(file_store, echo(), lock_timeout=0).send_message("s", "hello"))
    assert stored(file_store) == []


def test_the_lock_of_a_killed_process_is_free_at_once(file_store, held):
    os.kill(held.pid, signal.SIGKILL)
    held.join()
    assert asyncio.run(managed(file_store, echo()).send_message("s", "hello", lock_timeout=0)).text == "hello"


class Pausing:
    """An agent that says when its turn has begun, and answers when it may."""

    def __init__(self) -> None:
        self.begun, self.may_answer = asyncio.Event(), asyncio.Event()
        self.agent = agent("support", ModelStep.respond(self._answer), "next")

    async def _answer(self, _call):
        self.begun.set()
        await self.may_answer.wait()
        return says("answer")


async def begin(pausing, manager, session_id, content="one"):
    """Return the task of a turn that holds its session."""
    sending = asyncio.create_task(manager.send_message(session_id, content))
    await asyncio.wait_for(pausing.begun.wait(), 30)
    return sending


async def still_waits(task) -> bool:
    """Give a task time to end which should not, and say whether it waits."""
    done, _ = await asyncio.wait({task}, timeout=0.05)
    return not done


def test_a_holder_in_this_process_is_named_with_its_age(store):
    pausing = Pausing()

    async def run(manager, session_id):
        begun = time.monotonic()
        first = await begin(pausing, manager, session_id)
        await asyncio.sleep(0.02)
        with pytest.raises(SessionBusyError, match=r"this process|process \d+") as caught:
            await manager.send_message(session_id, "two", lock_timeout=0)
        elapsed = time.monotonic() - begun
        pausing.may_answer.set()
        await first
        return caught.value.held_for.total_seconds(), elapsed

    age, elapsed = turn(store, pausing.agent, act=run)
    assert 0.02 <= age <= elapsed


def inward(store, send):
    """An agent with a tool that does `send` and says what became of it."""

    @function_tool
    async def again() -> str:
        try:
            await send()
        except SessionReentryError:
            return "refused"
        return "done"

    return agent("support", calls("again"), "end", tools=[again])


def outputs(reply):
    return [entry.item["output"] for entry in reply.entries if entry.type == "item" and "output" in entry.item]


def test_a_tool_cannot_send_to_its_own_session(store):
    async def run():
        manager = managed(store, inward(store, lambda: manager.send_message("s", "more")))
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["refused"]


@pytest.mark.parametrize("act", ["clear_session", "delete_session", "retry", "resume"])
def test_a_tool_cannot_change_the_history_that_it_runs_in(store, act):
    async def run():
        manager = managed(store, inward(store, lambda: getattr(manager, act)("s")))
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["refused"]


def test_a_tool_cannot_stream_to_its_own_session(store):
    async def run():
        manager = managed(store, inward(store, lambda: manager.stream_message("s", "more", lock_timeout=0.1).reply()))
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["refused"]


def test_a_tool_cannot_send_to_its_own_session_through_another_manager(file_store):
    other = managed(FileStore(file_store.root / ".." / "sessions", durability="process"), echo())

    async def run():
        manager = managed(file_store, inward(file_store, lambda: other.send_message("s", "more")))
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["refused"]


def test_a_tool_cannot_send_to_the_session_of_a_turn_that_waits_for_it(store):
    """Through a session in between."""

    async def run():
        back = inward(store, lambda: manager.send_message("s", "more"))
        back.name = "helper"

        @function_tool
        async def ask_helper() -> str:
            return outputs(await manager.send_message("h", "help"))[0]

        support = agent("support", calls("ask_helper"), "end", tools=[ask_helper])
        manager = managed(store, support, back)
        await opened(manager, "helper", "h")
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["refused"]


def test_a_tool_can_send_to_another_session(store):
    async def run():
        @function_tool
        async def ask_helper() -> str:
            return (await manager.send_message("h", "help")).text

        support = agent("support", calls("ask_helper"), "end", tools=[ask_helper])
        manager = managed(store, support, echo("helper"))
        await manager.create_session("helper", session_id="h", session_type="sub_agent")
        return await manager.send_message(await opened(manager), "hello")

    assert outputs(asyncio.run(run())) == ["help"]


def test_a_task_that_a_tool_left_behind_can_send_later(store):
    async def run():
        later, over = [], asyncio.Event()

        async def send() -> None:
            await over.wait()
            await manager.send_message("s", "later")

        @function_tool
        async def leave() -> str:
            later.append(asyncio.create_task(send()))
            return "left"

        manager = managed(store, agent("support", calls("leave"), "end", "answer", tools=[leave]))
        await manager.send_message(await opened(manager), "hello")
        over.set()
        await later[0]

    asyncio.run(run())
    assert stored(store)[-4:] == ["user", "assistant", "usage:1", "completed"]


@pytest.mark.parametrize("act", ["clear_session", "delete_session"])
def test_a_change_of_the_history_waits_for_the_turn(store, act):
    pausing = Pausing()

    async def run(manager, session_id):
        sending = await begin(pausing, manager, session_id)
        changing = asyncio.create_task(getattr(manager, act)(session_id))
        assert await still_waits(changing)
        pausing.may_answer.set()
        await changing
        assert sending.done()
        return await sending

    assert turn(store, pausing.agent, act=run).status == "completed"


def test_a_failed_turn_sets_the_session_free(store):
    async def run(manager, session_id):
        with pytest.raises(ValueError, match="no"):
            await manager.send_message(session_id, "one")
        return await manager.send_message(session_id, "two", lock_timeout=0)

    assert turn(store, agent("support", ValueError("no"), "yes"), act=run).text == "yes"


def test_a_message_that_waits_can_be_cancelled(store):
    pausing = Pausing()

    async def run(manager, session_id):
        first = await begin(pausing, manager, session_id)
        second = asyncio.create_task(manager.send_message(session_id, "two"))
        assert await still_waits(second)
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled()
        pausing.may_answer.set()
        await first
        return await manager.send_message(session_id, "three", lock_timeout=0)

    assert turn(store, pausing.agent, act=run).text == "next"
    assert alternates(store, 2)


def test_nothing_is_remembered_of_a_turn_that_is_over(store):
    turn(store, echo())
    assert lock.open_turns() == 0


def test_a_hold_is_no_longer_the_callers_own_after_its_end(store):
    async def run():
        manager = managed(store, echo())
        await opened(manager)
        async with exclusive_turn(store, KEY, 1):
            with pytest.raises(SessionReentryError):
                await manager.send_message("s", "one")
        await manager.send_message("s", "two")
        return await history(store)

    assert asyncio.run(run())[0] == "user"


async def refusal(store, key=KEY):
    """What one meets who is no part of any turn."""

    async def wait():
        async with exclusive_turn(store, key, 0):
            pytest.fail("two turns at once")

    with pytest.raises(SessionBusyError) as caught:
        await asyncio.create_task(wait(), context=contextvars.Context())
    return caught.value


def test_a_refusal_says_who_holds_the_session_and_since_when(store):
    async def run():
        await opened(managed(store, echo()))
        async with exclusive_turn(store, KEY, None):
            await asyncio.sleep(0.02)
            return await refusal(store)

    error = asyncio.run(run())
    assert (error.session_id, error.agent_id) == KEY[::-1]
    assert "process" in error.holder
    assert 0.02 <= error.held_for.total_seconds() < 10
    assert error.waited < 10
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_an_age_that_no_one_knows_is_not_made_up():
    async def run():
        store = MemoryStore()
        async with store.turn_lock(KEY):
            return await refusal(store)

    assert asyncio.run(run()).held_for is None


def test_an_age_that_the_store_knows_is_not_changed(monkeypatch):
    known = SessionBusyError(SessionKey("support", "s"), 1.0, "process 5", timedelta(hours=1))

    @contextlib.asynccontextmanager
    async def busy(_key, _timeout):
        raise known
        yield

    async def run():
        store = MemoryStore()
        async with exclusive_turn(store, KEY, None):
            monkeypatch.setattr(store, "turn_lock", busy)
            return await refusal(store)

    assert asyncio.run(run()) is known


def test_one_who_holds_two_sessions_can_wait_for_neither():
    async def run():
        store, other = MemoryStore(), SessionKey("support", "t")
        async with exclusive_turn(store, KEY, 0):
            async with exclusive_turn(store, other, 0):
                for key in (KEY, other):
                    with pytest.raises(SessionReentryError, match=key.session_id):
                        check_reentry(store, key)
            check_reentry(store, other)
            with pytest.raises(SessionReentryError):
                check_reentry(store, KEY)
        check_reentry(store, KEY)

    asyncio.run(run())


def test_a_task_that_holds_one_session_after_the_other_remembers_none():
    async def run():
        store = MemoryStore()
        for number in range(3):
            async with exclusive_turn(store, SessionKey("support", str(number)), 0):
                pass
        return lock._holdings.get()

    assert asyncio.run(run()) == ()


def test_a_session_of_the_same_name_in_another_store_is_another_one():
    async def run():
        async with exclusive_turn(MemoryStore(), KEY, 0):
            check_reentry(MemoryStore(), KEY)

    asyncio.run(run())


def test_an_error_ends_a_hold():
    async def run():
        store = MemoryStore()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with exclusive_turn(store, KEY, 0):
                    raise ZeroDivisionError
        check_reentry(store, KEY)

    asyncio.run(run())
    assert lock.open_turns() == 0


def test_a_task_that_is_left_behind_is_no_part_of_the_hold_once_it_is_over():
    async def run():
        store, over = MemoryStore(), asyncio.Event()

        async def later():
            await over.wait()
            async with exclusive_turn(store, KEY, 0):
                return "let in"

        async with exclusive_turn(store, KEY, 0):
            task = asyncio.create_task(later())
        over.set()
        return await task

    assert asyncio.run(run()) == "let in"
