"""The lossless document: what goes out comes back equal, and what is broken comes back not at all."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_sessions import KEY, RUN_STATE, SIDECARS, contents, conversation, filled, info_of, transfer_of

from agents_sessions.errors import ImportLimitError, ImportRefusedError, ImportVersionError
from agents_sessions.features.transfer.values import ImportLimits
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

FORMATS = ["json", "jsonl"]
TEXT = st.text(st.characters(exclude_categories=()), max_size=12).filter(lambda text: not _joins(text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def _joins(text):
    return any("\ud800" <= a <= "\udbff" and "\udc00" <= b <= "\udfff" for a, b in pairwise(text))


async def there_and_back(store, to, format_name, **options):
    text = await transfer_of(store).export(KEY.session_id, format_name, **options)
    await transfer_of(to).import_session(text)
    return text


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_goes_out_comes_back_equal(tmp_path, kind, format_name):
    async def work():
        store = await filled(FileStore(tmp_path / "a") if kind == "file" else MemoryStore())
        to = FileStore(tmp_path / "b") if kind == "file" else MemoryStore()
        await there_and_back(store, to, format_name)
        assert await contents(to) == await contents(store)

    asyncio.run(work())


@pytest.mark.parametrize("format_name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=5), st.dictionaries(TEXT, JSON, max_size=3))
def test_any_items_and_facts_come_back_equal(format_name, items, metadata):
    async def work():
        store, to = await filled(entries=[item_entry(item) for item in items], metadata=metadata), MemoryStore()
        await there_and_back(store, to, format_name)
        assert repr(await contents(to)) == repr(await contents(store))

    asyncio.run(work())


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_empty_session_comes_back_empty(format_name):
    async def work():
        store, to = await filled(entries=[], sidecars={}), MemoryStore()
        await there_and_back(store, to, format_name)
        assert await contents(to) == await contents(store)

    asyncio.run(work())


def test_json_is_one_json_document():
    async def work():
        found = json.loads(await transfer_of(await filled()).export(KEY.session_id))
        assert (found["format"], found["session"]["later"]) == ("agents-sessions-export/1", [1, None])
        assert found["sidecars"]["note"] == {"text": "Zoë"}
        assert found["entries"] == len(found["history"])

    asyncio.run(work())


def test_every_line_of_jsonl_is_json():
    async def work():
        lines = (await transfer_of(await filled()).export(KEY.session_id, "jsonl")).split("\n")
        found = [json.loads(line) for line in lines if line]
        assert (found[1]["seq"], found[-1]) == (3, {"end": True, "entries": len(found) - 2})

    asyncio.run(work())


@pytest.mark.parametrize("change", ["indented", "sorted", "crlf", "bom"])
def test_a_document_that_someone_laid_out_otherwise_is_read(change):
    async def work():
        store = await filled(entries=conversation())
        text = await transfer_of(store).export(KEY.session_id)
        data = {
            "indented": json.dumps(json.loads(text), indent=2),
            "sorted": json.dumps(json.loads(text), sort_keys=True),
            "crlf": text.replace("\n", "\r\n"),
            "bom": "\ufeff" + text,
        }[change]
        to = MemoryStore()
        await transfer_of(to).import_session(data)
        assert await contents(to) == await contents(store)

    asyncio.run(work())


def test_a_number_that_was_given_is_not_given_again_after_an_import():
    async def work():
        store, to = await filled(entries=conversation(), seq=500), MemoryStore()
        await there_and_back(store, to, "jsonl")
        assert (await to.append(KEY, [item_entry({"role": "user", "content": "x"})])).seq == 510

    asyncio.run(work())


# --- what is left out ----------------------------------------------------------------------------------------------


def test_the_state_of_a_run_stays_unless_asked_for():
    async def work():
        store, to = await filled(sidecars={**SIDECARS, **RUN_STATE}), MemoryStore()
        text = await transfer_of(store).export(KEY.session_id)
        report = await transfer_of(to).import_session(text)
        assert "my-secret" not in text
        assert [dropped.what for dropped in report.dropped] == ["run state"]
        to = MemoryStore()
        await there_and_back(store, to, "jsonl", include_run_state=True)
        assert await contents(to) == await contents(store)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("option", "gone"),
    [("include_metadata", '"plan"'), ("include_tool_calls", "find_order"), ("include_usage", "900")],
)
def test_what_is_left_out_is_not_there_and_is_named(option, gone):
    async def work():
        transfer, to = transfer_of(await filled(entries=conversation())), MemoryStore()
        assert gone in await transfer.export(KEY.session_id)
        text = await transfer.export(KEY.session_id, **{option: False})
        assert gone not in text
        report = await transfer_of(to).import_session(text)
        assert [dropped.what for dropped in report.dropped] == [option.removeprefix("include_").replace("_", " ")]

    asyncio.run(work())


def test_a_conversation_without_tool_calls_is_still_one_that_a_model_takes():
    """No output without its call, and no reasoning without what it led to."""

    async def work():
        to = MemoryStore()
        await there_and_back(await filled(entries=conversation()), to, "json", include_tool_calls=False)
        assert [item.get("role") for item in await to.items(KEY)] == ["user", "assistant"]

    asyncio.run(work())


# --- what is broken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_document_that_was_cut_anywhere_is_refused_whole(format_name):
    async def work():
        text = await transfer_of(await filled(entries=conversation(), sidecars={})).export(KEY.session_id, format_name)
        data, to = text.encode().rstrip(), MemoryStore()
        for end in range(1, len(data), 23):
            with pytest.raises(ImportRefusedError):
                await transfer_of(to).import_session(data[:end])
        assert [info async for info in to.scan()] == []

    asyncio.run(work())


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_document_that_lost_a_line_is_refused(format_name):
    async def work():
        text = await transfer_of(await filled(entries=conversation())).export(KEY.session_id, format_name)
        lines = text.splitlines(keepends=True)
        with pytest.raises(ImportRefusedError, match="there are 8 entries, and the end says 9") as raised:
            await transfer_of().import_session("".join([*lines[:3], *lines[4:]]))
        assert raised.value.field == "entries"

    asyncio.run(work())


def document(**changes):
    header = {"format": "agents-sessions-export/1", "session": {"id": "a", "agent_id": "b"}, "history": []}
    return json.dumps({**header, **changes})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"session": None}, "session"),
        ({"session": {"id": "", "agent_id": "b"}}, "session_id"),
        ({"session": {"id": "a\0", "agent_id": "b"}}, "session_id"),
        ({"session": {"id": "a", "agent_id": 7}}, "agent_id"),
        ({"session": {"id": "a", "agent_id": "b", "status": "open"}}, "status"),
        ({"session": {"id": "a", "agent_id": "b", "created_at": "x"}}, "created_at"),
        ({"seq": "many"}, "seq"),
        ({"left_out": 3}, "left_out"),
        ({"sidecars": []}, "sidecars"),
        ({"sidecars": {"a/b/c": {"text": ""}}}, "sidecars.a/b/c"),
        ({"sidecars": {"x": {"base64": "?"}}}, "sidecars.x"),
        ({"sidecars": {"x": "text"}}, "sidecars.x"),
        ({"history": {}}, "history"),
        ({"entries": 5}, "entries"),
    ],
)
def test_a_field_that_cannot_be_is_named(changes, field):
    async def work():
        to = MemoryStore()
        with pytest.raises(ImportRefusedError) as raised:
            await transfer_of(to).import_session(document(**changes))
        assert raised.value.field == field
        assert [info async for info in to.scan()] == []

    asyncio.run(work())


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [],
        {"seq": 1},
        {"item": "text"},
        {"item": {}, "record": {"type": "usage", "requests": []}},
        {"item": {}, "at": "yesterday"},
        {"item": {}, "seq": "one"},
        {"item": {}, "agent": 7},
        {"record": {"type": "unheard of"}},
        {"record": {"type": "usage"}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("layout", ["lines", "whole"])
def test_an_entry_that_is_none_is_refused_with_its_place(entry, layout):
    async def work():
        good, to = {"item": {"role": "user", "content": "hello"}}, MemoryStore()
        if layout == "whole":
            text = document(history=[good, entry])
        else:
            header = document(history=[]).replace(', "history": []', "")
            text = "\n".join([header, json.dumps(good), json.dumps(entry), '{"end":true}'])
        with pytest.raises(ImportRefusedError) as raised:
            await transfer_of(to).import_session(text)
        assert (raised.value.line or 3) == 3
        assert [info async for info in to.scan()] == []

    asyncio.run(work())


def test_a_newer_document_is_refused_as_such():
    with pytest.raises(ImportVersionError, match="update agents-sessions"):
        asyncio.run(transfer_of().import_session(document(format="agents-sessions-export/2")))


def test_a_broken_line_is_named():
    async def work():
        text = await transfer_of(await filled(entries=conversation())).export(KEY.session_id, "jsonl")
        lines = text.splitlines()
        lines[4] = lines[4][:-1]
        with pytest.raises(ImportRefusedError, match="the text, line 5: is not JSON"):
            await transfer_of().import_session("\n".join(lines))

    asyncio.run(work())


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "format_name"),
    [
        (ImportLimits(max_bytes=1000), "jsonl"),
        (ImportLimits(max_bytes=1000), "json"),
        (ImportLimits(max_entries=3), "jsonl"),
        (ImportLimits(max_whole_bytes=100), "whole"),
    ],
    ids=["bytes of lines", "bytes of json", "entries", "bytes of a whole"],
)
def test_what_is_beyond_a_limit_is_refused_with_its_name(limits, format_name):
    async def work():
        transfer, to = transfer_of(await filled(entries=conversation())), MemoryStore()
        text = await transfer.export(KEY.session_id, "json" if format_name == "whole" else format_name)
        text = json.dumps(json.loads(text), indent=1) if format_name == "whole" else text
        with pytest.raises(ImportLimitError, match="max_"):
            await transfer_of(to).import_session(text, limits=limits)
        assert [info async for info in to.scan()] == []

    asyncio.run(work())


def test_a_line_beyond_the_limit_is_refused_before_it_is_read_to_its_end():
    async def work():
        header = document().replace(', "history": []', "")
        with pytest.raises(ImportLimitError, match="max_line_bytes") as raised:
            await transfer_of().import_session(
                header + "\n" + "x" * 5_000_000, limits=ImportLimits(max_line_bytes=1000)
            )
        assert raised.value.line == 2

    asyncio.run(work())


@pytest.mark.parametrize("deep", [101, 5000, 200_000])
def test_nesting_without_end_is_refused(deep):
    text = document(history=[]).replace('"history": []', f'"history": [{{"item": {{"x": {"[" * deep}{"]" * deep}}}}}]')
    with pytest.raises(ImportRefusedError, match="nested"):
        asyncio.run(transfer_of().import_session(text))


def test_an_entry_of_facts_keeps_its_session():
    """Facts that this version does not know travel along."""

    async def work():
        store, to = await filled(entries=[]), MemoryStore()
        await there_and_back(store, to, "json")
        assert (await to.load(KEY)).model_extra == info_of().model_extra == {"later": [1, None]}

    asyncio.run(work())
