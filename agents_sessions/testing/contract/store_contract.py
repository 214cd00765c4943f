"""The whole contract, of all its parts."""

from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.aside import AsideContract
from agents_sessions.testing.contract.concurrency import ConcurrencyContract
from agents_sessions.testing.contract.copy import CopyContract
from agents_sessions.testing.contract.create import CreateContract
from agents_sessions.testing.contract.delete import DeleteContract
from agents_sessions.testing.contract.facts import FactContract
from agents_sessions.testing.contract.follow import FollowContract
from agents_sessions.testing.contract.ids import IdContract
from agents_sessions.testing.contract.items import ItemContract
from agents_sessions.testing.contract.move import MoveContract
from agents_sessions.testing.contract.processes import ProcessContract
from agents_sessions.testing.contract.query import QueryContract
from agents_sessions.testing.contract.read import ReadContract
from agents_sessions.testing.contract.refusals import RefusalContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.scan import ScanContract
from agents_sessions.testing.contract.search import SearchContract
from agents_sessions.testing.contract.sharing import SharingContract
from agents_sessions.testing.contract.sidecars import SidecarContract
from agents_sessions.testing.contract.sizes import SizeContract
from agents_sessions.testing.contract.spend import SpendContract
from agents_sessions.testing.contract.times import TimeContract
from agents_sessions.testing.contract.turn_lock import TurnLockContract
from agents_sessions.testing.contract.view import ViewContract


class StoreContract(
    CreateContract,
    CopyContract,
    AppendContract,
    ItemContract,
    RefusalContract,
    ReadContract,
    FollowContract,
    ViewContract,
    RewriteContract,
    FactContract,
    TimeContract,
    SharingContract,
    DeleteContract,
    MoveContract,
    AsideContract,
    IdContract,
    ScanContract,
    QueryContract,
    SearchContract,
    SpendContract,
    SidecarContract,
    SizeContract,
    TurnLockContract,
    ConcurrencyContract,
    ProcessContract,
):
    """What every store promises. Subclass it, name the subclass `Test…`, and override `make_store`.

    Override `opener` too if several processes can open the same data, and `close_store` if `make_store` makes more than
    the store's `aclose` gives back.
    """
