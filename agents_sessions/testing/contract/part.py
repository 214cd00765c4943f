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

    lock_grace: float = 1.0
    """Seconds within which the turn lock of a killed process must be free: the lease of a backend that has leases."""

    async def make_store(self, folder: Path) -> SessionStore:
        """Return an empty store. `folder` is an empty folder that is the test's own."""
        raise NotImplementedError

    async def close_store(self, store: SessionStore) -> None:
        """Give up what a store holds, and what `make_store` made for it. Without an override, calls its `aclose`."""
        await close(store)

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
            await close(second)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(test):
                setattr(cls, name, as_test(test))


async def close(store: SessionStore) -> None:
    """Give up what a store holds, if it is of a kind that holds something."""
    aclose = getattr(store, "aclose", None)
    if aclose is not None:
        await aclose()
