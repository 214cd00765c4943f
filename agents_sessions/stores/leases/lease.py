"""One lease, and what an engine does with leases."""

import asyncio
import contextlib
import secrets
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple
from weakref import ref

from agents_sessions.errors import TurnLostError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.rows.engine import Engine

SHARE_OF_DEADLINE = 0.9
"""The part of a lease after which its holder gives up: the server's clock may run faster than ours."""


class Terms(NamedTuple):
    """How long things may take, in seconds."""

    lease: float = 30.0
    """How long the lock of a process that died stays taken, at most."""
    patience: float = 600.0
    """How long an event loop may be blocked before its turns are given up."""

    def check(self) -> None:
        """Refuse a lease that is none.

        Raises:
            ValueError: It is not from a tenth of a second to a day.
        """
        if not isinstance(self.lease, int | float) or not 0.1 <= self.lease <= 86400:
            raise ValueError(f"lease must be from 0.1 to 86400 seconds, not {self.lease!r}")


class Taken(NamedTuple):
    """What became of a try to take a lock: the fence, or who has it."""

    fence: int = 0
    holder: str = ""
    held_for: float = 0.0


class Claim(NamedTuple):
    """Who wants a lock, or has it."""

    key: SessionKey
    nonce: str
    """Random, so that a try whose answer was lost finds itself."""


class LeaseEngine(Engine):
    """An engine whose server keeps the locks of turns."""

    terms: Terms

    @abstractmethod
    def acquire(self, claim: Claim, holder: str) -> Taken | None:
        """Take the lock of a session if it is free, or its lease has ended; None if there is no such session."""

    @abstractmethod
    def renew(self, claims: Sequence[Claim]) -> Collection[str]:
        """Let leases begin anew, and return the nonces of those that are still held. Gives up on the first error."""

    @abstractmethod
    def release(self, claim: Claim) -> None:
        """Free a lock, if the claim still has it."""

    @abstractmethod
    def is_held(self, key: SessionKey) -> bool:
        """Tell whether someone has the lock of a session, and its lease has not ended."""

    @abstractmethod
    def reserve(self, name: str, nonce: str) -> bool:
        """Take the right to make a session of an id, for the time of one lease; tell whether it was free."""

    @abstractmethod
    def unreserve(self, name: str, nonce: str) -> None:
        """Give that right back."""


@dataclass(eq=False, slots=True)
class Lease:
    """A lock that is held. The keeper renews it; the loop of the holder watches it."""

    claim: Claim
    terms: Terms
    asked: float
    """When the newest renewal that succeeded was sent: the server counts from later."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    task: "ref[asyncio.Task[Any]] | None" = None
    answered: float = field(default_factory=monotonic)
    """When the loop last showed that it runs."""
    is_lost: bool = False
    _has_cancelled: bool = False
    _timer: asyncio.TimerHandle | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be renewed: not if its loop is gone, or was blocked for too long."""
        return not (self.is_lost or self.loop.is_closed() or monotonic() - self.answered > self.terms.patience)

    def renewed(self, asked: float) -> None:
        """Count the lease from a renewal that was sent at this time."""
        self.asked = asked

    def lose(self) -> None:
        """Tell the holder that it has lost the lock. For any thread."""
        self.is_lost = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._look)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Cancel the current task when the lease is lost, and raise that it was.

        Raises:
            TurnLostError: It was.
        """
        task = asyncio.current_task()
        self.task = None if task is None else ref(task)
        self._look()
        try:
            yield
        except asyncio.CancelledError:
            # Of two who cancel, the other one wins: its cancellation is still to be raised.
            if not self._has_cancelled or task is None or task.uncancel() > 0:
                raise
            raise TurnLostError(self.claim.key) from None
        finally:
            self.task = None
            if self._timer is not None:
                self._timer.cancel()

    def _look(self) -> None:
        """See whether the lease still holds, and come again. Runs in the loop."""
        now = self.answered = monotonic()
        task = None if self.task is None else self.task()
        if task is None or task.done() or self._has_cancelled:
            return
        deadline = self.asked + self.terms.lease * SHARE_OF_DEADLINE
        if self.is_lost or now >= deadline:
            self.is_lost = self._has_cancelled = True
            task.cancel()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(min(self.terms.lease / 3, deadline - now) + 0.001, self._look)


def new_claim(key: SessionKey) -> Claim:
    """Return a claim that no other one equals."""
    return Claim(key, secrets.token_hex(12))
