import asyncio
import json
from typing import Any

import openai
import pytest
from agents import Agent, Handoff, OpenAIProvider, RunConfig, Runner, function_tool
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseStreamEvent

from agents_sessions import testing
from agents_sessions.testing import (
    LocalResponses,
    assistant_message,
    function_call,
    handoff,
    http_error,
    response,
    sse,
    token_usage,
)

ANSWER = response(
    function_call("find", {"order": "forty-two and more"}),
    assistant_message("It is on\nits way. "),
    usage=token_usage(100, 20, cached_tokens=64, reasoning_tokens=8),
    model="gpt-test",
)


def events(data: bytes) -> list[dict[str, Any]]:
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    pairs = [block.split("\n") for block in blocks]
    parsed = [(name.removeprefix("event: "), json.loads(line.removeprefix("data: "))) for name, line in pairs]
    assert all(name == event["type"] for name, event in parsed)
    return [event for _, event in parsed]


def run(local: LocalResponses, agent: Agent, text: str = "Hello") -> Any:
    return asyncio.run(Runner.run(agent, text, run_config=config(local)))


def config(local: LocalResponses) -> RunConfig:
    return RunConfig(model_provider=OpenAIProvider(openai_client=local.client()), tracing_disabled=True)


def strict(model: Any, data: Any) -> Any:
    """Validate as pydantic does; the client itself accepts anything."""
    from pydantic import TypeAdapter

    return TypeAdapter(model).validate_python(data)


def test_every_name_of_the_package_can_be_imported() -> None:
    assert all(getattr(testing, name) is not None for name in testing.__all__)


class TestBuilders:
    def test_a_response_is_what_the_client_knows_as_one(self) -> None:
        parsed = strict(Response, ANSWER)

        assert [item.type for item in parsed.output] == ["function_call", "message"]
        assert parsed.output_text == "It is on\nits way. "
        assert parsed.usage.total_tokens == 120
        assert parsed.usage.input_tokens_details.cached_tokens == 64
        assert parsed.usage.output_tokens_details.reasoning_tokens == 8

    def test_ids_are_new_unless_given(self) -> None:
        assert assistant_message("a")["id"] != assistant_message("a")["id"]
        assert function_call("f")["call_id"] != function_call("f")["call_id"]
        assert response()["id"] != response()["id"]
        assert assistant_message("a", item_id="m")["id"] == "m"
        assert function_call("f", call_id="c", item_id="i")["call_id"] == "c"
        assert response(response_id="r")["id"] == "r"

    def test_arguments_given_as_text_are_sent_as_they_stand(self) -> None:
        assert function_call("f", '{"broken')["arguments"] == '{"broken'

    @pytest.mark.parametrize("name", ["billing", "Billing Team", "order-desk", "Büro", "a.b"])
    def test_a_handoff_calls_the_tool_that_the_sdk_makes(self, name: str) -> None:
        assert handoff(name)["name"] == Handoff.default_tool_name(Agent(name=name))


class TestStream:
    def test_every_event_is_one_that_the_client_knows(self) -> None:
        for event in events(sse(ANSWER)):
            strict(ResponseStreamEvent, event)

    def test_events_are_numbered_from_zero(self) -> None:
        numbers = [event["sequence_number"] for event in events(sse(ANSWER))]

        assert numbers == list(range(len(numbers)))

    def test_it_ends_with_the_response(self) -> None:
        last = events(sse(ANSWER))[-1]

        assert last["type"] == "response.completed"
        assert last["response"] == ANSWER

    def test_it_begins_with_nothing_said(self) -> None:
        first = events(sse(ANSWER))[0]

        assert first["type"] == "response.created"
        assert first["response"]["status"] == "in_progress"
        assert first["response"]["output"] == []

    def test_the_kinds_of_events_in_order(self) -> None:
        said = events(sse(response(assistant_message("Hi there"))))

        assert [event["type"] for event in said] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]

    @pytest.mark.parametrize("text", ["", " ", "word", "two words", " a\n\nb ", "日本 語", "x \ud800 y"])
    def test_the_deltas_of_a_text_are_the_text(self, text: str) -> None:
        said = events(sse(response(assistant_message(text))))

        deltas = [event["delta"] for event in said if event["type"] == "response.output_text.delta"]
        assert "".join(deltas) == text
        assert len(deltas) >= min(1, len(text))

    def test_the_deltas_of_arguments_are_the_arguments(self) -> None:
        said = events(sse(ANSWER))

        deltas = [event["delta"] for event in said if event["type"] == "response.function_call_arguments.delta"]
        assert len(deltas) > 1
        assert "".join(deltas) == ANSWER["output"][0]["arguments"]

    def test_items_of_other_kinds_come_whole(self) -> None:
        reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
        refused = {**assistant_message(""), "content": [{"type": "refusal", "refusal": "No."}]}

        said = events(sse(response(reasoning, refused)))

        added = [event["item"] for event in said if event["type"] == "response.output_item.done"]
        assert added == [reasoning, refused]


