"""Sessions over the real client: what goes over the wire and what comes back is what the session keeps.

respx stands below the OpenAI client and answers instead of the network; a request that no route expects fails.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import respx
from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool
from agents.exceptions import ModelBehaviorError
from openai import AsyncOpenAI

from agents_sessions.errors import SessionError
from agents_sessions.manager import SessionManager
from agents_sessions.model.history import HandoffEntry, ItemEntry, UsageEntry
from agents_sessions.model.info import SessionInfo
from agents_sessions.session import FileSession
from agents_sessions.testing import assistant_message, function_call, handoff, response, sse, token_usage
from agents_sessions.turns.reply import Reply

URL = "https://wire.test/v1"


@pytest.fixture
def wire() -> Iterator[respx.Route]:
    with respx.mock(using="httpcore2", base_url=URL) as router:
        yield router.post("/responses")


def says(*output: dict[str, Any], **facts: Any) -> httpx.Response:
    return httpx.Response(200, json=response(*output, **facts))


def streams(*output: dict[str, Any], **facts: Any) -> httpx.Response:
    headers = {"content-type": "text/event-stream"}
    return httpx.Response(200, headers=headers, content=sse(response(*output, **facts)))


def busy() -> httpx.Response:
    # The client waits half a second where the header says zero: it must say a little more.
    return httpx.Response(429, headers={"retry-after-ms": "1"}, json={"error": {"message": "slow down"}})


def config() -> RunConfig:
    client = AsyncOpenAI(api_key="test", base_url=URL)
    return RunConfig(model_provider=OpenAIProvider(openai_client=client), tracing_disabled=True)


def sent(wire: respx.Route) -> list[dict[str, Any]]:
    return [json.loads(call.request.content) for call in wire.calls]


def run(session: FileSession, agent: Agent, *texts: str) -> list[Any]:
    async def turns() -> list[Any]:
        return [await Runner.run(agent, text, session=session, run_config=config()) for text in texts]

    return asyncio.run(turns())


def run_streamed(session: FileSession, agent: Agent, text: str) -> list[str]:
    async def turn() -> list[str]:
        result = Runner.run_streamed(agent, text, session=session, run_config=config())
        data = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
        return [event.delta for event in data if event.type == "response.output_text.delta"]

    return asyncio.run(turn())


def items(session: FileSession) -> list[Any]:
    return asyncio.run(session.get_items())


def info(session: FileSession) -> SessionInfo:
    return asyncio.run(session.info())


@function_tool
def find_order(number: int) -> str:
    """Find an order."""
    return f"order {number} is in Oslo"


@pytest.fixture
def session(tmp_path: Path) -> FileSession:
    return FileSession("s1", root=tmp_path)


@pytest.fixture
def clerk() -> Agent:
    return Agent(name="clerk", instructions="Be brief.", tools=[find_order])


class TestAnswers:
    def test_a_json_answer_is_stored(self, wire: respx.Route, session: FileSession, clerk: Agent) -> None:
        wire.return_value = says(assistant_message("Hello!"))

        (result,) = run(session, clerk, "Hi")

        assert result.final_output == "Hello!"
        asked, answered = items(session)
        assert asked == {"role": "user", "content": "Hi"}
        assert answered["role"] == "assistant"
        assert answered["content"][0]["text"] == "Hello!"

    def test_a_streamed_answer_arrives_in_pieces_and_is_stored_whole(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.return_value = streams(assistant_message("It is on its way."))

        deltas = run_streamed(session, clerk, "Where is it?")

        assert deltas == ["It ", "is ", "on ", "its ", "way."]
        assert sent(wire)[0]["stream"] is True
        assert items(session)[-1]["content"][0]["text"] == "It is on its way."

    def test_a_streamed_turn_leaves_the_history_of_one_that_is_not(
        self, wire: respx.Route, tmp_path: Path, clerk: Agent
    ) -> None:
        said = [
            (function_call("find_order", {"number": 42}, call_id="c1", item_id="f1"),),
            (assistant_message("In Oslo.", item_id="m1"),),
        ]
        plain, streamed = FileSession("plain", root=tmp_path), FileSession("streamed", root=tmp_path)

        wire.side_effect = [says(*output) for output in said]
        run(plain, clerk, "Where?")
        wire.side_effect = [streams(*output) for output in said]
        run_streamed(streamed, clerk, "Where?")

        assert items(streamed) == items(plain)
        assert len(items(plain)) == 4

    def test_text_of_any_script_survives_the_wire_and_the_file(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        text = 'Ünïcode 日本 \u2028 😀 \x00 \\ " end'
        wire.side_effect = [says(assistant_message(text)), says(assistant_message("ok"))]

        run(session, clerk, text, "again")

        first, second = sent(wire)
        assert first["input"][0]["content"] == text
        assert second["input"][1]["content"][0]["text"] == text

    def test_a_key_of_the_application_goes_out_as_it_is(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.return_value = says(assistant_message("Hello!"))

        run(session, clerk, "Hi")

        assert wire.calls.last.request.headers["authorization"] == "Bearer test"


class TestTheSecondTurn:
    def test_it_sends_exactly_the_stored_history_and_the_new_message(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [
            says(function_call("find_order", {"number": 42})),
            says(assistant_message("In Oslo.")),
            says(assistant_message("Tomorrow.")),
        ]
        run(session, clerk, "Where is order 42?")
        stored = items(session)
        run(session, clerk, "And when is it here?")

        assert [item.get("type", item.get("role")) for item in stored] == [
            "user",
            "function_call",
            "function_call_output",
            "message",
        ]
        assert sent(wire)[2]["input"] == [*stored, {"role": "user", "content": "And when is it here?"}]

    def test_nothing_of_the_envelope_is_sent_to_the_model(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [
            says(function_call("find_order", {"number": 42})),
            says(assistant_message("In Oslo.")),
            says(assistant_message("Tomorrow.")),
        ]

        run(session, clerk, "Where is order 42?", "And when is it here?")

        envelope = {"seq", "at", "k", "n", "crc", "agent", "turn", "item", "record"}
        assert not [item for item in sent(wire)[2]["input"] if envelope & set(item)]

    def test_another_process_sends_the_same(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [says(assistant_message("Hello!")), says(assistant_message("You said hi."))]
        first, second = FileSession("s1", root=tmp_path), FileSession("s1", root=tmp_path)

        run(first, clerk, "Hi")
        run(second, clerk, "What did I say?")

        history = sent(wire)[1]["input"]
        assert history[0] == {"role": "user", "content": "Hi"}
        assert history[:2] == items(first)[:2]

    def test_a_limit_sends_only_the_newest_items(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [
            says(assistant_message("one")),
            says(assistant_message("two")),
            says(assistant_message("three")),
        ]
        session = FileSession("s1", root=tmp_path, session_settings={"limit": 2})

        run(session, clerk, "1", "2", "3")

        history = sent(wire)[2]["input"]
        assert [item["content"] if item["role"] == "user" else item["content"][0]["text"] for item in history] == [
            "2",
            "two",
            "3",
        ]


class TestErrorsOfTheService:
    def test_a_retried_request_stores_the_message_once(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [busy(), busy(), says(assistant_message("Hello!"))]

        (result,) = run(session, clerk, "Hi")

        assert result.final_output == "Hello!"
        assert wire.call_count == 3
        assert [item["role"] for item in items(session)] == ["user", "assistant"]

    def test_a_retried_stream_stores_the_message_once(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [busy(), streams(assistant_message("Hello!"))]

        assert run_streamed(session, clerk, "Hi") == ["Hello!"]
        assert [item["role"] for item in items(session)] == ["user", "assistant"]

    def test_a_request_that_failed_for_good_leaves_the_message(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.return_value = httpx.Response(400, json={"error": {"message": "no such model"}})

        with pytest.raises(openai.BadRequestError, match="no such model"):
            run(session, clerk, "Hi")

        assert items(session) == [{"role": "user", "content": "Hi"}]

    def test_the_next_message_after_a_failed_one_is_answered(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [httpx.Response(400, json={"error": {"message": "no"}}), says(assistant_message("Hello!"))]

        with pytest.raises(openai.BadRequestError):
            run(session, clerk, "Hi")
        run(session, clerk, "Are you there?")

        assert [item["content"] for item in sent(wire)[1]["input"]] == ["Hi", "Are you there?"]

    def test_an_answer_that_breaks_off_leaves_the_message(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        whole = sse(response(assistant_message("It is on its way.")))
        torn = whole[: whole.index(b"event: response.output_text.done")]
        wire.return_value = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=torn)

        with pytest.raises(ModelBehaviorError, match="final response"):
            run_streamed(session, clerk, "Hi")

        assert items(session)[0] == {"role": "user", "content": "Hi"}
        assert all(item["role"] == "user" for item in items(session))


class TestUsage:
    COST = (
        token_usage(100, 20, cached_tokens=64, reasoning_tokens=8),
        token_usage(180, 30, cached_tokens=128, reasoning_tokens=0),
    )

    def test_a_bare_session_counts_what_the_wire_says(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.side_effect = [
            says(function_call("find_order", {"number": 42}), usage=self.COST[0]),
            says(assistant_message("In Oslo."), usage=self.COST[1]),
        ]

        run(session, clerk, "Where is order 42?")

        totals = info(session).context
        assert (totals.requests, totals.input_tokens, totals.output_tokens) == (2, 280, 50)
        assert (totals.cached_tokens, totals.reasoning_tokens, totals.total_tokens) == (192, 8, 330)
        assert totals.context_tokens == 210

    def test_a_stream_costs_the_same(self, wire: respx.Route, session: FileSession, clerk: Agent) -> None:
        wire.side_effect = [
            streams(function_call("find_order", {"number": 42}), usage=self.COST[0]),
            streams(assistant_message("In Oslo."), usage=self.COST[1]),
        ]

        run_streamed(session, clerk, "Where is order 42?")

        totals = info(session).context
        assert (totals.requests, totals.input_tokens, totals.output_tokens) == (2, 280, 50)
        assert (totals.cached_tokens, totals.reasoning_tokens, totals.total_tokens) == (192, 8, 330)

    def test_turns_add_up(self, wire: respx.Route, session: FileSession, clerk: Agent) -> None:
        wire.side_effect = [
            says(assistant_message("one"), usage=self.COST[0]),
            says(assistant_message("two"), usage=self.COST[1]),
        ]

        run(session, clerk, "1", "2")

        assert info(session).context.total_tokens == 330

    def test_a_retried_request_is_paid_once(self, wire: respx.Route, session: FileSession, clerk: Agent) -> None:
        wire.side_effect = [busy(), says(assistant_message("Hello!"), usage=self.COST[0])]

        run(session, clerk, "Hi")

        totals = info(session).context
        assert (totals.requests, totals.total_tokens) == (1, 120)

    def test_a_provider_that_reports_none_is_counted_by_requests(
        self, wire: respx.Route, session: FileSession, clerk: Agent
    ) -> None:
        wire.return_value = says(assistant_message("Hello!"))

        run(session, clerk, "Hi")

        totals = info(session).context
        assert (totals.requests, totals.total_tokens) == (1, 0)


class TestTheManager:
    def test_a_handoff_over_the_wire(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [
            says(handoff("clerk", call_id="h1"), usage=token_usage(50, 5), model="gpt-a", response_id="r1"),
            says(function_call("find_order", {"number": 42}), usage=token_usage(80, 6), response_id="r2"),
            says(assistant_message("In Oslo."), usage=token_usage(120, 7), response_id="r3"),
        ]

        reply = self.talk(tmp_path, clerk, "Where is order 42?")[0]

        assert reply.text == "In Oslo."
        assert reply.last_agent == "clerk"
        assert [(made.from_agent, made.to_agent, made.tool) for made in reply.handoffs] == [
            ("triage", "clerk", "transfer_to_clerk")
        ]
        speakers = [entry.agent for entry in reply.entries if isinstance(entry, ItemEntry)]
        assert speakers == [None, "triage", "triage", "clerk", "clerk", "clerk"]

    def test_each_request_of_a_turn_is_itemised(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [
            says(handoff("clerk"), usage=token_usage(50, 5, cached_tokens=10), response_id="r1"),
            says(assistant_message("Here."), usage=token_usage(80, 6, reasoning_tokens=3), response_id="r2"),
        ]

        reply = self.talk(tmp_path, clerk, "Hi")[0]

        rows = [row for entry in reply.entries if isinstance(entry, UsageEntry) for row in entry.requests]
        assert [(row.agent, row.response_id, row.total_tokens) for row in rows] == [
            ("triage", "r1", 55),
            ("clerk", "r2", 86),
        ]
        assert (rows[0].cached_tokens, rows[1].reasoning_tokens) == (10, 3)

    def test_the_usage_of_a_reply_is_that_of_its_turn_alone(
        self, wire: respx.Route, tmp_path: Path, clerk: Agent
    ) -> None:
        wire.side_effect = [
            says(handoff("clerk"), usage=token_usage(50, 5, cached_tokens=10, cache_write_tokens=7)),
            says(assistant_message("one"), usage=token_usage(80, 6, cached_tokens=20, reasoning_tokens=3)),
            says(assistant_message("two"), usage=token_usage(200, 20, cached_tokens=100)),
        ]

        first, second = self.talk(tmp_path, clerk, "1", "2")

        assert first.usage.model_dump() == {
            "requests": 2,
            "input_tokens": 130,
            "cached_tokens": 30,
            "cache_write_tokens": 7,
            "output_tokens": 11,
            "reasoning_tokens": 3,
            "total_tokens": 141,
        }
        assert (second.usage.requests, second.usage.total_tokens, second.usage.cached_tokens) == (1, 220, 100)

    def test_the_next_turn_goes_to_the_agent_it_was_handed_to(
        self, wire: respx.Route, tmp_path: Path, clerk: Agent
    ) -> None:
        wire.side_effect = [says(handoff("clerk")), says(assistant_message("one")), says(assistant_message("two"))]

        self.talk(tmp_path, clerk, "1", "2")

        instructions = [request.get("instructions") for request in sent(wire)]
        assert instructions == ["Sort.", "Be brief.", "Be brief."]

    def test_the_manager_sends_what_a_bare_session_would(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [says(handoff("clerk")), says(assistant_message("one")), says(assistant_message("two"))]

        replies = self.talk(tmp_path, clerk, "1", "2")

        stored = [entry.item for entry in replies[0].entries if isinstance(entry, ItemEntry)]
        assert sent(wire)[2]["input"] == [*stored, {"role": "user", "content": "2"}]
        assert not any(isinstance(entry, HandoffEntry) for entry in replies[1].entries)

    def test_a_failed_turn_keeps_what_it_has_cost(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.side_effect = [
            says(function_call("find_order", {"number": 42}), usage=token_usage(50, 5)),
            httpx.Response(400, json={"error": {"message": "no"}}),
        ]

        async def fail() -> SessionInfo:
            manager = SessionManager(tmp_path, agents=[clerk], run_config=config())
            made = await manager.create_session("clerk")
            with pytest.raises(openai.BadRequestError):
                await manager.send_message(made.id, "Where is order 42?")
            return await manager.get_session(made.id)

        totals = asyncio.run(fail()).context
        assert (totals.total_tokens, totals.failed_turns, totals.last_status) == (55, 1, "failed")

    def test_a_streamed_turn_says_stores_and_costs_the_same(
        self, wire: respx.Route, tmp_path: Path, clerk: Agent
    ) -> None:
        said = [
            ((handoff("clerk", call_id="h1", item_id="f1"),), token_usage(50, 5, cached_tokens=10)),
            ((assistant_message("In Oslo.", item_id="m1"),), token_usage(80, 6, reasoning_tokens=3)),
        ]
        triage = Agent(name="triage", handoffs=[clerk])

        async def streamed() -> Reply:
            async with SessionManager(tmp_path / "streamed", agents=[triage], run_config=config()) as manager:
                made = await manager.create_session("triage")
                return await manager.stream_message(made.id, "Hi").reply()

        wire.side_effect = [says(*output, usage=cost) for output, cost in said]
        plain = self.talk(tmp_path / "plain", clerk, "Hi")[0]
        wire.side_effect = [streams(*output, usage=cost) for output, cost in said]
        reply = asyncio.run(streamed())

        assert (reply.text, reply.last_agent, reply.usage) == (plain.text, plain.last_agent, plain.usage)
        assert [entry.item for entry in reply.entries if isinstance(entry, ItemEntry)] == [
            entry.item for entry in plain.entries if isinstance(entry, ItemEntry)
        ]
        assert reply.usage.total_tokens == 141

    def test_a_failed_turn_is_tried_again_without_a_second_message(
        self, wire: respx.Route, tmp_path: Path, clerk: Agent
    ) -> None:
        wire.side_effect = [httpx.Response(400, json={"error": {"message": "no"}}), says(assistant_message("Hello!"))]

        async def again() -> Reply:
            async with SessionManager(tmp_path, agents=[clerk], run_config=config()) as manager:
                made = await manager.create_session("clerk")
                with pytest.raises(openai.BadRequestError):
                    await manager.send_message(made.id, "Hi")
                return await manager.retry(made.id)

        assert asyncio.run(again()).text == "Hello!"
        assert sent(wire)[1]["input"] == [{"content": "Hi", "role": "user"}]

    def test_no_error_of_the_service_becomes_one_of_ours(self, wire: respx.Route, tmp_path: Path, clerk: Agent) -> None:
        wire.return_value = httpx.Response(401, json={"error": {"message": "no such key"}})

        with pytest.raises(openai.AuthenticationError) as raised:
            self.talk(tmp_path, clerk, "Hi")
        assert not isinstance(raised.value, SessionError)

    def talk(self, root: Path, clerk: Agent, *texts: str) -> list[Reply]:
        async def turns() -> list[Reply]:
            triage = Agent(name="triage", instructions="Sort.", handoffs=[clerk])
            async with SessionManager(root, agents=[triage], run_config=config()) as manager:
                made = await manager.create_session("triage")
                return [await manager.send_message(made.id, text) for text in texts]

        return asyncio.run(turns())
