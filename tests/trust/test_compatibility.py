"""A file of format 1, written once and committed, is read for ever."""

import asyncio
import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import fuzz_document as fuzz
import pytest

from agents_sessions.errors import SessionCorruptedError, SessionVersionError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")
FIXTURE = Path(__file__).parent / "fixtures" / "agents-sessions-1.json"
BATCHES = ([fuzz.MESSAGE], [fuzz.CALL, fuzz.OUTPUT], [fuzz.USAGE, fuzz.HANDOFF], [fuzz.ODD, fuzz.RUN])
REASONING = item_entry({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"})


def make():
    """Return the bytes of the fixture, as this version writes them."""
    data = fuzz.new_file([REASONING])
    for batch in BATCHES:
        data = fuzz.grown(data, batch)
    return data


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path)
    store.path(KEY).parent.mkdir()
    shutil.copy(FIXTURE, store.path(KEY))
    return store


def expected():
    return [entry.get("item", entry.get("record")) for entry in [REASONING, *itertools.chain(*BATCHES)]]


def test_the_first_format_is_read_as_it_was_written(store):
    async def work():
        info, entries = await store.load(KEY), await store.entries(KEY)
        assert [entry.get("item", entry.get("record")) for entry in entries] == expected()
        assert [entry["seq"] for entry in entries] == list(range(1, 9))
        assert [entry.get("agent") for entry in entries[2:]] == ["a", "a", "a", "a", None, "b"]
        assert await store.items(KEY) == [entry["item"] for entry in entries if "item" in entry]
        assert list((await store.items(KEY))[0]) == ["type", "id", "summary", "encrypted_content"]
        assert info.context == replace(fold(ContextStats(), entries), last_entry_at=None)  # younger than the fixture
        assert info.last_active_at == info.updated_at
        assert (info.context.items, info.context.turns, info.context.total_tokens) == (5, 1, 42)
        assert (info.seq, info.name, info.metadata, info.model_extra) == (8, "Zoë", {"tags": ["x"]}, {"more": [1]})

    before = FIXTURE.read_bytes()
    asyncio.run(work())
    assert store.path(KEY).read_bytes() == before, "a reader wrote"


def test_the_first_format_is_appended_to_in_place(store):
    before = FIXTURE.read_bytes()
    asyncio.run(store.append(KEY, [fuzz.MESSAGE]))
    after = store.path(KEY).read_bytes()
    assert after.startswith(before[: json.loads(before)["seal"]["end"]])
    assert len(asyncio.run(store.entries(KEY))) == 9


def test_the_first_format_survives_a_rewrite(store):
    asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(name="new")))
    entries = asyncio.run(store.entries(KEY))
    assert [entry.get("item", entry.get("record")) for entry in entries] == expected()


@pytest.mark.parametrize("version", ["2", "10", "99999"])
def test_a_newer_format_is_refused_and_not_touched(store, version):
    path = store.path(KEY)
    newer = path.read_bytes().replace(b"agents-sessions/1", b"agents-sessions/" + version.encode())
    for data in (newer, json.dumps(json.loads(newer)).encode()):
        path.write_bytes(data)
        for act in (store.load, store.items, store.entries, lambda key: store.append(key, [fuzz.MESSAGE])):
            with pytest.raises(SessionVersionError):
                asyncio.run(act(KEY))
        assert path.read_bytes() == data


# --- what holds today of a document that names an older version; docs/file-format.md says what a second one needs ---


def older(data):
    return data.replace(b"agents-sessions/1", b"agents-sessions/0")


def test_an_older_document_is_read_and_brought_up_by_the_next_write(store):
    """As if a person had written it: without what this version adds to an entry, and the old file is not kept."""
    path = store.path(KEY)
    history = [{"item": fuzz.MESSAGE["item"], "by": "hand"}, {"item": fuzz.OUTPUT["item"]}]
    ids = {"format": "agents-sessions/0", "id": KEY.session_id, "agent_id": KEY.agent_id}
    path.write_text(json.dumps({**ids, "name": "Zo", "history": history}, indent=1))
    before = path.read_bytes()
    assert asyncio.run(store.items(KEY)) == [entry["item"] for entry in history]
    assert path.read_bytes() == before, "a reader wrote"
    asyncio.run(store.append(KEY, [fuzz.MESSAGE]))
    new = json.loads(path.read_bytes())
    assert (new["format"], new["name"]) == ("agents-sessions/1", "Zo")
    assert [(entry["seq"], entry["item"]) for entry in new["history"]] == [
        (1, fuzz.MESSAGE["item"]),
        (2, fuzz.OUTPUT["item"]),
        (3, fuzz.MESSAGE["item"]),
    ]
    assert new["history"][0]["by"] == "hand"
    assert list(path.parent.iterdir()) == [path]


def test_an_older_document_whose_seal_holds_is_taken_for_one_of_the_first_format(store):
    path = store.path(KEY)
    path.write_bytes(fuzz.sealed_anew(json.loads(older(FIXTURE.read_bytes()))))
    asyncio.run(store.append(KEY, [fuzz.MESSAGE]))
    assert json.loads(path.read_bytes())["format"] == "agents-sessions/0"
    entries = asyncio.run(store.entries(KEY))
    bodies = [entry.get("item", entry.get("record")) for entry in entries]
    assert bodies == [*expected(), fuzz.MESSAGE["item"]]


def test_an_older_document_of_another_shape_is_damage_and_no_empty_history(store):
    path = store.path(KEY)
    ids = {"format": "agents-sessions/0", "id": KEY.session_id, "agent_id": KEY.agent_id}
    for shape in ({"messages": [fuzz.MESSAGE["item"]]}, {"history": {"1": fuzz.MESSAGE["item"]}}, {"history": ["Hi"]}):
        path.write_text(json.dumps({**ids, **shape}))
        before = path.read_bytes()
        for act in (store.load, store.items, store.entries, lambda key: store.append(key, [fuzz.MESSAGE])):
            with pytest.raises(SessionCorruptedError):
                asyncio.run(act(KEY))
        assert path.read_bytes() == before


if __name__ == "__main__":  # only for a new format: the file of an old one is never made again
    sys.stdout.buffer.write(make())
