"""How the contract of the stores says that a store breaks it."""

import ast
import asyncio
import contextlib
from functools import partial
from pathlib import Path

import pytest

from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract import bounds
from agents_sessions.testing.contract.bounds import NotKeptInTimeError, as_test, ends, in_threads, run
from agents_sessions.testing.contract.part import ContractPart


async def for_ever():
    await asyncio.sleep(600)


async def ignore_cancellation():
    for _ in range(2):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(bounds, "MARGIN", 0.02)
    monkeypatch.setattr(bounds, "PATIENCE", 0.02)
    monkeypatch.setattr(bounds, "run", partial(run, within=0.02))


def test_run_returns_what_a_coroutine_returns():
    assert run(asyncio.sleep(0, "done")) == "done"


def test_run_raises_what_a_coroutine_raises():
    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fail())


def test_a_coroutine_that_does_not_end_is_given_up_and_the_cause_shows_where_it_waited():
    with pytest.raises(NotKeptInTimeError, match=r"did not end within 0\.02 seconds") as caught:
        run(for_ever(), within=0.02)
    assert caught.value.__cause__.__traceback__ is not None


def test_a_coroutine_that_ignores_its_cancellation_is_given_up(soon):
    with pytest.raises(NotKeptInTimeError, match="ignores its cancellation"):
        run(ignore_cancellation(), within=0.02)
    bounds._given_up.pop().close()


def test_a_test_that_does_not_end_says_which_promise_was_not_kept(soon):
    async def test_the_turn_lock_lets_one_in():
        await for_ever()

    with pytest.raises(NotKeptInTimeError, match=r"^the turn lock lets one in: it did not end"):
        as_test(test_the_turn_lock_lets_one_in)()


def test_a_task_that_does_not_end_is_a_failure(soon):
    async def wait():
        await ends(asyncio.create_task(for_ever()))

    with pytest.raises(AssertionError, match="1 of 1 tasks did not end"):
        run(wait())


@pytest.mark.parametrize("failure", [ZeroDivisionError(), pytest.fail.Exception("it fails")])
def test_what_a_thread_raises_is_raised(failure):
    async def work(number):
        if number == 1:
            raise failure

    with pytest.raises(type(failure)):
        in_threads(2, work)


def test_a_coroutine_that_a_subclass_adds_is_a_test_too():
    class More(ContractPart):
        async def test_it_runs(self):
            done.append(asyncio.get_running_loop())

    done = []
    More().test_it_runs()
    assert len(done) == 1


def test_a_store_is_closed_by_its_aclose():
    closed = []

    class Closing(MemoryStore):
        async def aclose(self):
            closed.append(self)

    async def work():
        store = Closing()
        await StoreContract().close_store(store)
        async with StoreContract().opened(Closing):
            pass
        return store

    store = run(work())
    assert closed[0] is store
    assert len(closed) == 2


@pytest.mark.parametrize("module", sorted(Path(bounds.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_no_fixture_of_the_contract_is_for_every_test(module):
    """The parts are one class: such a fixture in one of them, if it skips, skips the whole contract."""
    keywords = [node.arg for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.keyword)]
    assert "autouse" not in keywords
