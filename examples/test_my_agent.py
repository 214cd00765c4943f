"""How to test an agent that keeps sessions: three places to put a model that is none. Run it with pytest."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import respx
from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel
from agents.testing import assistant_message as scripted_message
from agents.testing import function_call as scripted_call
from agents.usage import Usage

from agents_sessions import FileSession, MemoryStore, SessionManager
from agents_sessions.testing import (
    LocalResponses,
    assistant_message,
    function_call,
    http_error,
    response,
    sse,
    token_usage,
)

# --- what is tested: an agent with a tool, as an application would have it ---


@function_tool
def find_order(number: int) -> str:
    """Find an order."""
    return f"order {number} is in Oslo"


support = Agent(name="support", instructions="Help with orders.", tools=[find_order])


# --- 1. above HTTP: the SDK's ScriptedModel, and a store without a disk. The fastest, for all that is logic ---


def test_the_agent_looks_the_order_up() -> None:
    model = ScriptedModel(
        [[scripted_call("find_order", {"number": 42}, call_id="c1")], [scripted_message("It is in Oslo.")]],
        default_usage=Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110),
    )

    async def conversation() -> None:
        config = RunConfig(model=model, tracing_disabled=True)
        async with SessionManager(MemoryStore(), agents=[support], run_config=config) as manager:
            session = await manager.create_session("support")
            reply = await manager.send_message(session.id, "Where is order 42?")

            assert reply.text == "It is in Oslo."
            assert reply.usage.total_tokens == 220
            kinds = [entry.kind for entry in await manager.get_history(session.id) if entry.type == "item"]
            assert kinds == ["user", "function_call", "function_call_output", "assistant"]

    asyncio.run(conversation())


# --- 2. below the client: respx, for headers, status codes and streams. The client speaks httpx2, so respx has to
#        be told `using="httpcore2"`; the plugin pytest-httpx2 adds that and the fixture `httpx2_mock` ---


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def test_the_second_message_is_sent_with_the_first(httpx2_mock: respx.Router, talk: Callable[..., list[str]]) -> None:
    route = httpx2_mock.post("https://api.openai.com/v1/responses")
    route.side_effect = [
        httpx.Response(200, json=response(assistant_message(text))) for text in ("Hello!", "You said hi.")
    ]

    assert talk("Hi", "What did I say?") == ["Hello!", "You said hi."]
    assert b'"content":"Hi"' in route.calls[1].request.content


def test_a_streamed_answer(tmp_path: Path) -> None:
    answer = sse(response(assistant_message("It is in Oslo."), usage=token_usage(100, 10, cached_tokens=64)))

    async def conversation() -> None:
        async with SessionManager(tmp_path, agents=[support], run_config=RunConfig(tracing_disabled=True)) as manager:
            session = await manager.create_session("support")
            reply = await manager.stream_message(session.id, "Where is order 42?").reply()
            assert (reply.text, reply.usage.cached_tokens) == ("It is in Oslo.", 64)

    with respx.mock(using="httpcore2") as router:
        headers = {"content-type": "text/event-stream"}
        router.post("https://api.openai.com/v1/responses").respond(200, headers=headers, content=answer)
        asyncio.run(conversation())


# --- 3. in between: LocalResponses, a service in the process, for answers that depend on the request ---


def test_a_busy_service_is_asked_again(tmp_path: Path) -> None:
    local = LocalResponses(
        [http_error(429, retry_after=0.001), function_call("find_order", {"number": 42}), assistant_message("In Oslo.")]
    )

    async def conversation() -> None:
        session = FileSession("s1", root=tmp_path)
        result = await Runner.run(support, "Where is order 42?", session=session, run_config=local.run_config())

        assert result.final_output == "In Oslo."
        assert local.requests[2]["input"][2]["output"] == "order 42 is in Oslo"
        assert (await session.info()).context.requests == 2

    asyncio.run(conversation())


@pytest.fixture
def talk(tmp_path: Path) -> Callable[..., list[str]]:
    """Send messages in one session and return the answers."""

    async def turns(*texts: str) -> list[str]:
        async with SessionManager(tmp_path, agents=[support], run_config=RunConfig(tracing_disabled=True)) as manager:
            session = await manager.create_session("support")
            return [(await manager.send_message(session.id, text)).text for text in texts]

    return lambda *texts: asyncio.run(turns(*texts))
