"""The client of a Redis or Valkey, how durable the server is, and what is done where a connection is lost."""

import hashlib
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.client import NEVER_DECODE
from redis.cluster import RedisCluster

from agents_sessions.errors import (
    DurabilityError,
    OutcomeUnknownError,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
)

Argument = bytes | str | int | float

_T = TypeVar("_T")

_LOST = (
    redis.ConnectionError,
    redis.TimeoutError,
    # A server that has become a replica, or a Cluster that is about to choose another one.
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
SOCKET_TIMEOUT = 10.0
"""Seconds after which a server that says nothing is taken for gone."""
_SYNC_MILLISECONDS = 5000


class Script:
    """A script and its digest, by which a server that knows it is asked to run it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 -- it is the server's name for a script


class Database:
    """One server, or Cluster.

    Args:
        url: Where it is; None if a client is given.
        client: A client of the user's, which stays open.
        durable: Whether a change is acknowledged only when it is on the disk of the server.
        retry_for: Seconds for which an operation is tried again while the server does not answer.
    """

    def __init__(self, url: str | None, client: Any, *, durable: bool, retry_for: float) -> None:
        self._owned = client is None
        self._client: Any = redis.Redis.from_url(url or "", socket_timeout=SOCKET_TIMEOUT) if client is None else client
        self.name = _name_of(url, self._client)
        self._durable = durable
        self._retry_for = retry_for
        self._is_cluster = isinstance(self._client, RedisCluster)
        # A transaction decodes its answers whatever is said, and a Cluster has none.
        self.takes_both = not (self._is_cluster or self._client.get_encoder().decode_responses)
        """Whether `both` may be called."""
        self._closed = self._ready = False
        self._waits = False
        """Whether each change waits for the disk. A server that syncs always needs no asking."""

    def call(self, *command: Argument) -> Any:
        """Run a command that changes nothing, or nothing that matters to do twice."""
        return self.run(lambda _: self._execute(*command))

    def ask(self, script: Script, keys: Sequence[Argument], *arguments: Argument) -> Any:
        """Run a script that changes nothing, or nothing that a crash may not lose."""
        return self.run(lambda _: self.evaluate(script, keys, arguments))

    def change(self, script: Script, keys: Sequence[Argument], *arguments: Argument) -> Any:
        """Run a script that changes something, and wait for the disk if that is promised."""
        return self.run(lambda _: self.change_once(script, keys, arguments))

    def change_once(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run a script that changes something, on one try of `run`."""
        if not self._waits:
            return self.evaluate(script, keys, arguments)
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments, **{NEVER_DECODE: True})
            pipeline.execute_command("WAITAOF", 1, 0, _SYNC_MILLISECONDS)
            result, synced = pipeline.execute(raise_on_error=False)
            if isinstance(result, redis.exceptions.NoScriptError):
                pipeline.execute_command("EVAL", script.source, len(keys), *keys, *arguments, **{NEVER_DECODE: True})
                pipeline.execute_command("WAITAOF", 1, 0, _SYNC_MILLISECONDS)
                result, synced = pipeline.execute(raise_on_error=False)
        for answer in (result, synced):
            if isinstance(answer, Exception):
                raise answer
        if synced[0] < 1:
            raise OutcomeUnknownError(self.name, "the change is made, but it did not reach the disk in time")
        return result

    def each(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands that change nothing, in one round trip, each for itself."""

        def work(_: bool) -> list[Any]:
            with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **{NEVER_DECODE: True})
                return list(pipeline.execute())

        return self.run(work) if commands else []

    def both(self, *commands: Sequence[Argument]) -> list[Any]:
        """Run commands on keys of one slot that change nothing, at one moment."""

        def work(_: bool) -> list[Any]:
            with self._client.pipeline(transaction=True) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **{NEVER_DECODE: True})
                return list(pipeline.execute())

        return self.run(work)

    def run(self, work: Callable[[bool], _T], *, once: bool = False) -> _T:
        """Do some work, again and again while connections are lost. It is told whether it may have been done before.

        Raises:
            StoreUnavailableError, OutcomeUnknownError: The server does not answer.
            SchemaError: A key of the store is of another kind.
        """
        if self._closed:
            raise StoreClosedError(self.name)
        until, pause, began = monotonic() + self._retry_for, 0.02, False
        while True:
            try:
                if not self._ready:
                    self._prepare()
                return work(began)
            except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
                raise StoreError(self.name, f"the server refused: {error}") from None
            except _LOST as error:
                if once or monotonic() > until:
                    kind = OutcomeUnknownError if self._ready else StoreUnavailableError
                    raise kind(self.name, f"the server does not answer: {error}") from error
                began = self._ready
            except redis.ResponseError as error:
                raise self._refused(error) from error
            time.sleep(pause)
            pause = min(pause * 2, 0.5)

    def ping(self) -> None:
        """Ask the server for anything, on one try of `run`."""
        self._execute("PING")

    def close(self) -> None:
        """Close the client, if it is our own."""
        self._closed = True
        if self._owned:
            self._client.close()

    # --- inside ---

    def _execute(self, *command: Argument) -> Any:
        return self._client.execute_command(*command, **{NEVER_DECODE: True})

    def evaluate(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run a script, on one try of `run`, and wait for no disk."""
        try:
            return self._execute("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return self._execute("EVAL", script.source, len(keys), *keys, *arguments)

    def _refused(self, error: redis.ResponseError) -> Exception:
        text = str(error)
        if "WRONGTYPE" in text:
            return SchemaError(self.name, "a key of this store is of another kind: something else uses its key_prefix")
        return StoreError(self.name, f"the server refused: {text[:200]}")

    def _prepare(self) -> None:
        """See what the server promises. Which of its settings may not be read must show itself by `WAITAOF`."""
        if self._durable:
            self._check_eviction()
            self._waits = not self._syncs_always()
            if self._waits:
                self._check_waiting()
        self._ready = True

    def _check_eviction(self) -> None:
        policy, memory = self._setting("maxmemory-policy"), self._setting("maxmemory")
        if policy not in (None, "noeviction") and memory not in (None, "0"):
            raise DurabilityError(
                self.name, f"it evicts keys where memory ends (maxmemory-policy {policy}); set noeviction, {_WAY_OUT}"
            )

    def _syncs_always(self) -> bool:
        appends, syncs = self._setting("appendonly"), self._setting("appendfsync")
        if appends == "no":
            raise DurabilityError(self.name, f"it keeps no append-only file; set appendonly yes, {_WAY_OUT}")
        return appends == "yes" and syncs == "always"

    def _check_waiting(self) -> None:
        reason = "its appendfsync is not known to be always, and it"
        if self._is_cluster:
            raise DurabilityError(self.name, f"{reason} is a Cluster, which cannot be waited for; {_WAY_OUT}")
        try:
            self._client.execute_command("WAITAOF", 1, 0, 1)
        except redis.ResponseError as error:
            raise DurabilityError(self.name, f"{reason} has no WAITAOF ({error}); {_WAY_OUT}") from None

    def _setting(self, name: str) -> str | None:
        """Return a setting of the server, or None if it may not be read."""
        try:
            found = self._execute("CONFIG", "GET", name)
        except redis.ResponseError:
            return None
        if isinstance(found, dict):
            found = [part for pair in found.items() for part in pair]
        values = [part.decode() if isinstance(part, bytes) else part for part in found]
        return values[1] if len(values) == 2 else None


_WAY_OUT = 'or take durability="process"'


def _name_of(url: str | None, client: Any) -> str:
    """Return a name for errors and logs, without a password."""
    if url is not None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
    return f"redis://{type(client).__name__}"
