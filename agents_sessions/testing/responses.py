"""The Responses API on the wire, for tests and examples without a service.

The SDK's own `agents.testing` plays a model above HTTP. What it lacks is here: the JSON of an answer, the same
answer as server-sent events, and a transport that speaks both below a real `AsyncOpenAI` client:

    local = LocalResponses([function_call("weather", {"city": "Oslo"}), "Rain."])
    await Runner.run(agent, "Weather?", run_config=local.run_config())
    local.requests[1]["input"]  # what was sent to the model the second time

The builders serve `respx` as well: `httpx.Response(200, json=response(assistant_message("Hi")))`, or
`content=sse(response(assistant_message("Hi")))` for a streamed request.
"""

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, TypeAlias
from uuid import uuid4

import httpx2
from agents import OpenAIProvider, RunConfig
from openai import AsyncOpenAI

Json: TypeAlias = dict[str, Any]

_LOCAL = "local"
_CHARACTERS_PER_TOKEN = 4
_ARGUMENTS_PER_DELTA = 12


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error in place of a response: an HTTP status above 399."""

    status: int
    message: str
    retry_after: float | None = None
    """Seconds after which the client may try again."""


Answer: TypeAlias = str | Json | Sequence[Json] | ErrorAnswer
"""The text of a message, or one output item, or several, or a whole response, or an error."""

Script: TypeAlias = Iterable[Answer] | Callable[[Json], Answer | Awaitable[Answer]]
"""The answers in order, or a function that looks at the request and makes the answer."""


# --- what a model says ---


def assistant_message(text: str, *, item_id: str | None = None) -> Json:
    """Return a message of the assistant, as an output item."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    item_id = _new_id("msg") if item_id is None else item_id
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content}


def function_call(
    name: str,
    arguments: Mapping[str, object] | str = "{}",
    *,
    call_id: str | None = None,
    item_id: str | None = None,
) -> Json:
    """Return a call of a function tool, as an output item.

    Args:
        name: The tool.
        arguments: A mapping, or JSON text; a text is sent as it stands, also if it is not valid.
        call_id: What the tool's output will refer to; by default a new id.
        item_id: The id of the item itself; by default a new one.
    """
    return {
        "type": "function_call",
        "id": _new_id("fc") if item_id is None else item_id,
        "call_id": _new_id("call") if call_id is None else call_id,
        "name": name,
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
        "status": "completed",
    }


def handoff(
    to_agent_name: str,
    arguments: Mapping[str, object] | str = "{}",
    *,
    call_id: str | None = None,
    item_id: str | None = None,
) -> Json:
    """Return the call by which a model hands off to an agent, under the SDK's default name of the tool."""
    tool = re.sub(r"[^a-zA-Z0-9_]", "_", f"transfer_to_{to_agent_name}").lower()
    return function_call(tool, arguments, call_id=call_id, item_id=item_id)


# --- a whole answer ---


def token_usage(
    input_tokens: int,
    output_tokens: int,
    *,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> Json:
    """Return the token usage of one response.

    Args:
        input_tokens: All tokens of the input, the cached ones included.
        output_tokens: All tokens of the output, the reasoning included.
        cached_tokens: The part of the input that came from the provider's cache.
        cache_write_tokens: The part of the input that went into it.
        reasoning_tokens: The part of the output that was reasoning.
    """
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached_tokens, "cache_write_tokens": cache_write_tokens},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": input_tokens + output_tokens,
    }


