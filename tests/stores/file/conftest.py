import os

import pytest
from builders import KEY
from faults import Calls
from system import descriptors

from agents_sessions.concurrency import process
from agents_sessions.stores.file.store import FileStore


@pytest.fixture
def nothing_stays_open_or_locked():
    before = descriptors()
    yield
    assert descriptors().items() <= before.items()
    assert process.locked_files == set()


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions")


@pytest.fixture
def path(store):
    return store.path(KEY)


@pytest.fixture
def calls():
    with Calls() as calls:
        yield calls
