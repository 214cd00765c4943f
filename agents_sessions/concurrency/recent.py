"""A cache of the newest things, bounded in number."""

import threading
from typing import Generic, TypeVar

from agents_sessions.concurrency.forks import renew_in_child

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """A mapping that forgets its oldest key when it grows beyond a size. Safe for threads, and in a forked child.

    Args:
        size: The largest number of keys.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[_Key, _Value] = {}
        self._mutex = threading.Lock()
        renew_in_child(self)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: _Key) -> _Value | None:
        """Return the value of a key, or None if there is none, or none any more."""
        return self._known.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        """Set the value of a key, which is now the newest."""
        with self._mutex:
            self._known.pop(key, None)
            self._known[key] = value
            if len(self._known) > self._size:
                del self._known[next(iter(self._known))]

    def forget(self, key: _Key) -> None:
        """Forget one key, if it is known."""
        with self._mutex:
            self._known.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._mutex:
            self._known.clear()

    def _renew(self) -> None:
        self._mutex = threading.Lock()
