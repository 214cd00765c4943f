"""What listeners of a manager hear: `manager.on(TurnFinished, listener)`."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from agents_sessions.keys import SessionKey
from agents_sessions.model.usage import TokenUsage

logger = logging.getLogger("agents_sessions")


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """Something that happened in a turn. Listeners of this class hear everything."""

    key: SessionKey
    turn_id: str


@dataclass(frozen=True, slots=True)
class TurnStarted(TurnEvent):
    """The turn has the session to itself and calls the Runner."""

    agent: str


@dataclass(frozen=True, slots=True)
class TurnFinished(TurnEvent):
    """The answer is stored."""

    last_agent: str
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class TurnFailed(TurnEvent):
    """The turn ended without an answer: by an error, or cancelled."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class HandedOff(TurnEvent):
    """One agent gave the conversation to another."""

    from_agent: str
    to_agent: str


@dataclass(frozen=True, slots=True)
class ApprovalNeeded(TurnEvent):
    """The turn awaits approval: someone must decide about its tool calls."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compacted(TurnEvent):
    """Before the model was asked, its input was shortened: it sees a summary of the older turns."""

    until: int
    """The number of the newest item that it no longer sees."""
    items: int
    """How many items it no longer sees."""


@dataclass(frozen=True, slots=True)
class CompactionFailed(TurnEvent):
    """The model's input should have been shortened and was not. The turn goes on with the history as it is."""

    error: Exception


_Event = TypeVar("_Event", bound=TurnEvent)
Listener: TypeAlias = Callable[[_Event], Awaitable[object] | object]


class Listeners:
    """Who wants to hear of which events."""

    def __init__(self) -> None:
        self._listeners: list[tuple[type[TurnEvent], Listener[Any]]] = []

    def add(self, kind: type[_Event], listener: Listener[_Event]) -> Callable[[], None]:
        """Call a listener at every event of a kind; return the function that ends it.

        Raises:
            TypeError: It is no kind of event, or the listener cannot be called.
        """
        if not (isinstance(kind, type) and issubclass(kind, TurnEvent)):
            raise TypeError(f"listen to TurnEvent or one of its kinds, such as TurnFinished, not {kind!r:.80}")
        if not callable(listener):
            raise TypeError(f"a listener is called with the event, and {listener!r:.80} cannot be called")
        pair = (kind, listener)
        self._listeners.append(pair)
        return lambda: self._listeners.remove(pair) if pair in self._listeners else None

    async def tell(self, event: TurnEvent) -> None:
        """Call the listeners of an event in the order of their coming. One that raises harms no turn."""
        for kind, listener in tuple(self._listeners):
            if isinstance(event, kind):
                try:
                    heard = listener(event)
                    if inspect.isawaitable(heard):
                        await heard
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                        raise
                    logger.exception("a listener of %s raised", type(event).__name__)


def _is_cancelled() -> bool:
    """Tell whether it is the turn that is cancelled, and not something that a listener has awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
