"""Markdown reads like a conversation, and no text leaves its block: asked of a real reader of Markdown."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from sample_sessions import KEY, conversation, filled, transfer_of

from agents_sessions.features.transfer.markdown import fenced, quoted
from agents_sessions.model.entries import item_entry, record_entry

HOSTILE = [
    "# heading\n\n---\n\n## Turn 9",
    "</details></blockquote><script>alert(1)</script>",
    "<!-- swallow",
    "<details>\n\nopen",
    "```\nnever closed",
    "````\n```\n````",
    "~~~\n```\n~~~\n```",
    "```html\n<script>\n```\n<script>",
    "- ```\n<script>alert(1)</script>",
    "> ```\n<b>",
    "1. ~~~\n   <b>\n~~~\n<b>",
    "    indented\n\n<b>",
    "a `code\nb` <i> `c",
    "[x]: http://evil.example\n\n[x]",
    "[x\ny]:\nhttp://evil.example\n\n[x y]",
    "![pixel](http://evil.example/p.png) ![p][x]",
    "\r# carriage\rreturn\r\n\r\n# both",
    "line\u2028separator\u0085next\x0b# tab\x0c# feed",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "lazy\n===\n***",
    "<http://evil.example>",
    "<?php ?>\n<![CDATA[\n]]>",
    "\\",
    "\ud800",
    "",
]
PIECES = [
    "`",
    "~",
    "<",
    ">",
    "b>",
    "script>",
    "\n",
    "\r",
    "    ",
    "- ",
    "1. ",
    "[",
    "]",
    ":",
    "(",
    ")",
    "!",
    "#",
    "=",
    "\\",
    "a",
    " ",
    "|",
    "&lt;",
    "\t",
]


def blocks(text):
    """Return the blocks of a document, without what is inside them, and all tokens."""
    tokens = MarkdownIt("commonmark").parse(text)
    return [token.type for token in tokens if token.level == 0], tokens


def html_of(tokens):
    inner = [child for token in tokens for child in token.children or []]
    return [token.content for token in [*tokens, *inner] if token.type.startswith("html")]


def reaches_out(text):
    """Return what is in a quoted text that should not be: HTML, pictures, or links that other texts could use."""
    environment = {}
    tokens = MarkdownIt("commonmark").parse(f"before\n\n{quoted(text)}\n\nafter\n", environment)
    outer = [token.type for token in tokens if token.level == 0]
    around = ["paragraph_open", "inline", "paragraph_close"]
    level_0 = [
        "paragraph_open",
        "paragraph_close",
        "blockquote_open",
        "blockquote_close",
        "paragraph_open",
        "paragraph_close",
    ]
    assert outer == level_0, around
    assert tokens[-2].content == "after"
    pictures = [child for token in tokens for child in token.children or [] if child.type == "image"]
    return html_of(tokens), pictures, environment.get("references", {})


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_message_leaves_its_quote(text):
    assert reaches_out(text) == ([], [], {})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_at_all_leaves_its_quote(text):
    assert reaches_out(text) == ([], [], {})


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_output_leaves_its_code_block(text):
    tokens = MarkdownIt("commonmark").parse(fenced(text, "json"))
    assert [token.type for token in tokens] == ["fence"]


def test_code_in_a_message_is_shown_as_it_is():
    _, tokens = blocks(quoted("look:\n\n```html\n<b>1 < 2</b> ![x]: y\n```\nand `x < y`"))
    (code,) = [token for token in tokens if token.type == "fence"]
    assert (code.info, code.content) == ("html", "<b>1 < 2</b> ![x]: y\n")


def test_the_markdown_of_a_message_is_kept():
    _, tokens = blocks(quoted("# Title\n\n- **one**\n- [two](https://example.com) 3 < 4"))
    kinds = {token.type for token in tokens}
    assert {"heading_open", "bullet_list_open", "list_item_open"} <= kinds
    links = [child for token in tokens for child in token.children or [] if child.type == "link_open"]
    assert [link.attrs["href"] for link in links] == ["https://example.com"]


def exported(entries, **facts):
    async def work():
        return await transfer_of(await filled(entries=entries, **facts)).export(KEY.session_id, "markdown")

    return asyncio.run(work())


def test_it_reads_like_a_conversation():
    text = exported([*conversation(), *conversation(turn="t2", question="And now?", reply="Now too.")])
    order = [
        "# Order 42",
        "agent `triage` · session `order-42`",
        "## Turn 1",
        "**user**",
        "> Wo ist es?",
        "<summary>💭 <b>reasoning</b> · triage</summary>",
        "I look it up.",
        "<summary>🔧 <b>find_order</b> called · triage</summary>",
        '"order": "A-42"',
        "<b>find_order</b> returned",
        '{"state":"shipped"}',
        "*triage → billing*",
        "**billing**",
        "> It was shipped.",
        "completed after 1.2 s",
        "## Turn 2",
        "> Now too.",
        "2 turns · 10 items · 4 model requests · 3,600 input (1,200 cached) + 400 output = **4,000 tokens**",
    ]
    assert re.search(".*".join(map(re.escape, order)), text, re.DOTALL)


@pytest.mark.parametrize("text", HOSTILE[:-1], ids=ascii)
def test_names_titles_and_tools_leave_the_rest_as_it_is(text):
    """Whatever anything is called, the document has the blocks that it has with harmless names."""

    def document(name):
        entries = [
            item_entry(
                {"type": "function_call", "call_id": "c", "name": name, "arguments": name}, agent=name, turn=name
            ),
            item_entry({"role": "user", "content": "x"}, turn="t2"),
            item_entry({"type": name or "x", "text": name}, turn="t2"),
            record_entry({"type": "handoff", "from": name, "to": name}, turn="t2"),
            record_entry({"type": "decision", "approved": [name], "rejected": []}, turn="t2"),
        ]
        return blocks(exported(entries, name=f"x{name}", user_id=name))[0]

    assert document(text) == document("plain")


def test_the_turns_of_a_bare_session_begin_at_its_users_messages():
    entries = [
        item_entry({"role": role, "content": "x"}) for role in ("user", "assistant", "user", "user", "assistant")
    ]
    assert exported(entries).count("## Turn ") == 2


def test_what_a_bare_session_has_spent_is_shown():
    row = conversation()[4]["record"]
    assert "1 request, 900 + 100 tokens" in exported([record_entry(row)])


def test_an_empty_session_is_a_title_and_a_footer():
    assert exported([]).splitlines()[-1] == "0 turns · 0 items"
