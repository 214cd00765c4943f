"""The contract of `agents_sessions.stores.base` as a test class, one module for each heading.

A backend proves itself in a few lines::

    class TestMyStore(StoreContract):
        async def make_store(self, folder):
            return MyStore(f"my://{folder}")

        def opener(self, store):
            return functools.partial(MyStore, store.url)

It needs pytest and no plugin. The name of a test is the promise that it holds. To read it, begin with `part`, which
says what a subclass overrides; `bounds` is how a test runs, `samples` the ids and items that the tests try.
"""

from importlib.resources import files

import pytest

# Before they are imported, so that a failed assertion shows its values to the author of a backend.
pytest.register_assert_rewrite(
    *(f"{__name__}.{each.name.removesuffix('.py')}" for each in files(__name__).iterdir() if each.name != "__init__.py")
)

from agents_sessions.testing.contract.store_contract import StoreContract  # noqa: E402

__all__ = ["StoreContract"]
