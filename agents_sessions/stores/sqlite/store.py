"""Sessions in one SQLite file, for any number of processes of one machine."""

import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic

from agents_sessions.concurrency import process
from agents_sessions.errors import SessionBusyError
from agents_sessions.keys import SessionKey
from agents_sessions.model.ids import check_key
from agents_sessions.stores.base import Durability, TurnLock
from agents_sessions.stores.codec import PLAIN, Codec
from agents_sessions.stores.file.turn_lock import await_lock, this_process
from agents_sessions.stores.rows.settings import check_durability, check_name
from agents_sessions.stores.rows.store import WRITE_TIMEOUT, RowStore
from agents_sessions.stores.sqlite.database import Database, check_path
from agents_sessions.stores.sqlite.engine import SQLiteEngine
from agents_sessions.stores.sqlite.turns import TurnFiles


class SQLiteStore(RowStore):
    """Sessions in one SQLite file, for any number of processes of one machine.

    Args:
        path: The file; `~` is the user's own. It is made by the first use, with mode 0600.
        durability: `full` syncs every acknowledged write, so that it survives a power cut; `process` leaves that to
            the kernel, so that it survives the death of the process only.
        create_tables: Whether missing tables are made. Without, a file that lacks them is a `SchemaError`.
        table_prefix: What the names of all tables and views begin with, where an application keeps others in the file.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "sessions.db",
        *,
        durability: Durability = "full",
        create_tables: bool = True,
        table_prefix: str = "",
        codec: Codec = PLAIN,
    ) -> None:
        check_durability(durability)
        if table_prefix:
            check_name("table_prefix", table_prefix)
        self.path = check_path(path)
        database = Database(self.path, durable=durability == "full", create_tables=create_tables, prefix=table_prefix)
        super().__init__(SQLiteEngine(database, table_prefix), codec=codec)
        self._turns = TurnFiles(self.path.with_name(f"{self.path.name}-turns"))

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[TurnLock]:
        begun = monotonic()
        check_key(key)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(process.turn_takers.hold(self.place(key), timeout))
            except TimeoutError:
                raise SessionBusyError(key, monotonic() - begun, this_process()) from None
            take = partial(self._turns.try_take, key, "\0".join(key))
            stack.enter_context(await await_lock(take, key, begun, timeout))
            yield TurnLock(key)

    @contextlib.asynccontextmanager
    async def reserve(self, session_id: str) -> AsyncIterator[None]:
        begun, key = monotonic(), SessionKey("*", session_id)
        async with super().reserve(session_id):
            with await await_lock(partial(self._turns.try_take, key, session_id), key, begun, WRITE_TIMEOUT):
                yield
