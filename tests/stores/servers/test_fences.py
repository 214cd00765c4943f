"""A turn whose lock was taken over stores nothing, wherever it was when that happened."""

import asyncio

import psycopg
import pytest
from agents import Agent, RunConfig, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from builders import KEY, info_of, said

from agents_sessions.errors import TurnLostError
from agents_sessions.manager import SessionManager
from agents_sessions.model.history import UsageEntry


async def append(store, lock):
    await store.append(KEY, [said("late")], turn=lock)


async def rewrite(store, lock):
    await store.rewrite(KEY, lambda history: history.with_entries([]), turn=lock)


async def write_sidecar(store, lock):
    await store.write_sidecar(KEY, "a.json", b"late", turn=lock)


async def delete_sidecar(store, lock):
    await store.delete_sidecar(KEY, "a.json", turn=lock)


WRITES = pytest.mark.parametrize(
    "write", [append, rewrite, write_sidecar, delete_sidecar], ids=lambda write: write.__name__
)


async def prepare(store):
    await store.create(info_of(), [said("a")], sidecars={"a.json": b"1"})


async def look(store):
    entries = await store.entries(KEY)
    return [entry["item"]["content"] for entry in entries], await store.read_sidecar(KEY, "a.json")


@WRITES
def test_a_turn_whose_lock_was_taken_over_stores_nothing(backend, write):
    async def work():
        async with backend.open() as store:
            await prepare(store)
            async with store.turn_lock(KEY) as lock:
                backend.take_over(store, KEY)
                with pytest.raises(TurnLostError):
                    await write(store, lock)
            assert await look(store) == (["a"], b"1")
            await write(store, None)  # of no turn: as the contract says
            assert await look(store) != (["a"], b"1")

    asyncio.run(work())


@WRITES
def test_the_fence_is_looked_at_in_the_very_statement_that_writes(backend, write):
    """The lock is taken over at the last moment before the change is sent: a look before it would see nothing."""

    async def work():
        async with backend.open() as store:
            await prepare(store)
            async with store.turn_lock(KEY) as lock:
                database, verb = store._engine._database, "change_once" if backend.name == "redis" else "run"
                real = getattr(database, verb)

                def run(*arguments, **options):
                    setattr(database, verb, real)
                    backend.take_over(store, KEY)
                    return real(*arguments, **options)

                await store.load(KEY)
                if write is rewrite and backend.name == "postgres":
                    reading = getattr(database, verb)

                    def run_after_reading(*arguments, **options):
                        setattr(database, verb, run)
                        return reading(*arguments, **options)

                    setattr(database, verb, run_after_reading)
                else:
                    setattr(database, verb, run)
                with pytest.raises(TurnLostError):
                    await write(store, lock)
            assert await look(store) == (["a"], b"1")

    asyncio.run(work())


@WRITES
def test_a_write_that_waits_for_the_row_looks_at_the_fence_when_it_has_it(postgres_backend, write):
    """Another machine takes the lock, and has not committed yet: a fence that was compared before is worth nothing."""
    backend = postgres_backend

    async def work():
        async with backend.open() as store:
            await prepare(store)
            async with store.turn_lock(KEY) as lock:
                with psycopg.connect(backend.url) as other:
                    other.execute(f"UPDATE {backend.space}.session SET fence = fence + 1")
                    late = asyncio.create_task(write(store, lock))
                    await asyncio.sleep(0.2)
                    assert not late.done()
                    other.commit()
                with pytest.raises(TurnLostError):
                    await late
            assert await look(store) == (["a"], b"1")

    asyncio.run(work())


def test_every_holder_has_a_larger_number(backend):
    async def work():
        async with backend.open() as store:
            await prepare(store)
            fences = []
            for _ in range(5):
                async with store.turn_lock(KEY) as lock:
                    fences.append(lock.fence)
            assert fences == sorted(set(fences))
            assert fences[0] > 0

    asyncio.run(work())


def test_a_number_from_before_a_failover_that_lost_it_is_smaller_too(redis_backend):
    async def work():
        async with redis_backend.open() as store:
            await prepare(store)
            async with store.turn_lock(KEY) as lock:
                before = lock.fence
            store._engine._database.call("HDEL", store._engine._keys(KEY)[0], "fence")
            async with store.turn_lock(KEY) as lock:
                assert lock.fence > before

    asyncio.run(work())


class Losing(ScriptedModel):
    """A model that does something once it has answered."""

    def __init__(self, steps, after):
        super().__init__(steps)
        self._after = after

    async def get_response(self, *args, **kwargs):
        response = await super().get_response(*args, **kwargs)
        self._after()
        return response

    async def stream_response(self, *args, **kwargs):
        async for event in super().stream_response(*args, **kwargs):
            yield event
        self._after()


async def send(manager):
    return await manager.send_message(KEY.session_id, "hello")


async def stream(manager):
    return await manager.stream_message(KEY.session_id, "hello").reply()


async def assert_spent_once(manager, store):
    history = await manager.get_history(KEY.session_id)
    (lost,) = [entry for entry in history if isinstance(entry, UsageEntry) and entry.lost]
    assert (len(lost.requests), lost.turn) == (1, None)
    context = (await store.existing(KEY)).context
    assert (context.requests, context.turns) == (1, 0)


def manager_of(store, model, *tools):
    agent = Agent(name=KEY.agent_id, model=model, tools=list(tools))
    return SessionManager(store, agents=agent, run_config=RunConfig(tracing_disabled=True))


@pytest.mark.parametrize("run", [send, stream], ids=["sent", "streamed"])
def test_a_turn_that_lost_its_lock_before_its_answer_is_stored_gives_it_to_the_caller(backend, run):
    async def work():
        async with backend.open() as store:
            await store.create(info_of())
            model = Losing([[assistant_message("the answer")]], lambda: backend.take_over(store, KEY))
            manager = manager_of(store, model)
            with pytest.raises(TurnLostError, match="reply") as caught:
                await run(manager)
            assert caught.value.reply.text == "the answer"
            await assert_spent_once(manager, store)

    asyncio.run(work())


@pytest.mark.parametrize("run", [send, stream], ids=["sent", "streamed"])
def test_a_turn_that_lost_its_lock_in_the_middle_keeps_what_it_has_spent(backend, run):
    async def work():
        async with backend.open() as store:
            await store.create(info_of())
            model = ScriptedModel([[function_call("work", "{}", call_id="c1")], [assistant_message("too late")]])
            tool = function_tool(lambda: str(backend.take_over(store, KEY)), name_override="work")
            manager = manager_of(store, model, tool)
            with pytest.raises(TurnLostError) as caught:
                await run(manager)
            assert caught.value.reply is None
            await assert_spent_once(manager, store)

    asyncio.run(work())
