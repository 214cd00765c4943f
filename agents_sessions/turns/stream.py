"""A turn whose events arrive while it runs.

One task runs the whole turn, from the lock to the last entry, and hands the SDK's events on. The session therefore
stays locked until the run's background work has ended, whatever the reader of the events does: it reads to the end,
breaks off (the run goes on), is cancelled (the run is cancelled), or never reads at all. One case looks like a slow
reader: a reader that keeps the iterator it broke off, and neither ends nor asks for the reply.

The SDK waits at the end of each model round until the events have been read, so that a reader can cancel in time. To
keep that, the run waits behind each event until the reader asks for the next one. Once the run has ended, nobody waits
for a slow reader: the answer is stored and the session is free while events are still unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from agents_sessions.concurrency.settle import settle
from agents_sessions.errors import SessionError, TurnCancelledError
from agents_sessions.turns.lock import current_task
from agents_sessions.turns.turn import Outcome

if TYPE_CHECKING:
    from agents import RunResultStreaming, StreamEvent

    from agents_sessions.turns.reply import Reply
    from agents_sessions.turns.request import Request
    from agents_sessions.turns.turn import Turn, Turns

logger = logging.getLogger("agents_sessions")

CancelMode = Literal["immediate", "after_turn"]


class ReplyStream:
    """A running turn. It begins at once, in a task of its own.

    With ``async with``, the turn is over when the block is left: an error in the block cancels it, and what ended the
    turn is raised at the end of a block that has not asked for the reply.
    """

    def __init__(self, turns: Turns, request: Request) -> None:
        self._session_id = request.session_id
        self._result: RunResultStreaming | None = None
        self._cancel_mode: CancelMode | None = None
        self._events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        self._reader: asyncio.Task[Any] | None = None
        self._asked: asyncio.Future[None] | None = None
        """What the run waits for while a reader is busy with an event."""
        self._began = False
        """Whether the turn has begun: from then on the turn logs what becomes of it."""
        self._was_asked = False
        """Whether someone waits for the reply, and so hears what ended the turn."""
        self._paced = True
        """Whether the run waits for its reader."""
        self._ended: Future[None] = Future()
        """Done when the session is free. Other threads than the one of the run wait for it."""
        self._task = asyncio.ensure_future(self._play(turns, request))
        self._task.add_done_callback(self._end)

    async def stream_events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield the SDK's events. For one reader, once.

        Raises:
            Exception: Whatever ended the turn, as `send_message` would raise it.
        """
        if self._reader is not None:
            raise RuntimeError("the events of a stream can be read once")
        self._reader = reader = cast("asyncio.Task[Any]", asyncio.current_task())
        # A reader may break off and keep the iterator. The end of its task still tells us.
        reader.add_done_callback(self._reader_ended)
        try:
            while (event := await self._next()) is not None:
                yield event
        finally:
            reader.remove_done_callback(self._reader_ended)
            self._reader_ended(reader)
        await self.reply()

    async def text_deltas(self) -> AsyncGenerator[str, None]:
        """Yield the pieces of text as the model writes them: the events of `stream_events` that are text."""
        async with contextlib.aclosing(self.stream_events()) as events:
            async for event in events:
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    yield event.data.delta

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait until the turn is over. An error in the block cancels it."""
        if error is not None:
            await self.aclose()
            return
        self.leave_behind()
        await asyncio.wait({self._task})
        if not self._was_asked and not self._task.cancelled():
            self._task.result()

    async def reply(self) -> Reply:
        """Wait for the end of the turn and return its reply. Events that nobody has read are dropped.

        Raises:
            TurnCancelledError: It was cancelled before the Runner was called, or by something that its run awaited.
            Exception: Whatever ended the turn, as `send_message` would raise it.
        """
        self._was_asked = True
        self.leave_behind()
        await asyncio.wait({self._task})
        if self._task.cancelled():
            raise TurnCancelledError(self._session_id, began=self._result is not None)
        return self._task.result()

    def cancel(self, mode: CancelMode = "immediate") -> None:
        """End the run now, or after the current model round with its tool calls. `reply()` then says `cancelled`."""
        self._cancel_mode = mode
        if self._result is not None:
            self._result.cancel(mode)
        elif not self._task.done():
            self._task.cancel()  # the Runner was not called yet
        self._let_run()

    async def aclose(self) -> None:
        """Cancel the run if it still goes on, and wait until the session is free. From any event loop.

        If the loop of the run does not run at present, there is nothing to wait for: the run ends when its loop goes
        on, or is discarded with a loop that was closed.
        """
        loop = self._task.get_loop()
        if loop is asyncio.get_running_loop():
            self._cancel_if_running()
            await asyncio.wait({self._task})
        elif loop.is_running():
            loop.call_soon_threadsafe(self._cancel_if_running)
            await asyncio.wrap_future(self._ended)

    async def _play(self, turns: Turns, request: Request) -> Reply:
        async with turns.open(request) as turn:
            self._began = True
            return await turn.finish(await self._run(turn))

    async def _run(self, turn: Turn) -> Outcome:
        self._result = result = turn.run_streamed()
        if result.run_loop_task is not None:
            result.run_loop_task.add_done_callback(self.leave_behind)
        try:
            async for event in result.stream_events():
                await self._hand_over(event)
        except BaseException as error:
            if current_task() is not self._task:
                raise
            if isinstance(error, asyncio.CancelledError):
                result.cancel()
            await _background_end(result)
            raise
        await _background_end(result)
        if self._cancel_mode is None and _was_cancelled(result):
            # Something that the run awaited was cancelled. The SDK ends the events as if the run had ended by itself.
            raise asyncio.CancelledError
        unfinished = result.final_output is None and not result.interruptions
        return Outcome(result, cancelled=self._cancel_mode is not None and unfinished)

    async def _hand_over(self, event: StreamEvent) -> None:
        asked = self._asked = asyncio.get_running_loop().create_future()
        self._events.put_nowait(event)
        if self._reader is not None and self._paced:
            await asked

    async def _next(self) -> StreamEvent | None:
        if self._events.empty():
            self._let_run()
        return await self._events.get()

    def _let_run(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)

    def _reader_ended(self, reader: asyncio.Task[Any]) -> None:
        if reader.cancelling():
            self.cancel()
        self.leave_behind()

    def _cancel_if_running(self) -> None:
        if not self._task.done():
            self.cancel()

    def leave_behind(self, _task: object = None) -> None:
        """Wait for the reader no more."""
        self._paced = False
        self._let_run()

    def _end(self, task: asyncio.Future[Reply]) -> None:
        # Retrieve the error, so that asyncio does not report it: `reply` and `stream_events` raise it.
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._began:
            reason = str(error) if isinstance(error, SessionError) else ""
            logger.warning("a turn of session %r did not begin: %s: %s", self._session_id, type(error).__name__, reason)
        self._events.put_nowait(None)
        self._ended.set_result(None)


async def _background_end(result: RunResultStreaming) -> None:
    if result.run_loop_task is not None:
        await settle(asyncio.wait({result.run_loop_task}))


def _was_cancelled(result: RunResultStreaming) -> bool:
    """Tell whether the run was cancelled, and did not end: only its task knows."""
    return result.run_loop_task is not None and result.run_loop_task.cancelled()
