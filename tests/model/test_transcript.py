"""A conversation as text says who said what, and a composed summary stays short however often it goes on."""

from agents_sessions.model.entries import item_entry
from agents_sessions.model.tokens import MEDIA_TOKENS, estimated_tokens
from agents_sessions.model.transcript import MAX_PART, MAX_SUMMARY, composed_summary, open_questions, transcript


def user(text):
    return item_entry({"role": "user", "content": text})


def answer(text, agent="clerk"):
    return item_entry({"role": "assistant", "content": [{"type": "output_text", "text": text}]}, agent=agent)


def used(output="found"):
    call = {"type": "function_call", "name": "look", "call_id": "c", "arguments": '{"n": 1}'}
    return [
        item_entry(call, agent="clerk"),
        item_entry({"type": "function_call_output", "call_id": "c", "output": output}),
    ]


def numbered(*entries):
    return [{**entry, "seq": seq, "at": "2026-01-01T00:00:00.000Z"} for seq, entry in enumerate(entries, 1)]


def test_a_transcript_names_who_speaks_and_what_tools_did():
    text = transcript(numbered(user("Where?"), *used(), answer("There.")))
    assert text.split("\n\n") == ["user: Where?", 'clerk calls look {"n": 1}', "look returns: found", "clerk: There."]


def test_what_is_very_long_has_its_middle_left_out():
    text = transcript(numbered(user("x" * 10 * MAX_PART)))
    assert len(text) < MAX_PART + 50
    assert " […] " in text


def test_a_composed_summary_has_a_line_for_each_turn():
    lines = composed_summary(numbered(user("Where?"), *used(), answer("There."), user("When?")))
    assert lines.split("\n") == ["- Asked: Where? Tools: look Answered: There.", "- Asked: When?"]


def test_a_composed_summary_goes_on_and_stays_short():
    text = ""
    for number in range(200):
        text = composed_summary(numbered(user(f"{number} " + "word " * 30), answer("so " * 30)), text)
        assert len(text) < MAX_SUMMARY + 400
    assert text.startswith("- Asked: 0 word")
    assert text.count("(Turns in between are left out.)") == 1
    assert "- Asked: 199 word" in text


def test_questions_are_open_until_someone_answers():
    assert open_questions(numbered(user("a"), answer("b"), user("c"), user("d"))) == ["c", "d"]
    assert open_questions(numbered(user("a"), answer("b"))) == []


def test_tokens_are_estimated_by_characters_and_pictures_by_the_piece():
    assert estimated_tokens([{"role": "abcd", "content": "x" * 396}]) == 100
    assert estimated_tokens([{"image_url": "data:image/png;base64," + "A" * 10**6}]) == MEDIA_TOKENS
    assert estimated_tokens([]) == 0
