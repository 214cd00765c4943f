"""The tail that an append has gone over, as far as the lines above it tell.

A disk writes the sectors of an append in any order, so after a cut of the power some of them still hold the old tail,
or zeros where there was no file yet. The text of the old tail follows from the lines above it, except its time and what
its seal says of the batch before.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import JsonObject, encode_json
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.computed import NO_TOTALS, count_totals, seq_of
from agents_sessions.stores.file.format.document import newest_seq
from agents_sessions.stores.file.format.tail import SECTOR, TAIL_OPENS

_TIME_BYTES = len("2026-11-20T21:28:00.123Z")
_SEAL_BYTES = 80
"""The unknown numbers of a seal, and its checksum, take no more."""

_REST = re.compile(rb'[\d",:a-z{}]*(?: *\n?)\0*')
_PADDING = re.compile(rb" *\n?\0*")


class OldTail(NamedTuple):
    """What is known of a tail that was written over."""

    begin: int
    """Where it stood: behind the whole batches."""
    known: bytes
    """Its text, up to the first number that is not known."""
    time: int
    """Where in that text its time is, which may be any."""
    codec: SessionCodec

    def sectors(self, end: int) -> Iterator[int]:
        """Yield where the sectors begin that an append from here to `end` has filled, the first shared one included."""
        yield from range(self.begin - self.begin % SECTOR, end - SECTOR + 1, SECTOR)

    def is_in(self, data: bytes, sector: int) -> bool:
        """Tell whether a sector may hold what stood there before the append."""
        place = max(sector, self.begin)
        text, offset = data[place : sector + SECTOR], place - self.begin
        return not text.strip(b"\0") or self._goes_on(text, offset)

    def _goes_on(self, text: bytes, offset: int) -> bool:
        known = self.known[offset : offset + len(text)]
        if self._untimed(text[: len(known)], offset) != self._untimed(known, offset):
            return False
        rest, behind = text[len(known) :], max(offset - len(self.known), 0)
        if self.codec is not PLAIN_SESSION:
            return True  # the state of a codec is in the seal, and may be any text
        return (_REST if behind < _SEAL_BYTES else _PADDING).fullmatch(rest) is not None

    def _untimed(self, text: bytes, offset: int) -> bytes:
        begin, end = max(self.time - offset, 0), max(self.time + _TIME_BYTES - offset, 0)
        return text[:begin] + b"-" * len(text[begin:end]) + text[end:]


def old_tail(
    header_line: bytes, header: JsonObject, entries: list[Entry], begin: int, codec: SessionCodec = PLAIN_SESSION
) -> OldTail:
    """Return what is known of a tail that stood behind some whole batches.

    Raises:
        Damage: A record lacks a part that the totals need.
    """
    seq = max(seq_of(header), newest_seq(entries))
    head = b'%s%s,"updated_at":"' % (TAIL_OPENS, encode_json(count_totals(entries, NO_TOTALS).to_json()))
    seal = b'","seal":{"seq":%d,"body":%d,"start":' % (seq, len(header_line))
    return OldTail(begin, head + b"-" * _TIME_BYTES + seal, len(head), codec)
