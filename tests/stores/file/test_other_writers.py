"""Files that an editor or another process saves, changes or removes, also in the middle of an operation."""

import asyncio
import contextlib
import fcntl
import json
import os

import pytest
from builders import KEY
from file_sessions import append, create, load, on_disk, rename, said, tear, texts

from agents_sessions.errors import SessionCorruptedError, SessionNotFoundError
from agents_sessions.stores.file import queries as file_queries
from agents_sessions.stores.file import writer as file_writer


def replace_by_editor(path, old, new):
    """Save a changed file as most editors do: a new file under the old name."""
    changed = path.read_bytes().replace(old, new)
    temporary = path.with_name("editor.swp")
    temporary.write_bytes(changed)
    temporary.rename(path)


def pop(store):
    asyncio.run(store.rewrite(KEY, lambda history: history.with_entries(history.entries[:-1])))


def test_a_file_replaced_between_two_appends_is_the_one_that_is_appended_to(store, path):
    create(store, "aaa")
    append(store, "b")
    replace_by_editor(path, b"aaa", b"edited")
    append(store, "c")
    assert on_disk(path) == ["edited", "b", "c"]
    assert texts(store) == ["edited", "b", "c"]


@pytest.mark.parametrize("new", [b"eee", b"edited"])
def test_an_append_to_a_file_replaced_meanwhile_is_done_again(store, path, monkeypatch, new):
    create(store, "aaa")
    append(store, "b")
    real, done = os.fdatasync, []

    def sync(fd):
        if not done:
            done.append(fd)
            os.rename(changed, path)
        real(fd)

    changed = path.with_name("editor.swp")
    changed.write_bytes(path.read_bytes().replace(b"aaa", new))
    monkeypatch.setattr(os, "fdatasync", sync)
    append(store, "c")
    assert on_disk(path) == [new.decode(), "b", "c"]


@pytest.mark.parametrize("shape", ["sealed", "edited"])
@pytest.mark.parametrize("act", [lambda store: rename(store, "new"), lambda store: append(store, "c")])
def test_a_rewrite_of_a_file_replaced_meanwhile_is_done_again(store, path, monkeypatch, act, shape):
    create(store, "aaa", name="old")
    append(store, "b")
    if shape == "edited":
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    changed = path.with_name("editor.swp")
    changed.write_bytes(path.read_bytes().replace(b"aaa", b"saved"))
    real, done = file_writer.encode_document, []

    def encode(document):
        if not done:
            done.append(True)
            os.rename(changed, path)
        return real(document)

    monkeypatch.setattr(file_writer, "encode_document", encode)
    act(store)
    assert done or shape == "sealed"
    assert on_disk(path)[:2] == ["saved" if done else "aaa", "b"]
    assert load(store).name == "new" or texts(store)[-1] == "c"


@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("shape", ["sealed", "torn"])
def test_a_rewrite_does_not_go_over_what_was_saved_while_it_was_synced(store, path, monkeypatch, how, shape):
    create(store, "aaa")
    saved = json.dumps({**json.loads(path.read_text()), "history": [{"item": {"role": "user", "content": "saved"}}]})
    if shape == "torn":
        tear(path, 900)
    real, done = os.fdatasync, []

    def sync(fd):
        real(fd)
        if not done:
            done.append(fd)
            if how == "renamed":
                changed = path.with_name("editor.swp")
                changed.write_text(saved)
                os.rename(changed, path)
            else:
                path.write_text(saved)

    monkeypatch.setattr(os, "fdatasync", sync)
    rename(store, "new")
    assert done
    assert (on_disk(path), load(store).name) == (["saved"], "new")
    assert len(os.listdir(path.parent)) == 1


