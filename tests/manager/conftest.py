import pytest

from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path) -> SessionStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "sessions", durability="process")
