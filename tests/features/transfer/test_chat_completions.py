"""Message lists of Chat Completions become items that the Responses API takes."""

import asyncio
import json

import pytest
from agents.models.chatcmpl_converter import Converter
from sample_sessions import transfer_of

from agents_sessions.errors import ImportRefusedError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.memory import MemoryStore

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"order":"A-42"}'}}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Where?"}, {"type": "image_url", "image_url": {"url": "data:x"}}],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "shipped"},
    {"role": "assistant", "content": "It was shipped."},
]


async def imported(value, **options):
    store = MemoryStore()
    text = value if isinstance(value, str) else json.dumps(value)
    report = await transfer_of(store).import_session(text, session_id="a", **options)
    return report, await store.items(SessionKey("default", "a"))


def test_a_chat_with_a_tool_becomes_items():
    report, items = asyncio.run(imported(CHAT))
    assert report.format == "chat_completions"
    assert items == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Where?"},
                {"type": "input_image", "image_url": "data:x", "detail": "auto"},
            ],
        },
        {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": '{"order":"A-42"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "shipped"},
        {"role": "assistant", "content": "It was shipped."},
    ]
    assert report.dropped == ()


def test_the_sdk_makes_the_same_chat_of_it_again():
    _, items = asyncio.run(imported(CHAT))
    again = Converter.items_to_messages(items)
    assert [message["role"] for message in again] == [message["role"] for message in CHAT]
    assert again[2]["tool_calls"][0]["function"] == CALL["function"]
    assert again[3] == CHAT[3]


@pytest.mark.parametrize("wrapped", ["messages", "list of lines"])
def test_a_request_and_lines_of_messages_are_taken_too(wrapped):
    text = json.dumps({"model": "x", "messages": CHAT}) if wrapped == "messages" else "\n".join(map(json.dumps, CHAT))
    report, items = asyncio.run(imported(text))
    assert (report.format, len(items)) == ("chat_completions", 5)


def test_messages_that_both_apis_have_can_be_named_as_chat():
    messages = [{"role": "user", "content": "hello", "name": "zoe"}]
    report, items = asyncio.run(imported(messages, format="chat_completions"))
    assert items == [{"role": "user", "content": "hello"}]
    assert [(dropped.what, dropped.count) for dropped in report.dropped] == [("`name` of a message", 1)]


def test_what_has_no_place_is_counted():
    chat = [
        *CHAT,
        {"role": "assistant", "content": "x", "audio": {"id": "1"}, "reasoning_content": "hm", "annotations": []},
        {"role": "user", "content": [{"type": "hologram"}]},
        {"role": "user", "content": [{"type": "hologram"}, {"type": "text", "text": "y"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "thing"}]},
    ]
    report, items = asyncio.run(imported(chat))
    assert {dropped.what: dropped.count for dropped in report.dropped} == {
        "`audio` of a message": 1,
        "`reasoning_content` of a message": 1,
        "part of type 'hologram'": 2,
        "part of an answer that is no text": 1,
    }
    assert items[-2:] == [
        {"role": "user", "content": [{"type": "input_text", "text": "y"}]},
        {"role": "assistant", "content": "a"},
    ]


def test_functions_of_before_there_were_tools_are_calls_too():
    chat = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": "{}"}},
        {"role": "function", "name": "find", "content": "shipped"},
    ]
    _, items = asyncio.run(imported(chat))
    assert [item.get("type") for item in items] == [None, "function_call", "function_call_output"]
    assert items[1]["call_id"] == items[2]["call_id"]


def test_custom_tools_refusals_audio_and_files_are_taken():
    chat = [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f_1"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]},
        {
            "role": "tool",
            "tool_call_id": "c",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"role": "assistant", "content": None, "refusal": "No."},
    ]
    report, items = asyncio.run(imported(chat))
    assert items == [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "input_file", "file_id": "f_1"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ab"},
        {"role": "assistant", "content": "No."},
    ]
    assert report.dropped == ()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("text", "role"),
        ({"content": "x"}, "role"),
        ({"role": "robot", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": 7}, "content"),
        ({"role": "user", "content": [7]}, "content"),
        ({"role": "assistant", "content": 7}, "content"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"role": "function", "content": "x"}, "tool_call_id"),
        ({"role": "assistant", "tool_calls": {"a": 1}}, "tool_calls"),
        ({"role": "assistant", "tool_calls": [{}]}, "tool_calls"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}, "tool_calls"),
    ],
    ids=repr,
)
def test_a_message_that_is_none_is_refused_by_its_number(message, field):
    with pytest.raises(ImportRefusedError, match="message 6") as raised:
        asyncio.run(imported([*CHAT, message]))
    assert raised.value.field == field
