"""Keys of encrypted sessions, renewed: `manager.encryption`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents_sessions.errors import SessionCorruptedError, SessionError, SessionNotFoundError, UnsupportedError

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.base import SessionStore

_UNREAD = frozenset({"damaged-file", "newer-file", "unreadable-file", "misnamed-file"})


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What became of a rotation of keys."""

    rotated: int
    """How many sessions were under another key and are under the current one now."""
    current: int
    """How many were under the current key already."""
    failed: tuple[tuple[SessionKey | str, SessionError], ...]
    """Those that could not be rotated, or be read at all, each with what was in the way. They still need their keys."""

    @property
    def is_complete(self) -> bool:
        """Whether no session needs an old key any more."""
        return not self.failed


class Encryption:
    """What can be done about the keys of a store.

    Args:
        store: The store.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def rotate_keys(self, *, on_progress: Callable[[int, int], object] | None = None) -> RotationReport:
        """Encrypt the data key of every session under the current master key, those in the trash too.

        No entry is decrypted, and sessions can be used meanwhile. One who is killed on the way can begin again: what is
        done is not done twice. Keep the old keys until a report `is_complete`.

        Args:
            on_progress: Called with the number of sessions that were looked at and that of all, after each.

        Raises:
            UnsupportedError: The store does not encrypt.
        """
        if not self._store.encrypted or not self._store.is_whole:
            raise UnsupportedError(repr(self._store), "rotate keys: it does not encrypt, or is the view of one user")
        places, failed = await self._places()
        rotated = current = 0
        for number, place in enumerate(places, 1):
            try:
                if await self._store.renew_key(place):
                    rotated += 1
                else:
                    current += 1
            except SessionNotFoundError:
                pass  # it was deleted meanwhile
            except SessionError as error:
                failed.append((place, error))
            except LookupError:
                pass  # it was brought back from the trash: the next rotation finds it
            if on_progress is not None:
                on_progress(number, len(places))
        return RotationReport(rotated, current, tuple(failed))

    async def _places(self) -> tuple[list[SessionKey | str], list[tuple[SessionKey | str, SessionError]]]:
        """Return where all sessions are, and those that cannot be read and hence not be rotated."""
        places: list[SessionKey | str] = [info.key async for info in self._store.scan()]
        places += [aside.token for aside in await self._store.list_aside()]
        failed: list[tuple[SessionKey | str, SessionError]] = []
        async for finding in self._store.check():
            if finding.code in _UNREAD:
                where: SessionKey | str = finding.key or finding.place
                failed.append((where, SessionCorruptedError(where, finding.place, finding.detail or finding.code)))
        return places, failed
