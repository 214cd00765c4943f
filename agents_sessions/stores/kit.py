"""All that the author of a backend needs, in one import: see `docs/writing-a-store.md`.

* the contract and its values: `SessionStore`, `History`, `Appended`, `Standing`, `TurnLock`, `SetAside`
* the rules, pure: `created`, `appended`, `rewritten`, `check_new`, `window`, `collected`, `copied`
* the stored form: `encode_entry`, `decode_entry`, `encode_facts`, `open_facts`, `info_of`, `Codec`
* ids: `check_key`, `check_id`, `check_sidecar_name`
* waiting: `FairLocks` (first come, first served, across event loops and threads), `in_thread`, `settle`
* JSON without loss and times as stored: `encode_json`, `decode_json`, `now`, `timestamp`
"""

from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.settle import settle
from agents_sessions.concurrency.worker_threads import in_thread
from agents_sessions.errors import (
    SessionBusyError,
    SessionConflictError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, now, parse_time, timestamp
from agents_sessions.model.ids import check_id, check_key, check_sidecar_name
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.base import (
    NO_SIDECARS,
    Appended,
    Behind,
    Change,
    Entries,
    History,
    SessionStore,
    SetAside,
    Standing,
    TurnLock,
)
from agents_sessions.stores.codec import (
    PLAIN,
    PLAIN_SESSION,
    Codec,
    Place,
    SessionCodec,
    decode_entry,
    encode_entry,
    encode_facts,
    info_of,
    open_facts,
)
from agents_sessions.stores.transitions import (
    appended,
    check_new,
    collected,
    copied,
    created,
    rewritten,
    standing_of,
    window,
)

__all__ = [
    "NO_SIDECARS",
    "PLAIN",
    "PLAIN_SESSION",
    "Appended",
    "Behind",
    "Change",
    "Codec",
    "ContextStats",
    "Entries",
    "Entry",
    "FairLocks",
    "History",
    "Item",
    "JsonObject",
    "Place",
    "SessionBusyError",
    "SessionCodec",
    "SessionConflictError",
    "SessionExistsError",
    "SessionInfo",
    "SessionKey",
    "SessionNotFoundError",
    "SessionStore",
    "SetAside",
    "Standing",
    "TurnLock",
    "UnsupportedError",
    "appended",
    "check_id",
    "check_key",
    "check_new",
    "check_sidecar_name",
    "collected",
    "copied",
    "created",
    "decode_entry",
    "decode_json",
    "encode_entry",
    "encode_facts",
    "encode_json",
    "in_thread",
    "info_of",
    "now",
    "open_facts",
    "parse_time",
    "rewritten",
    "settle",
    "standing_of",
    "timestamp",
    "window",
]