def response(
    *output: Json, usage: Json | None = None, model: str | None = None, response_id: str | None = None
) -> Json:
    """Return the JSON body of an answer of `/responses`.

    Args:
        output: The output items, in order.
        usage: What it has cost, see `token_usage`; None if the provider does not say: `LocalResponses` estimates it.
        model: The model that answers; by default `local`, from `LocalResponses` the one that was asked for.
        response_id: By default a new id.
    """
    return {
        "id": _new_id("resp") if response_id is None else response_id,
        "object": "response",
        "created_at": int(time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": _LOCAL if model is None else model,
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def http_error(status: int, message: str = "scripted error", *, retry_after: float | None = None) -> ErrorAnswer:
    """Return an answer with an HTTP error status.

    Args:
        status: Such as 429; the client tries again by itself after 408, 409, 429 and from 500 on.
        message: What the service says about it.
        retry_after: Seconds that the client is told to wait; without it, it waits about half a second.
    """
    return ErrorAnswer(status, message, retry_after)


def sse(response: Json) -> bytes:
    """Return a response as the server-sent events that a streamed request gets. Texts come word by word."""
    return b"".join(_encoded(response))


# --- the service ---


class LocalResponses:
    """A Responses API inside the process: a handler for `httpx2.MockTransport`, ready with a client.

    It answers requests for a stream with server-sent events and all others with JSON. A request beyond the end of
    a list of answers gets the status 400, which fails the run at once. What was asked is kept in `requests`.

    Args:
        script: The answers in order, or a function, sync or async, from the JSON of the request to the answer. An
            answer is a text, an output item such as `function_call(…)`, a list of items, a `response(…)` or an
            `http_error(…)`.
        pause: Seconds between two events of a stream.
    """

    def __init__(self, script: Script, *, pause: float = 0.0) -> None:
        if isinstance(script, str | Mapping):
            raise TypeError(f"script must be a list of answers, or a function, not a single {type(script).__name__!r}")
        self.requests: list[Json] = []
        """The JSON bodies of all requests that came, retried ones included."""
        self._play = script if callable(script) else _one_by_one(script)
        self._pause = pause

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one HTTP request."""
        if request.method != "POST" or not request.url.path.endswith("/responses"):
            return _refusal(
                ErrorAnswer(404, f"only POST /responses is played, not {request.method} {request.url.path}")
            )
        asked: Json = json.loads(request.content)
        self.requests.append(asked)
        answer = self._play(asked)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, ErrorAnswer):
            return _refusal(answer)
        whole = _response_of(answer)
        if whole is None:
            return _refusal(ErrorAnswer(400, _NO_ANSWER.format(number=len(self.requests), kind=type(answer).__name__)))
        whole = _completed(whole, asked)
        if asked.get("stream"):
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self._paced(whole))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=_bytes(whole))

    def client(self, *, max_retries: int = 2) -> AsyncOpenAI:
        """Return a real client that speaks to this service and to no network."""
        http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return AsyncOpenAI(
            api_key=_LOCAL, base_url=f"http://{_LOCAL}/v1", http_client=http_client, max_retries=max_retries
        )

    def run_config(self, **settings: Any) -> RunConfig:
        """Return a run config whose models speak to this service, without tracing.

        Args:
            settings: More arguments of `RunConfig`.
        """
        provider = OpenAIProvider(openai_client=self.client())
        return RunConfig(**{"model_provider": provider, "tracing_disabled": True, **settings})

    async def _paced(self, response: Json) -> AsyncIterator[bytes]:
        for event in _encoded(response):
            yield event
            await asyncio.sleep(self._pause)


def _one_by_one(answers: Iterable[Answer]) -> Callable[[Json], Answer]:
    waiting = iter(answers)
    return lambda _request: next(waiting, ErrorAnswer(400, "the script has no answer left for this request"))


_NO_ANSWER = "answer {number} of the script is a {kind!r}, not a text, an item, a list of items, a response or an error"


def _response_of(answer: object) -> Json | None:
    """Return an answer as a whole response, or None if it cannot be one."""
    if isinstance(answer, str):
        return response(assistant_message(answer))
    if isinstance(answer, dict):
        return answer if answer.get("object") == "response" else response(answer)
    if isinstance(answer, Sequence) and all(isinstance(item, dict) for item in answer):
        return response(*answer)
    return None


def _completed(whole: Json, asked: Json) -> Json:
    """Return a response with what only the request can tell."""
    if whole["model"] == _LOCAL:
        whole = {**whole, "model": asked.get("model", _LOCAL)}
    if whole["usage"] is None:
        read = [asked.get("instructions"), asked.get("input"), asked.get("tools")]
        whole = {**whole, "usage": token_usage(_tokens(read), _tokens(whole["output"]))}
    return whole


def _refusal(answer: ErrorAnswer) -> httpx2.Response:
    headers = {"content-type": "application/json"}
    if answer.retry_after is not None:
        headers["retry-after"] = f"{answer.retry_after:g}"
    kind = "rate_limit_error" if answer.status == httpx2.codes.TOO_MANY_REQUESTS else "invalid_request_error"
    body = {"error": {"message": answer.message, "type": kind, "param": None, "code": None}}
    return httpx2.Response(answer.status, headers=headers, content=_bytes(body))


# --- server-sent events ---


def _encoded(response: Json) -> Iterator[bytes]:
    for number, event in enumerate(_events(response)):
        data = _bytes({**event, "sequence_number": number})
        yield b"event: " + event["type"].encode() + b"\ndata: " + data + b"\n\n"


def _events(response: Json) -> Iterator[Json]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        place = {"output_index": index}
        yield {"type": "response.output_item.added", **place, "item": _begun(item)}
        within = {"item_id": item.get("id"), **place}
        if item["type"] == "message":
            yield from _message_events(item, within)
        elif item["type"] == "function_call":
            yield from _call_events(item, within)
        yield {"type": "response.output_item.done", **place, "item": item}
    yield {"type": "response.completed", "response": response}


_GROWS: dict[str, Json] = {"message": {"content": []}, "function_call": {"arguments": ""}}


def _begun(item: Json) -> Json:
    if item["type"] not in _GROWS:
        return item
    return {**item, **_GROWS[item["type"]], "status": "in_progress"}


def _message_events(item: Json, within: Json) -> Iterator[Json]:
    for index, part in enumerate(item["content"]):
        place = {**within, "content_index": index}
        if part["type"] != "output_text":
            yield {"type": "response.content_part.added", **place, "part": part}
            yield {"type": "response.content_part.done", **place, "part": part}
            continue
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
        for words in re.findall(r"\s*\S+\s*|\s+", part["text"]):
            yield {"type": "response.output_text.delta", **place, "delta": words, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": part}


def _call_events(item: Json, within: Json) -> Iterator[Json]:
    text: str = item["arguments"]
    kind = "response.function_call_arguments"
    for start in range(0, len(text), _ARGUMENTS_PER_DELTA):
        yield {"type": f"{kind}.delta", **within, "delta": text[start : start + _ARGUMENTS_PER_DELTA]}
    yield {"type": f"{kind}.done", **within, "name": item["name"], "arguments": text}


def _bytes(data: Json) -> bytes:
    # ASCII escapes carry lone surrogates, which a model can be made to say and UTF-8 cannot hold.
    return json.dumps(data, separators=(",", ":")).encode("ascii")


def _tokens(data: object) -> int:
    return len(json.dumps(data)) // _CHARACTERS_PER_TOKEN


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid4().hex[:16]}"
