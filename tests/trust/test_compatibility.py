"""A file of format 1, written once and committed, is read for ever."""

import asyncio
import itertools
import json
import shutil
import sys
from pathlib import Path

import fuzz_document as fuzz
import pytest

from agents_sessions.context import ContextStats, fold
from agents_sessions.entries import item_entry
from agents_sessions.errors import SessionVersionError
from agents_sessions.info import SessionKey
from agents_sessions.stores.file_store import FileStore

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
        assert info.context == fold(ContextStats(), entries)
        assert (info.context.items, info.context.runs, info.context.total_tokens) == (5, 1, 42)
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


if __name__ == "__main__":  # only for a new format: the file of an old one is never made again
    sys.stdout.buffer.write(make())
