"""Lines are copied into another file byte for byte, but for what binds them to their own."""

import asyncio
import json
import tracemalloc

import pytest

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.copied import outlines, with_salt
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.lines import decode_lines, encode_batch, encode_entry
from agents_sessions.stores.file.format.verify import whole_batches
from agents_sessions.stores.file.store import FileStore

AT = "2026-01-02T03:04:05.678Z"
USAGE = {"type": "usage", "requests": [{"requests": 1, "total_tokens": 3, "input_tokens": 2, "output_tokens": 1}]}
ENTRIES = [
    item_entry({"role": "user", "content": "ä\u2028"}, turn="t1"),
    item_entry({"type": "function_call", "call_id": "c", "arguments": '{"crc":"00000000"}'}, agent="a", turn="t1"),
    item_entry({"type": None, "role": "assistant", "content": []}, agent="a", turn="t1"),
    record_entry(USAGE, turn="t1"),
]


def lines_of(entries, salt, *, opens=True):
    return encode_batch([encode_entry(entry, AT) for entry in entries], first_seq=1, salt=salt, opens=opens)


def test_each_line_of_a_copy_proves_itself_alone_in_its_new_file():
    copied = with_salt(lines_of(ENTRIES, 1), 7, opens=True)
    batches = [batch for batch, _ in whole_batches(copied, 0, 7)]
    assert [len(batch) for batch in batches] == [1] * len(ENTRIES)
    assert list(whole_batches(copied, 0, 1)) == []


def test_nothing_else_of_a_line_changes():
    unbound = [
        {name: value for name, value in entry.items() if name not in ("k", "n", "crc")}
        for lines in (lines_of(ENTRIES, 1), with_salt(lines_of(ENTRIES, 1), 7, opens=True))
        for entry in decode_lines(bytearray(lines), 0)
    ]
    assert unbound[: len(ENTRIES)] == unbound[len(ENTRIES) :]


def test_only_the_first_line_of_a_history_opens_it():
    lines = lines_of(ENTRIES, 1)
    assert with_salt(lines, 7, opens=True)[:1] == b" "
    assert with_salt(lines, 7, opens=False)[:1] == b","


def test_a_line_that_is_none_of_ours_is_damage():
    with pytest.raises(Damage):
        with_salt(b' {"at":"x"}\n', 7, opens=True)


@pytest.mark.parametrize("text", ["plain", "\ud800"], ids=["plain", "with a lone surrogate"])
def test_outlines_give_the_totals_of_what_they_outline(text):
    entries = [*ENTRIES, item_entry({"role": "user", "content": text})]
    lines = lines_of(entries, 1)
    assert fold(ContextStats(), outlines(lines, 0)) == fold(ContextStats(), decode_lines(bytearray(lines), 0))


def test_a_line_without_a_body_is_damage():
    with pytest.raises(Damage):
        outlines(b' {"seq":1,"at":"x"}\n', 0)


def test_a_fork_of_any_length_takes_little_memory(tmp_path):
    store, key = FileStore(tmp_path, durability="process"), SessionKey("a", "long")
    entry = item_entry({"role": "user", "content": "x" * 20_000})

    async def fork():
        await store.create(SessionInfo(id="long", agent_id="a"), [entry] * 1000)
        tracemalloc.start()
        await store.copy(key, SessionInfo(id="fork", agent_id="a"))
        return tracemalloc.get_traced_memory()[1]

    try:
        peak = asyncio.run(fork())
    finally:
        tracemalloc.stop()
    assert store.path(key).stat().st_size > 20_000_000
    assert peak < 8_000_000
    assert len(json.loads(store.path(SessionKey("a", "fork")).read_bytes())["history"]) == 1000
