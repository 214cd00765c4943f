"""A whole session, decoded, and the file that is written for it: at its creation, and by each change but an append."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.copied import with_salt
from agents_sessions.stores.file.format.header import encode_header, facts_of
from agents_sessions.stores.file.format.lines import encode_batch, encode_entry
from agents_sessions.stores.file.format.tail import encode_tail

_PAGE = 100


@dataclass(slots=True)
class Document:
    """A whole file, decoded."""

    header: JsonObject
    """The facts of the session. The format's own keys are ignored when it is written."""
    entries: list[Entry]
    seq: int
    """The newest number that was given, which may be that of a removed entry."""
    context: ContextStats
    updated_at: str
    shape: Literal["sealed", "edited", "torn"] = "sealed"
    """Whether the seal held, a person had edited the file, or its last append was torn and is left out."""
    codec: SessionCodec = PLAIN_SESSION


class NewFile:
    """A whole file that grows from its header to its tail, so that its history need not fit into memory.

    Every entry keeps its number and becomes a batch of its own. What comes back is to be written one behind the other.

    Args:
        facts: The facts of the session. The format's own keys are ignored.
        given: The newest number that was ever given, if no entry has it: a torn append destroys the tail, which has it
            too, and would then let it be given a second time.
        codec: The codec of the session.
    """

    def __init__(self, facts: JsonObject, *, given: int = 0, codec: SessionCodec = PLAIN_SESSION) -> None:
        salt = secrets.token_hex(4)
        self.header = encode_header(facts_of(facts), salt, given=given, codec=codec)
        self._salt = int(salt, 16)
        self._codec = codec
        self._state: str | None = None
        self._body = self._end = len(self.header)

    def add(self, entries: Iterable[Entry], at: str) -> bytearray:
        """Return the lines of some entries, which have their numbers. One without a time gets the time `at`."""
        lines = bytearray()
        for entry in entries:
            opens = self._end + len(lines) == self._body
            batch = [encode_entry(entry, at)]
            line = encode_batch(batch, first_seq=entry["seq"], salt=self._salt, opens=opens, codec=self._codec)
            self._state = self._codec.advance(self._state, line)
            lines += line
        self._end += len(lines)
        return lines

    def add_lines(self, lines: bytes | bytearray) -> bytes:
        """Return lines of another file as this one has them. Both are plain.

        Raises:
            Damage: A line is none of ours.
        """
        copied = with_salt(lines, self._salt, opens=self._end == self._body)
        self._end += len(copied)
        return copied

    def close(self, seq: int, context: ContextStats, updated_at: str) -> bytes:
        """Return the tail."""
        return encode_tail(
            self.header,
            b"",
            end=self._end,
            seq=seq,
            context=context,
            updated_at=updated_at,
            state=self._state,
        )


def encode_document(document: Document) -> bytearray:
    """Return the whole file, with a new salt."""
    given = document.seq if document.seq > newest_seq(document.entries) else 0
    new = NewFile(document.header, given=given, codec=document.codec)
    data = bytearray(new.header)
    for begin in range(0, len(document.entries), _PAGE):  # all lines at once would be the file a second time
        data += new.add(document.entries[begin : begin + _PAGE], document.updated_at)
    data += new.close(document.seq, document.context, document.updated_at)
    return data


def newest_seq(entries: Sequence[Entry]) -> int:
    """Return the number of the last entry, 0 if there is none."""
    return entries[-1]["seq"] if entries else 0
