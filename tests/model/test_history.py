import pytest

from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.history import HandoffEntry, ItemEntry, TurnEntry, UsageEntry, messages, typed

ENVELOPE = {"seq": 7, "at": "2025-01-31T12:00:00.123Z"}
ROW = {
    "requests": 1,
    "input_tokens": 10,
    "cached_tokens": 4,
    "cache_write_tokens": 0,
    "output_tokens": 5,
    "reasoning_tokens": 2,
    "total_tokens": 15,
}


def of(entry):
    return typed({**ENVELOPE, **entry})


def test_an_item_is_what_the_runner_gave():
    item = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    entry = of(item_entry(item, agent="support", turn="r1"))
    assert isinstance(entry, ItemEntry)
    assert (entry.item, entry.agent, entry.turn, entry.seq) == (item, "support", "r1", 7)


def test_a_moment_is_utc():
    entry = of(item_entry({"role": "user", "content": "hi"}))
    assert entry.at.isoformat() == "2025-01-31T12:00:00.123000+00:00"


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ({"role": "user", "content": "hi"}, "user"),
        ({"type": "message", "role": "assistant", "content": []}, "assistant"),
        ({"type": "function_call"}, "function_call"),
        ({"type": "reasoning", "role": "assistant"}, "reasoning"),
        ({"type": 7}, "unknown"),
        ({}, "message"),
    ],
)
def test_the_kind_of_an_item(item, kind):
    assert of(item_entry(item)).kind == kind


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        ([{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}], "ab"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        ([{"type": "input_image", "image_url": "x"}, {"type": "input_text", "text": "what?"}], "[image] what?"),
        ([], ""),
        (None, ""),
        ([{"type": "input_text", "text": None}, "odd"], ""),
    ],
)
def test_the_text_of_a_message(content, text):
    assert of(item_entry({"role": "user", "content": content})).text == text


def test_a_handoff_names_both_agents():
    record = {"type": "handoff", "from": "support", "to": "billing", "tool": "transfer_to_billing"}
    entry = of(record_entry(record))
    assert isinstance(entry, HandoffEntry)
    assert (entry.from_agent, entry.to_agent, entry.tool, entry.arguments) == (
        "support",
        "billing",
        "transfer_to_billing",
        None,
    )


def test_reading_a_handoff_changes_no_record():
    record = {"type": "handoff", "from": "support", "to": "billing"}
    of(record_entry(record))
    assert record == {"type": "handoff", "from": "support", "to": "billing"}


def test_usage_has_a_row_per_request():
    entry = of(record_entry({"type": "usage", "requests": [{**ROW, "agent": "support"}, {**ROW, "nested": True}]}))
    assert isinstance(entry, UsageEntry)
    assert [(row.agent, row.nested, row.total_tokens) for row in entry.requests] == [
        ("support", False, 15),
        (None, True, 15),
    ]


def test_the_end_of_a_turn_has_its_status_and_cost():
    record = {"type": "turn", "status": "failed", "usage": ROW, "duration_ms": 12, "error": "ValueError"}
    entry = of(record_entry(record))
    assert isinstance(entry, TurnEntry)
    assert (entry.status, entry.usage.cached_tokens, entry.error) == ("failed", 4, "ValueError")


def test_entries_cannot_be_changed():
    entry = of(item_entry({"role": "user", "content": "hi"}))
    with pytest.raises(ValueError, match="frozen"):
        entry.seq = 8


def test_messages_are_those_of_user_and_assistant():
    bodies = [
        item_entry({"role": "system", "content": "be brief"}),
        item_entry({"role": "user", "content": "hi"}, turn="r1"),
        item_entry({"type": "function_call", "name": "look"}),
        record_entry({"type": "usage", "requests": [ROW]}),
        item_entry({"role": "assistant", "content": [{"text": "hello"}]}, agent="support", turn="r1"),
    ]
    found = messages({**ENVELOPE, **body} for body in bodies)
    assert [(each.role, each.text, each.agent, each.turn) for each in found] == [
        ("user", "hi", None, "r1"),
        ("assistant", "hello", "support", "r1"),
    ]


def test_a_message_whose_type_is_null_is_a_message_like_any_other():
    item = {"role": "user", "content": "hi", "type": None, "phase": None}
    assert typed({**ENVELOPE, "item": item}).kind == "user"
    assert [message.text for message in messages([{**ENVELOPE, "item": item}])] == ["hi"]


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"type": "input_image", "image_url": "data:image/png;base64,AA=="}, "[image]"),
        ({"type": "input_file", "file_id": "f1"}, "[file]"),
        ({"type": "input_file", "filename": "bill.pdf", "file_data": "AA=="}, "[file bill.pdf]"),
        ({"type": "input_audio", "input_audio": {}}, "[audio]"),
        ({"type": "refusal", "refusal": "No."}, "No."),
        ({"type": "input_text", "text": "hi"}, "hi"),
        ({"type": "of tomorrow"}, ""),
        ({"type": "input_text", "text": None}, ""),
    ],
)
def test_a_message_says_something_for_what_is_no_text(part, shown):
    item = {"role": "user", "content": [part]}
    assert messages([{**ENVELOPE, "item": item}])[0].text == typed({**ENVELOPE, "item": item}).text == shown
