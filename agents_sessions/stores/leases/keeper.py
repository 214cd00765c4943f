"""The thread that renews the leases of an engine.

It is a thread and no task: a tool that blocks the event loop must not cost the turn its lock. It works for one engine
alone, so that a server that hangs holds up no leases of another one.
"""

import logging
import threading
from time import monotonic

from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.stores.leases.lease import Lease, LeaseEngine

logger = logging.getLogger("agents_sessions")

_RENEWALS = 3
"""How often a lease is renewed in its time."""


class Keeper:
    """Renews leases, all of an engine in one call. Its thread runs while there are any."""

    def __init__(self, engine: LeaseEngine) -> None:
        self._engine = engine
        self._thread: threading.Thread | None = None
        self._renew()
        renew_in_child(self)

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._leases.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="agents-sessions-leases", daemon=True)
                self._thread.start()

    def drop(self, lease: Lease) -> None:
        """Renew a lease no more."""
        with self._changed:
            self._leases.discard(lease)
            if not self._leases:
                self._changed.notify()

    def _work(self) -> None:
        pause = self._engine.terms.lease / _RENEWALS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._leases, timeout=pause)
                leases = [lease for lease in self._leases if lease.is_wanted]
                self._leases.intersection_update(leases)
                if not leases:
                    self._thread = None
                    return
            pause = self._renew_all(leases)

    def _renew_all(self, leases: list[Lease]) -> float:
        """Renew leases, and return when to come again: soon, if the server did not answer."""
        asked = monotonic()
        try:
            held = self._engine.renew([lease.claim for lease in leases])
        except Exception as error:  # noqa: BLE001 -- whatever it is, the leases may still be renewed in time
            logger.warning("%d turns could not renew their locks: %s", len(leases), type(error).__name__)
            return min(1.0, self._engine.terms.lease / 10)
        for lease in leases:
            if lease.claim.nonce in held:
                lease.renewed(asked)
            else:
                self.drop(lease)
                lease.lose()
        return self._engine.terms.lease / _RENEWALS

    def _renew(self) -> None:
        # In a forked child: the leases are the parent's, and its thread is not here.
        self._changed = threading.Condition()
        self._leases: set[Lease] = set()
        self._thread = None
