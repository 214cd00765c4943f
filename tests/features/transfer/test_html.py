"""One file that needs nothing else, in which no message is more than text."""

import asyncio
import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hostile_messages import HOSTILE
from sample_sessions import KEY, conversation, filled, transfer_of

from agents_sessions.model.entries import item_entry, record_entry


class Reading(HTMLParser):
    """What a reader of HTML finds in a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.inside = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.setdefault(self.inside[-1] if self.inside else "", []).append(data)


def exported(entries, **facts):
    async def work():
        return await transfer_of(await filled(entries=entries, **facts)).export(KEY.session_id, "html")

    return asyncio.run(work())


def with_everywhere(text):
    """Return a page in which a text stands wherever one can."""
    entries = [
        item_entry({"role": "user", "content": text}),
        item_entry({"role": "user", "content": [{"type": "input_image", "image_url": text}]}),
        item_entry({"type": "function_call", "call_id": text, "name": text, "arguments": text}, agent=text, turn=text),
        item_entry({"type": "function_call_output", "call_id": text, "output": text}, agent=text, turn=text),
        item_entry({"type": text, text: text}, agent=text, turn=text),
        record_entry({"type": "handoff", "from": text, "to": text, "arguments": text}, turn=text),
        record_entry({"type": "decision", "approved": [text], "rejected": [text]}, turn=text),
    ]
    return exported(entries, name=text or "x", user_id=text, metadata={"x": text})


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_becomes_markup(text):
    """Whatever is said, the page has the elements and attributes that it has when nothing is said."""
    plain, hostile = Reading(with_everywhere("plain")), Reading(with_everywhere(text))
    assert hostile.tags == plain.tags
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in plain.attributes]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_json_of_an_entry_is_that_of_the_entry(text):
    found = [json.loads(raw) for raw in Reading(with_everywhere(text)).texts["script"][:-1]]
    assert (found[0]["item"]["content"], found[2]["item"]["name"]) == (text, text)


def test_what_is_said_is_there_to_be_read():
    page = exported([*conversation(reply="5 < 6 & <b>")])
    assert "5 < 6 & <b>" in Reading(page).texts["div"]


def test_nothing_but_our_own_script_and_style_is_allowed():
    page = exported(conversation())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    policy = policy.replace("&#39;", "'")
    for name, text in (
        ("style", re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]),
        ("script", re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_no_attribute_holds_a_style_a_handler_or_an_address_of_elsewhere():
    for tag, name, value in Reading(with_everywhere("http://evil.example/")).attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name in ("href", "src", "action"):
            assert value.startswith("#"), (tag, name, value)


def test_a_picture_is_shown_and_only_where_it_can_hold_nothing_else():
    def pictures(url):
        page = Reading(exported([item_entry({"role": "user", "content": [{"type": "input_image", "image_url": url}]})]))
        return [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]

    assert pictures("data:image/png;base64,iVBORw0KGgo=") == ["data:image/png;base64,iVBORw0KGgo="]
    for url in (
        "data:image/svg+xml;base64,AAAA",
        "http://evil.example/p.png",
        "data:text/html;base64,AAAA",
        'data:image/png;base64,A"x',
    ):
        assert pictures(url) == []


def test_turns_agents_handoffs_tools_and_tokens_are_to_be_seen():
    page = exported([*conversation(), *conversation(turn="t2")])
    found = Reading(page)
    assert found.texts["h1"] == ["Order 42"]
    assert found.texts["span"][-2:] == ["triage", "billing"]
    assert {"Turn 1", "Turn 2"} <= set(found.texts["a"])
    assert "triage → billing" in found.texts["b"]
    assert found.tags.count("svg") == 2
    assert ("svg", "data-total", "1000") in [(t, n.lower(), v) for t, n, v in found.attributes]
    assert '{\n  "order": "A-42"\n}' in found.texts["pre"]
    assert "2 turns · 10 items · 4 model requests · 4,000 tokens" in found.texts["footer"]


def test_an_empty_session_says_so():
    assert "Nothing has been said yet." in exported([])


def test_a_record_of_a_later_version_is_shown_as_it_is():
    """A store refuses what it does not know; a page that is made of a file by hand does not."""
    from agents_sessions.features.transfer.html import HtmlWriter

    page = HtmlWriter().page([{"seq": 1, "at": "2026-11-27T00:00:00.000Z", "record": {"type": "later_idea", "x": [1]}}])
    assert "later idea" in page.decode()
    assert '"x": [\n    1\n  ]' in Reading(page.decode()).texts["pre"][0]
