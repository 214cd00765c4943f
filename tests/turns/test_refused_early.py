"""What is wrong is refused where it is given, and said where nobody listens."""

import asyncio
import logging

import pytest
from agents import Model, ModelResponse
from agents.testing import assistant_message
from agents.usage import Usage
from script import agent, managed, opened, stored

from agents_sessions.errors import InvalidValueError
from agents_sessions.manager import SessionManager
from agents_sessions.turns.events import TurnFinished


@pytest.mark.parametrize("kind", ["TurnFinished", None, TurnFinished | None, str, TurnFinished(None, "", "", None)])
def test_a_listener_of_a_wrong_kind_is_refused(store, kind):
    with pytest.raises(TypeError, match="TurnFinished"):
        managed(store).on(kind, print)


def test_a_listener_that_cannot_be_called_is_refused(store):
    with pytest.raises(TypeError, match="cannot be called"):
        managed(store).on(TurnFinished, "print")


EMPTY = [
    "",
    "  \n",
    [],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": " "}],
]


@pytest.mark.parametrize("content", EMPTY)
def test_an_empty_message_is_refused(store, content):
    async def run():
        manager = managed(store, agent("support", "never"))
        await opened(manager)
        with pytest.raises(InvalidValueError, match="empty"):
            await manager.send_message("s", content)
        with pytest.raises(InvalidValueError, match="empty"):
            manager.stream_message("s", content)

    asyncio.run(run())
    assert stored(store) == []


@pytest.mark.parametrize("wrong", [{"status": "bogus"}, {"session_type": "bogus"}])
def test_a_filter_that_no_session_can_match_is_refused(store, wrong):
    with pytest.raises(ValueError, match="must be one of"):
        asyncio.run(SessionManager(store).list_sessions(**wrong))


def test_a_stream_that_no_one_reads_and_that_cannot_begin_is_logged(store, caplog):
    async def run():
        manager = managed(store, agent("support"))
        await opened(manager)
        await manager.update_session("s", status="paused")
        manager.stream_message("s", "private words")
        manager.stream_message("missing", "private words")
        await asyncio.sleep(0.3)

    with caplog.at_level(logging.WARNING, logger="agents_sessions"):
        asyncio.run(run())
    said = sorted(record.getMessage() for record in caplog.records)
    assert ["SessionNotFoundError" in said[0], "SessionPausedError" in said[1], len(said)] == [True, True, 2]
    assert "private words" not in caplog.text


class Theirs(Model):
    """A model of another maker, which says nothing of the details of its usage."""

    async def get_response(self, *_arguments, **_options):
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        usage.input_tokens_details = None
        usage.output_tokens_details = None
        return ModelResponse(output=[assistant_message("answer")], usage=usage, response_id=None)

    def stream_response(self, *_arguments, **_options):
        raise NotImplementedError


def test_an_answer_without_details_of_its_usage_is_stored(store):
    support = agent("support")
    support.model = Theirs()

    async def run():
        manager = managed(store, support)
        return await manager.send_message(await opened(manager), "hello")

    reply = asyncio.run(run())
    assert (reply.text, reply.usage.total_tokens, reply.usage.cached_tokens) == ("answer", 15, 0)