class TestLocalResponses:
    def test_it_answers_in_order(self) -> None:
        local = LocalResponses([assistant_message("one"), response(assistant_message("two"))])

        assert run(local, Agent(name="a")).final_output == "one"
        assert run(local, Agent(name="a")).final_output == "two"

    def test_a_function_sees_the_request(self) -> None:
        local = LocalResponses(lambda request: assistant_message(request["input"][-1]["content"].upper()))

        assert run(local, Agent(name="a"), "loud").final_output == "LOUD"

    def test_a_function_may_be_async(self) -> None:
        async def play(request: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(0)
            return assistant_message("later")

        assert run(LocalResponses(play), Agent(name="a")).final_output == "later"

    def test_it_keeps_the_requests(self) -> None:
        local = LocalResponses([assistant_message("one")])

        run(local, Agent(name="a", instructions="Be brief."), "Hello")

        assert [request["instructions"] for request in local.requests] == ["Be brief."]
        assert local.requests[0]["input"] == [{"role": "user", "content": "Hello"}]

    def test_a_streamed_run_says_the_same_as_one_that_is_not(self) -> None:
        @function_tool
        def find(order: str) -> str:
            return f"{order} is here"

        billing = Agent(name="billing", tools=[find])
        triage = Agent(name="triage", handoffs=[billing])
        script = [handoff("billing"), function_call("find", {"order": "42"}), assistant_message("Found it.")]

        async def streamed() -> Any:
            result = Runner.run_streamed(triage, "Hello", run_config=config(LocalResponses(script)))
            async for _ in result.stream_events():
                pass
            return result

        plain = run(LocalResponses(script), triage)
        assert asyncio.run(streamed()).to_input_list() == plain.to_input_list()
        assert plain.last_agent is billing

    def test_a_stream_arrives_while_it_is_still_being_said(self) -> None:
        local = LocalResponses([assistant_message("one two three")], pause=0.01)

        async def first_delta() -> str:
            client = local.client()
            said = await client.responses.create(input="Hello", model="m", stream=True)
            async for event in said:
                if event.type == "response.output_text.delta":
                    await said.close()
                    return event.delta
            return ""

        assert asyncio.run(first_delta()) == "one "

    def test_the_model_that_was_asked_for_answers(self) -> None:
        assert asyncio.run(ask(LocalResponses([assistant_message("Hi")]).client())).model == "gpt-asked"
        assert asyncio.run(ask(LocalResponses([ANSWER]).client())).model == "gpt-test"

    def test_usage_that_is_not_given_is_estimated(self) -> None:
        guessed = asyncio.run(ask(LocalResponses([assistant_message("Hi")]).client())).usage

        assert guessed is not None
        assert guessed.input_tokens > 0
        assert guessed.total_tokens == guessed.input_tokens + guessed.output_tokens

    def test_usage_that_is_given_stays(self) -> None:
        told = asyncio.run(ask(LocalResponses([ANSWER]).client())).usage

        assert told is not None
        assert told.total_tokens == 120

    def test_an_error_is_the_error_that_the_client_raises(self) -> None:
        client = LocalResponses([http_error(401, "no such key")]).client()

        with pytest.raises(openai.AuthenticationError, match="no such key"):
            asyncio.run(ask(client))

    def test_the_client_tries_again_when_it_is_told_to(self) -> None:
        local = LocalResponses(
            [http_error(429, retry_after=0.001), http_error(503, retry_after=0.001), assistant_message("Now.")]
        )

        assert asyncio.run(ask(local.client())).output_text == "Now."
        assert len(local.requests) == 3

    def test_a_client_without_retries_gives_up(self) -> None:
        client = LocalResponses([http_error(429, retry_after=0.001), assistant_message("Now.")]).client(max_retries=0)

        with pytest.raises(openai.RateLimitError) as raised:
            asyncio.run(ask(client))
        assert raised.value.response.headers["retry-after"] == "0.001"

    def test_a_script_that_is_too_short_fails_at_once(self) -> None:
        local = LocalResponses([])

        with pytest.raises(openai.BadRequestError, match="no answer left"):
            asyncio.run(ask(local.client()))
        assert len(local.requests) == 1

    def test_another_interface_of_the_service_is_not_played(self) -> None:
        async def list_models() -> None:
            async with LocalResponses([]).client() as client:
                await client.models.list()

        with pytest.raises(openai.NotFoundError, match="only POST /responses"):
            asyncio.run(list_models())


async def ask(client: AsyncOpenAI) -> Response:
    async with client:
        return await client.responses.create(input="Hello", model="gpt-asked")


# --- what a script may hold ---


def told(*script: Any) -> Any:
    local = LocalResponses(list(script))
    return asyncio.run(Runner.run(Agent(name="support"), "Hello", run_config=local.run_config())).final_output


@pytest.mark.parametrize(
    "answer",
    [
        "Hi",
        assistant_message("Hi"),
        [assistant_message("Hi")],
        (assistant_message("Hi"),),
        response(assistant_message("Hi")),
    ],
)
def test_an_answer_is_a_text_an_item_a_list_of_items_or_a_response(answer: Any) -> None:
    assert told(answer) == "Hi"


@pytest.mark.parametrize("answer", [5, None, ["Hi"], b"Hi"])
def test_an_answer_that_is_none_says_which_one_and_what_it_may_be(answer: Any) -> None:
    with pytest.raises(openai.BadRequestError, match=r"answer 1 of the script is a '\w+', not a text, an item, a list"):
        told(answer)


@pytest.mark.parametrize("script", ["Hi", assistant_message("Hi")])
def test_a_script_of_one_answer_is_a_list_too(script: Any) -> None:
    with pytest.raises(TypeError, match="script must be a list of answers, or a function, not a single"):
        LocalResponses(script)


def test_a_run_config_takes_the_other_arguments_too() -> None:
    config = LocalResponses([]).run_config(workflow_name="refunds")
    assert (config.workflow_name, config.tracing_disabled) == ("refunds", True)
