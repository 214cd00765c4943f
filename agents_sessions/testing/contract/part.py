"""What a subclass of the contract overrides, and the fixtures of all its parts."""

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import as_test, run

Opener = Callable[[], SessionStore]


class ContractPart:
    """The base of every part of the contract: its tests are coroutines, each in an event loop of its own."""

    lock_grace: float | None = None
    """Seconds within which the turn lock of a killed process must be free; None takes what the store says of itself."""

    async def make_store(self, folder: Path) -> SessionStore:
        """Return an empty store. `folder` is an empty folder that is the test's own."""
        raise NotImplementedError

    async def close_store(self, store: SessionStore) -> None:
        """Give back what a store holds, and what `make_store` made for it. Without an override, calls its `aclose`."""
        await store.aclose()

    def opener(self, store: SessionStore) -> Opener | None:
        """Return a picklable callable that opens the same data, here or in another process; None if none can."""
        del store
        return None

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SessionStore]:
        store = run(self.make_store(tmp_path))
        yield store
        run(self.close_store(store))

    @pytest.fixture
    def open_again(self, store: SessionStore) -> Opener:
        opener = self.opener(store)
        if opener is None:
            pytest.skip("no other process can open this store: `opener` returns None")
        return opener

    @contextlib.asynccontextmanager
    async def opened(self, open_again: Opener) -> AsyncIterator[SessionStore]:
        """Open the data of `store` a second time."""
        second = open_again()
        try:
            yield second
        finally:
            await second.aclose()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, value in list(vars(cls).items()):
            if name.startswith("test_"):
                test = as_test(value) if inspect.iscoroutinefunction(value) else value
                vars(test)[cls.__name__] = True  # pytest looks here too: `-k AppendContract` runs one part
                setattr(cls, name, test)