def test_a_rewrite_does_not_bring_back_what_was_removed_while_it_was_synced(store, path, monkeypatch):
    create(store, "a")
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (real(fd), path.unlink(missing_ok=True)))
    with pytest.raises(SessionNotFoundError):
        rename(store, "new")
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("shape", ["as it is", "pretty-printed", "edited"])
@pytest.mark.parametrize("expected", [None, 1])
def test_an_append_that_was_saved_by_someone_else_is_not_stored_twice(store, path, monkeypatch, shape, expected):
    """What is written can be read before it is synced: an editor may save a copy that has it."""
    create(store, "a")
    real, done = os.fdatasync, []

    def sync(fd):
        if not done:
            done.append(fd)
            changed = path.with_name("editor.swp")
            changed.write_bytes(path.read_bytes())
            if shape != "as it is":
                whole = json.loads(path.read_text())
                if shape == "edited":
                    whole["history"].append({"item": {"role": "user", "content": "by hand"}})
                changed.write_text(json.dumps(whole, indent=1))
            os.rename(changed, path)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    totals = asyncio.run(store.append(KEY, [said("b"), said("c")], expected_seq=expected))
    assert done
    there = ["a", "b", "c", "by hand"] if shape == "edited" else ["a", "b", "c"]
    assert texts(store) == there
    assert totals.context.items == len(texts(store))
    append(store, "d")
    assert texts(store) == [*there, "d"]


def test_a_rewrite_of_a_file_removed_meanwhile_does_not_bring_it_back(store, path, monkeypatch):
    create(store, "a")
    real = file_writer.encode_document
    monkeypatch.setattr(file_writer, "encode_document", lambda new: path.unlink() or real(new))
    with pytest.raises(SessionNotFoundError):
        rename(store, "new")
    assert not path.exists()


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda store: append(store, "c"), ["a", "b", "c"]),
        (lambda store: rename(store, "new"), ["a", "b"]),
        (pop, ["a"]),
    ],
)
def test_a_file_replaced_between_opening_and_locking_is_opened_again(store, path, monkeypatch, act, expected):
    create(store, "a")
    old = path.read_bytes()
    append(store, "b")
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    path.write_bytes(old)
    real = fcntl.flock

    def flock(fd, how):
        if new.exists():
            new.rename(path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    act(store)
    assert on_disk(path) == expected


def test_an_append_to_a_file_removed_meanwhile_is_not_reported_as_stored(store, path, monkeypatch):
    create(store, "a")
    real = os.fdatasync

    def sync(fd):
        path.unlink()
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(SessionNotFoundError):
        append(store, "b")


@pytest.mark.parametrize(
    ("old", "new"), [(b'"status":"active"', b'"status":"paused"'), (b'"name":"aaa"', b'"name":"bbb"')]
)
def test_a_fact_changed_in_place_is_seen_at_once_and_kept(store, path, old, new):
    create(store, "a", name="aaa")
    append(store, "b")
    load(store)
    with path.open("r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(old, new))
    changed = load(store)
    assert (changed.status, changed.name) != ("active", "aaa")
    append(store, "c")
    assert load(store).model_dump(include={"status", "name"}) == changed.model_dump(include={"status", "name"})
    assert on_disk(path) == ["a", "b", "c"]


def test_a_message_changed_in_place_is_seen_at_once_and_kept(store, path):
    create(store, "aaa")
    append(store, "bbb")
    texts(store)
    with path.open("r+b") as file:
        data = file.read()
        file.seek(data.index(b"bbb"))
        file.write(b"ccc")
    assert texts(store) == ["aaa", "ccc"]
    append(store, "d")
    assert on_disk(path) == ["aaa", "ccc", "d"]


def test_a_pretty_printed_file_is_brought_back_into_shape_by_the_next_write(store, path):
    create(store, "a")
    append(store, "b")
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=2))
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]
    assert len(path.read_bytes().splitlines()) == 5


def test_an_append_to_an_edited_file_stores_what_it_was_given_and_no_number_that_came_with_it(store, path):
    create(store, "one")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))

    async def work():
        given = {**said("two"), "seq": 9}
        others = [asyncio.create_task(store.append(KEY, [said("x")], expected_seq=5)) for _ in range(5)]
        waiting = asyncio.create_task(store.append(KEY, [given]))
        await asyncio.sleep(0)
        given["item"]["content"] = float("nan")
        await waiting
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(work())
    assert [(entry["seq"], entry["item"]["content"]) for entry in asyncio.run(store.entries(KEY))] == [
        (1, "one"),
        (2, "two"),
    ]


def test_a_reader_of_a_file_that_shrinks_meanwhile_does_not_hang(store, path, monkeypatch):
    create(store, *["x" * 100] * 200)
    real = file_queries.read_entries

    def shrinking(read, tail, codec):
        os.truncate(path, 3000)
        return real(read, tail, codec)

    monkeypatch.setattr(file_queries, "read_entries", shrinking)
    with contextlib.suppress(SessionCorruptedError):
        asyncio.run(asyncio.wait_for(store.entries(KEY), 10))
