"""How large an item and a session may become: so that no single input makes a conversation unreadable for good."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents_sessions.errors import SessionLimitError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject, encode_json
from agents_sessions.stores.file.format.lines import EncodedEntry, encode_entry

MAX_ITEM_BYTES = 64 << 20
MAX_SESSION_BYTES = 1 << 30

_ITEM_OPENS = b'"item":'
_DECISION_OPENS = b'"record":{"type":"decision"'
_MESSAGE = b',"message":['


class Limits(NamedTuple):
    """Numbers of bytes, or None for no limit.

    They are for what is added. What is there already is read, renamed and cut as ever, and a turn that met a limit
    can still be recorded as failed.
    """

    item_bytes: int | None = MAX_ITEM_BYTES
    session_bytes: int | None = MAX_SESSION_BYTES

    def check(self) -> None:
        """Refuse limits that are none.

        Raises:
            ValueError: One is not a positive number.
        """
        for name, limit in self._asdict().items():
            if limit is not None and (type(limit) is not int or limit <= 0):
                raise ValueError(f"max_{name} must be a positive number of bytes, or None, not {limit!r}")

    def check_items(self, key: SessionKey, batch: Iterable[EncodedEntry]) -> None:
        """Refuse a batch with an item that is too large, or with a decision whose message is.

        Raises:
            SessionLimitError: There is one.
        """
        if self.item_bytes is None:
            return
        for _, body in batch:
            if len(body) <= self.item_bytes:
                continue
            if body.startswith(_ITEM_OPENS):
                self._check(key, "an item", len(body) - len(_ITEM_OPENS), "max_item_bytes", self.item_bytes)
            elif body.startswith(_DECISION_OPENS) and _MESSAGE in body:
                self._check(key, "a decision with a message", len(body), "max_item_bytes", self.item_bytes)

    def check_added(self, key: SessionKey, size: int, added: Sequence[Entry]) -> None:
        """Refuse entries that would make the file of a session too large.

        Raises:
            SessionLimitError: They hold an item or a message, and would.
        """
        if not self.allow(size) and any(map(_brings, added)):
            self.check_file(key, "the session, with this,", size)

    def check_document(self, key: SessionKey, size: int, added: Sequence[Entry], old_size: int = 0) -> None:
        """Refuse a file that is written whole, if what was added to it is too large.

        Raises:
            SessionLimitError: An item is, or it is and has grown.
        """
        if self.item_bytes is not None and size > self.item_bytes:
            self.check_items(key, (encode_entry(entry, "") for entry in added if _brings(entry)))
        if size > old_size:
            self.check_added(key, size, added)

    def check_header(self, info: SessionInfo, size: int, old: SessionInfo | None = None, old_size: int = 0) -> None:
        """Refuse facts that make a header larger than an item may be, or a file of `size` bytes than a session may be.

        Of a session that was larger than that before, only what is changed is measured, so that it can be renamed.

        Raises:
            SessionLimitError: They do.
        """
        facts = info.header()
        before = {} if old is None else old.header()
        new, was = _size_of(facts), _size_of(before)
        if new <= was:
            return
        if self.item_bytes is not None:
            changed = {name: value for name, value in facts.items() if name not in before or before[name] != value}
            measured = _size_of(changed) if was > self.item_bytes else new
            self._check(info.key, "its header with its metadata", measured, "max_item_bytes", self.item_bytes)
        if size > old_size and self.allow(old_size):
            self.check_file(info.key, "the session, with this,", size)

    def allow(self, size: int) -> bool:
        """Tell whether a file may have this size."""
        return self.session_bytes is None or size <= self.session_bytes

    def check_file(self, key: SessionKey, what: str, size: int, *, times: int = 1) -> None:
        """Refuse to read or write a file whole that is some times too large.

        Raises:
            SessionLimitError: It is.
        """
        if self.session_bytes is not None and size > times * self.session_bytes:
            self._check(key, what, size, "max_session_bytes", self.session_bytes)

    def _check(self, key: SessionKey, what: str, size: int, setting: str, limit: int) -> None:
        if size > limit:
            raise SessionLimitError(key, what, size, setting, limit)


def _brings(entry: Entry) -> bool:
    """Tell whether an entry is one that a limit is for: not an account of what was done."""
    return "item" in entry or (entry["record"]["type"] == "decision" and "message" in entry["record"])


def _size_of(facts: JsonObject) -> int:
    return len(encode_json(facts))
