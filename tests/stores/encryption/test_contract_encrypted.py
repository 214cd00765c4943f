"""The whole contract of a store, with encryption on."""

from agents_sessions import KeyRing
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.aside import AsideContract
from agents_sessions.testing.contract.copy import CopyContract
from agents_sessions.testing.contract.facts import FactContract
from agents_sessions.testing.contract.items import ItemContract
from agents_sessions.testing.contract.move import MoveContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.sidecars import SidecarContract

KEYS = {"k1": bytes(range(32))}


class TestAnEncryptedMemoryStore(
    AppendContract,
    AsideContract,
    CopyContract,
    FactContract,
    ItemContract,
    MoveContract,
    RewriteContract,
    SidecarContract,
):
    """The parts in which a codec has its hand. On files it goes through the whole contract."""

    async def make_store(self, folder):
        return MemoryStore(encryption=KeyRing(KEYS))


class TestAnEncryptedFileStore(StoreContract):
    async def make_store(self, folder):
        return FileStore(folder, encryption=KeyRing(KEYS), durability="process")
