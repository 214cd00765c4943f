"""One session in a file, as the tests of the file store make it, change it and look at it. Nothing here awaits."""

import asyncio
import json
import os
import stat
import sys
from functools import partial

import builders
import pytest
from builders import KEY, info_of

from agents_sessions.stores.file.store import FileStore

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's calls")

said = partial(builders.said, note="Zaunkönig")
"""With a text that no log may show: see `tests/conftest.py`."""

OF_A_FILE = {
    "load": lambda store: store.load(KEY),
    "entries": lambda store: store.entries(KEY),
    "items": lambda store: store.items(KEY, limit=1),
    "append": lambda store: store.append(KEY, [said("x")]),
    "rewrite": lambda store: store.rewrite(KEY, lambda history: history.with_entries([])),
}
"""The operations that need the file of the session itself."""


def create(store, *contents, key=KEY, **facts):
    return asyncio.run(store.create(info_of(key, **facts), [said(text) for text in contents]))


def append(store, *contents):
    return asyncio.run(store.append(KEY, [said(text) for text in contents]))


def rename(store, name):
    return asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(name=name)))


def write_sidecar(store, name, data=b"1", key=KEY):
    asyncio.run(store.write_sidecar(key, name, data))


def texts(store, **which):
    return [item["content"] for item in asyncio.run(store.items(KEY, **which))]


def load(store, key=KEY):
    return asyncio.run(store.load(key))


def scan(store, *agent):
    async def collect():
        return [info.key async for info in store.scan(*agent)]

    return asyncio.run(collect())


def sidecars(store):
    return asyncio.run(store.list_sidecars(KEY))


def on_disk(path):
    return [entry["item"]["content"] for entry in json.loads(path.read_bytes())["history"]]


def hidden(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


def open_files():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_file(fd))


def _is_file(fd):
    try:
        return stat.S_IFMT(os.stat(f"/proc/self/fd/{fd}").st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    except FileNotFoundError:  # that of the listing itself
        return False


def tear(path, keep):
    """Leave the file as an append of "lost" leaves it that was killed after so many bytes."""
    before = path.read_bytes()
    append(FileStore(path.parent.parent), "lost secret " * 200)
    after = path.read_bytes()
    offset = json.loads(before)["seal"]["end"]
    torn = after[: offset + keep] + before[offset + keep :]
    path.write_bytes(torn)
    return torn
