import os

import pytest
from system import descriptors

from agents_sessions.stores.file.disk import locks as file_locks


@pytest.fixture
def nothing_stays_open_or_locked():
    before = descriptors()
    yield
    assert descriptors().items() <= before.items()
    assert file_locks._locks == set()


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)
