"""Random operations on a file, and the same ones on a plain list."""

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from builders import KEY, info_of, said
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents_sessions.errors import InvalidItemError, SessionConflictError
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.file.store import FileStore

TEXT = (st.text(st.characters(exclude_categories=()), max_size=300) | st.text(max_size=5)).map(
    lambda text: json.loads(json.dumps(text))  # pairs of surrogates become characters
)
BATCH = st.lists(TEXT, min_size=1, max_size=4)


def entries(texts):
    return [said(text) for text in texts]


class FileAgainstList(RuleBasedStateMachine):
    @initialize(texts=BATCH | st.just([]))
    def create(self, texts):
        self.root = Path(tempfile.mkdtemp())
        self.store = FileStore(self.root, durability="process")
        self.path = self.store.path(KEY)
        info = self.run(self.store.create(info_of(), entries(texts)))
        self.model, self.seq, self.name = list(texts), info.seq, None

    def teardown(self):
        shutil.rmtree(self.root)

    def run(self, operation):
        return asyncio.run(operation)

    @rule(texts=BATCH)
    def append(self, texts):
        totals = self.run(self.store.append(KEY, entries(texts)))
        assert totals.seq == self.seq + len(texts)
        self.seq, self.model = totals.seq, self.model + texts

    @rule(texts=BATCH, off=st.integers(1, 3))
    def conflict(self, texts, off):
        with pytest.raises(SessionConflictError):
            self.run(self.store.append(KEY, entries(texts), expected_seq=self.seq - off))

    @rule(texts=BATCH)
    def refuse(self, texts):
        with pytest.raises(InvalidItemError):
            self.run(self.store.append(KEY, [*entries(texts), item_entry({"x": float("nan")})]))

    @rule(count=st.integers(1, 4))
    def pop(self, count):
        self.rewrite(lambda texts: texts[:-count], lambda old: old[:-count])

    @rule(texts=BATCH)
    def insert(self, texts):
        self.rewrite(lambda old: texts + old, lambda old: entries(texts) + old)

    @rule()
    def clear(self):
        self.rewrite(lambda _: [], lambda _: [])

    def rewrite(self, of_model, of_entries):
        info = self.run(self.store.rewrite(KEY, lambda history: history.with_entries(of_entries(history.entries))))
        assert info.seq >= self.seq
        self.seq, self.model = info.seq, of_model(self.model)

    @rule(name=TEXT)
    def rename(self, name):
        self.run(self.store.rewrite(KEY, lambda history: history.with_facts(name=name)))
        self.name = name

    @rule()
    def edit(self):
        """A person saves it with other white space. No one can save a torn file so: it is repaired before."""
        self.run(self.store.append(KEY, []))
        self.path.write_text(json.dumps(json.loads(self.path.read_bytes()), indent=1))

    @precondition(lambda self: self.model)
    @rule(texts=BATCH, share=st.floats(0, 0.99))
    def tear(self, texts, share):
        """A process dies while it appends. The operations before it were acknowledged, this one was not."""
        self.run(self.store.rewrite(KEY, lambda history: history.with_facts(name=self.name)))
        before = self.path.read_bytes()
        self.run(self.store.append(KEY, entries(texts)))
        after = self.path.read_bytes()
        offset = json.loads(before)["seal"]["end"]
        cut = offset + int((len(after) - offset) * share)
        self.path.write_bytes(after[:cut] + before[cut:])
        found = self.texts()
        assert found in (self.model, self.model + texts)
        self.model, self.seq = found, self.run(self.store.load(KEY)).seq

    def texts(self, **which):
        return [item["content"] for item in self.run(self.store.items(KEY, **which))]

    @rule(limit=st.integers(0, 12))
    def newest(self, limit):
        assert self.texts(limit=limit) == self.model[len(self.model) - min(limit, len(self.model)) :]

    @rule(back=st.integers(0, 12))
    def later(self, back):
        found = self.run(self.store.entries(KEY, after=self.seq - back))
        everything = self.run(self.store.entries(KEY))
        assert found == [entry for entry in everything if entry["seq"] > self.seq - back]

    @invariant()
    def same(self):
        assert self.texts() == self.model
        info = self.run(self.store.load(KEY))
        assert (info.seq, info.name, info.context.items) == (self.seq, self.name, len(self.model))


FileAgainstList.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFileAgainstList = FileAgainstList.TestCase
