"""What a torn append left: the longest part of a file that its checksums prove.

The power went, or the process died, while one append was being written. All that stands above it was complete before,
so nothing but the bytes of that append is given up. Any other damage is refused and never guessed at.
"""

import re

from agents_sessions.model.entries import Entry
from agents_sessions.stores.codec import PLAIN, Codec, SessionCodec
from agents_sessions.stores.file.format.computed import count_totals, seq_of, time_or_now
from agents_sessions.stores.file.format.document import Document, newest_seq
from agents_sessions.stores.file.format.header import Damage, codec_of, facts_of, parse_header, salt_of
from agents_sessions.stores.file.format.overwritten import OldTail, old_tail
from agents_sessions.stores.file.format.tail import (
    TAIL_BYTES,
    TAIL_OPENS,
    has_each_name_once,
    is_moved_tail,
    parse_tail,
    seal_holds,
)
from agents_sessions.stores.file.format.verify import whole_batches

_CLAIM = re.compile(rb'^[ \t,]*\{ ?"seq": ?(\d{1,16})(?:, ?"k": ?(\d{1,16}), ?"n": ?\d{1,16})?, ?"crc"', re.MULTILINE)
"""How a line of ours begins, also one whose checksum does not agree."""


def decode_torn(data: bytes, reason: str, codec: Codec = PLAIN) -> Document:
    """Return the session up to its last whole batch.

    Raises:
        Damage: One append cannot have torn all that stands behind that batch. `reason` becomes part of the message.
    """
    header_line = data[: data.find(b"\n") + 1]
    header = parse_header(header_line)
    of_session = codec_of(header, codec)
    entries, whole = _whole_prefix(data, len(header_line), salt_of(header), of_session)
    old = old_tail(header_line, header, entries, whole, of_session)
    if not _can_be_of_one_append(data, whole, old):
        raise Damage(f"it is damaged after byte {whole}, not only in its last append ({reason})")
    facts = of_session.decode_facts(facts_of(header))
    tail = parse_tail(_line_at(data, whole), whole)
    if tail is not None and seal_holds(header_line, data[tail.start : tail.end], tail):
        # The tail from before the append still stands: the append has made the file longer and changed nothing else.
        return Document(facts, entries, tail.seq, tail.context, tail.updated_at, "torn", of_session)
    seq = max(newest_seq(entries), seq_of(header))
    # The same at every read: who looks twice must be able to tell that nothing was changed.
    at = time_or_now(max((entry["at"] for entry in entries), default=header.get("created_at")))
    return Document(facts, entries, seq, count_totals(entries), at, "torn", of_session)


def _whole_prefix(data: bytes, offset: int, salt: int, codec: SessionCodec) -> tuple[list[Entry], int]:
    """Return the entries of all whole batches from an offset on, and where the last one ends."""
    entries: list[Entry] = []
    for batch, end in whole_batches(data, offset, salt, codec):
        entries += batch
        offset = end
    return entries, offset


def _line_at(data: bytes, offset: int) -> bytes:
    """Return the line at an offset, or as much of it as a tail can have: the rest may be a gigabyte."""
    line, end, _ = data[offset : offset + TAIL_BYTES].partition(b"\n")
    return line + end


def _can_be_of_one_append(data: bytes, whole: int, old: OldTail) -> bool:
    """Tell whether one append, which began behind the whole batches, can have left all that stands there.

    It cannot if a seal says that the last batch began later, or that the seal itself stands elsewhere, because a person
    has made the text above it longer or shorter. Nor if the whole tail of the append is there, and no sector above it
    is as it was before: then a person has changed some characters. Nor if the lines there claim to be of more than one
    batch.
    """
    opening = data.rfind(b"\n" + TAIL_OPENS) + 1
    if opening > whole and is_moved_tail(_line_at(data, opening), opening, whole):
        return False
    tail = parse_tail(_line_at(data, opening), opening) if opening > whole else None
    if tail is not None and tail.start > whole:
        return False
    if (
        tail is not None
        and has_each_name_once(tail.text)
        and not any(old.is_in(data, sector) for sector in old.sectors(tail.end))
    ):
        return False
    batches = set()
    for claim in _CLAIM.finditer(data, whole):
        place = int(claim[2] or 1)
        if place == 1 and claim.start() != whole:
            return False
        batches.add(int(claim[1]) - place)
    return len(batches) <= 1
