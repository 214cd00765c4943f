"""A store whose turns hold leases."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from time import monotonic

from agents_sessions.concurrency import process
from agents_sessions.concurrency.settle import settle
from agents_sessions.errors import SessionBusyError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.ids import check_id, check_key
from agents_sessions.stores.base import TurnLock
from agents_sessions.stores.codec import PLAIN, Codec
from agents_sessions.stores.leases.keeper import Keeper
from agents_sessions.stores.leases.lease import Claim, Lease, LeaseEngine, Taken, new_claim
from agents_sessions.stores.rows.store import WRITE_TIMEOUT, RowStore

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks of one who waits for another process."""


class LeaseStore(RowStore):
    """Sessions on a server, for processes of any number of machines.

    Args:
        engine: The transport.
        codec: How bodies, facts and sidecars become bytes.
    """

    _engine: LeaseEngine

    def __init__(self, engine: LeaseEngine, *, codec: Codec = PLAIN) -> None:
        super().__init__(engine, codec=codec)
        self.lock_grace = engine.terms.lease
        self._keeper = Keeper(engine)

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[TurnLock]:
        check_key(key)
        begun = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(process.turn_takers.hold(self.place(key), timeout))
            except TimeoutError:
                raise SessionBusyError(key, monotonic() - begun, process.this_process()) from None
            lease, fence = await self._take(key, begun, timeout)
            stack.push_async_callback(self._let_go, lease)
            with lease.watched():
                yield TurnLock(key, fence)

    async def is_running(self, key: SessionKey) -> bool:
        check_key(key)
        return await self._read(partial(self._engine.is_held, key))

    async def _take(self, key: SessionKey, begun: float, timeout: float | None) -> tuple[Lease, int]:
        """Wait until the lock is free, and take it."""
        claim = new_claim(key)
        try:
            async for asked in _looks(begun, timeout):
                taken = await settle(self._read(partial(self._engine.acquire, claim, process.this_process())))
                if taken is None:
                    raise SessionNotFoundError(key)
                if taken.fence:
                    return self._held(claim, asked), taken.fence
            raise _busy(key, begun, taken or Taken())
        except BaseException:
            await settle(self._forget(claim))  # the last try may have taken it
            raise

    def _held(self, claim: Claim, asked: float) -> Lease:
        self._last_seen.forget(claim.key)  # who had the lock before may have written
        lease = Lease(claim, self._engine.terms, asked)
        self._keeper.keep(lease)
        return lease

    async def _let_go(self, lease: Lease) -> None:
        self._keeper.drop(lease)
        await settle(self._forget(lease.claim))

    async def _forget(self, claim: Claim) -> None:
        with contextlib.suppress(ConnectionError):  # then it ends by itself
            await self._read(partial(self._engine.release, claim))

    @contextlib.asynccontextmanager
    async def reserve(self, session_id: str) -> AsyncIterator[None]:
        check_id(session_id)
        begun, nonce = monotonic(), secrets.token_hex(12)
        async with super().reserve(session_id):
            await self._wait(partial(self._engine.reserve, session_id, nonce), session_id, begun)
            try:
                yield
            finally:
                await settle(self._unreserve(session_id, nonce))

    async def _wait(self, take: Callable[[], bool], session_id: str, begun: float) -> None:
        async for _ in _looks(begun, WRITE_TIMEOUT):
            if await settle(self._read(take)):
                return
        raise SessionBusyError(session_id, monotonic() - begun, "another process")

    async def _unreserve(self, session_id: str, nonce: str) -> None:
        with contextlib.suppress(ConnectionError):
            await self._read(partial(self._engine.unreserve, session_id, nonce))


async def _looks(begun: float, timeout: float | None) -> AsyncIterator[float]:
    """Yield the time before each look at a lock, the last one when the timeout is over."""
    pause = FIRST_PAUSE
    while True:
        yield (asked := monotonic())
        left = LONGEST_PAUSE if timeout is None else begun + timeout - asked
        if left <= 0:
            return
        await asyncio.sleep(min(left, pause * random.uniform(0.5, 1)))  # noqa: S311 -- so that waiters do not meet
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _busy(key: SessionKey, begun: float, taken: Taken) -> SessionBusyError:
    return SessionBusyError(key, monotonic() - begun, taken.holder, timedelta(seconds=max(0.0, taken.held_for)))
