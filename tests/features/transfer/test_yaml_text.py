"""YAML says what the lossless document says, to every reader of YAML."""

import asyncio
import json
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_sessions import KEY, conversation, everything, filled, transfer_of

from agents_sessions.errors import MissingExtraError
from agents_sessions.features.transfer.yaml_text import YamlWriter
from agents_sessions.model.entries import item_entry

TRAPS = [
    "a\u0085b", "\u2028", "\x00\x1b", "\x7f\x9f", "\ufeff", "\uffff", "é😀", "2026-01-01", "yes", "1e5", "~", "- a",
    ": b", "#c", " lead", "tail ", "a\nb\n", "\n", "a\r\nb",
    "'", '"', "{", "*x", "&x", "!!x", "%x", "a: b", "x" * 5000, "",
]  # fmt: skip


async def both(entries):
    transfer = transfer_of(await filled(entries=entries))
    return await transfer.export(KEY.session_id, "yaml"), json.loads(await transfer.export(KEY.session_id))


@pytest.mark.parametrize("text", TRAPS, ids=ascii)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_a_text_comes_back(text, loader):
    found = yaml.load(YamlWriter().page([item_entry({"x": text, text: 1})]), loader)
    assert found == [{"item": {"x": text, text: 1}}]


@settings(max_examples=200, deadline=None)
@given(
    st.text(
        st.sampled_from([*"ab \n\t\r#-:'\"|>?&*!%@`{}[],\\é京", "\u0085", "\u2028", "\x00", "😀", *".1=~<y", "\ufeff"])
    )
)
def test_any_text_comes_back(text):
    page = YamlWriter().page([item_entry({"x": text, "y": [text, {"z": text}]})])
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        assert yaml.load(page, loader) == [{"item": {"x": text, "y": [text, {"z": text}]}}]


def test_a_text_of_several_lines_is_a_block_of_lines():
    assert b"content: |-\n      one\n      two\n" in YamlWriter().page([item_entry({"content": "one\ntwo"})])


def test_it_holds_what_json_holds():
    async def work():
        text, wanted = await both(everything())
        del wanted["entries"]
        assert yaml.safe_load(text) == wanted

    asyncio.run(work())


def test_an_entry_with_half_a_character_does_not_keep_the_others_from_being_readable():
    async def work():
        text, wanted = await both(
            [*conversation(question="Grüße"), item_entry({"role": "user", "content": "\ud800 Grüße"})]
        )
        assert "content: Grüße" in text
        assert yaml.safe_load(text)["history"] == wanted["history"]

    asyncio.run(work())


def test_without_libyaml_it_is_the_same_in_ascii(monkeypatch):
    monkeypatch.delattr(yaml, "CSafeDumper")

    async def work():
        text, wanted = await both(everything())
        assert text.isascii()
        assert yaml.safe_load(text)["history"] == wanted["history"]

    asyncio.run(work())


def test_an_empty_history_is_an_empty_list():
    async def work():
        text, _ = await both([])
        assert yaml.safe_load(text)["history"] == []

    asyncio.run(work())


@pytest.mark.parametrize(("format_name", "package", "extra"), [("yaml", "yaml", "yaml"), ("html", "jinja2", "html")])
def test_a_format_whose_package_is_missing_says_what_to_install(monkeypatch, format_name, package, extra):
    from agents_sessions.pages import templates

    templates.loaded.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)

    async def work():
        transfer = transfer_of(await filled())
        with pytest.raises(MissingExtraError, match=rf'pip install "agents-sessions\[{extra}\]"'):
            await transfer.export(KEY.session_id, format_name)

    asyncio.run(work())
