"""The locks of turns: files beside the database, which the kernel frees when their holder dies."""

import contextlib
import hashlib
from pathlib import Path

from agents_sessions.errors import SessionIOError, SessionPathError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.turn_lock import NO_DESCRIPTOR, Holder, Turn, try_turn


class TurnFiles:
    """Locks in a folder.

    Args:
        root: The folder. It is made by the first lock.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def try_take(self, key: SessionKey, name: str) -> contextlib.ExitStack | Holder:
        """Take the lock of a name, or say who has it and for how long.

        Raises:
            SessionIOError: The operating system refused.
        """
        file = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        try:
            with io.directory(self._root, ".", create=True, durable=False) as folder:
                taken = try_turn(folder, file)
        except io.NotRegular as error:
            raise SessionPathError(key, self._root, str(error)) from None
        except OSError as error:
            raise SessionIOError(
                key, self._root, f"the operating system refused: {error.strerror}", error.errno
            ) from error
        if isinstance(taken, Holder):
            return taken
        if io.is_scarce(taken.fd):
            self._release(taken)
            return NO_DESCRIPTOR
        stack = contextlib.ExitStack()
        stack.callback(self._release, taken)
        return stack

    def _release(self, taken: Turn) -> None:
        try:
            with io.directory(self._root, ".") as folder:
                taken._replace(folder=folder).release()
        except (OSError, io.NotRegular):
            taken.abandon()
