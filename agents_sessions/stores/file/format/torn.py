"""A torn append."""

import re

from agents_sessions.model.entries import Entry
from agents_sessions.stores.file.format.computed import refold, seq_of, time_or_now
from agents_sessions.stores.file.format.document import Document, newest_seq
from agents_sessions.stores.file.format.header import Damage, facts_of, parse_header, salt_of
from agents_sessions.stores.file.format.tail import TAIL_BYTES, TAIL_OPENS, parse_tail, seal_holds
from agents_sessions.stores.file.format.verify import whole_batches

_CLAIM = re.compile(rb'^[ \t,]*\{ ?"seq": ?(\d{1,16})(?:, ?"k": ?(\d{1,16}), ?"n": ?\d{1,16})?, ?"crc"', re.MULTILINE)
"""How a line of ours begins, also one that does not agree with its checksum."""


def recover(data: bytes, reason: str) -> Document:
    """Return what a torn append left: the longest whole prefix, as its checksums prove it.

    Only bytes that one append can have torn are given up: those behind the last whole batch, if no seal says
    that the last batch began later and if they hold what claims to be lines of one batch at most.

    Raises:
        Damage: The damage is anywhere else; `reason` is then part of the message.
    """
    header_line = data[: data.find(b"\n") + 1]
    header = parse_header(header_line)
    entries, whole = _whole_prefix(data, len(header_line), salt_of(header))
    if not _torn_by_one_append(data, whole):
        raise Damage(f"it is damaged after byte {whole}, not only in its last append ({reason})")
    tail = parse_tail(_line_at(data, whole), whole)
    if tail is not None and seal_holds(header_line, data[tail.start : tail.end], tail):
        # The tail from before the append still stands: nothing of it arrived but a longer file.
        return Document(facts_of(header), entries, tail.seq, tail.context, tail.updated_at, "torn")
    seq = max(newest_seq(entries), seq_of(header))
    at = time_or_now(max((entry["at"] for entry in entries), default=None))
    return Document(facts_of(header), entries, seq, refold(entries), at, "torn")


def _whole_prefix(data: bytes, offset: int, salt: int) -> tuple[list[Entry], int]:
    """Return the entries of all whole batches from an offset on, and where the last one ends."""
    entries: list[Entry] = []
    for batch, end in whole_batches(data, offset, salt):
        entries += batch
        offset = end
    return entries, offset


def _line_at(data: bytes, offset: int) -> bytes:
    """Return the line that begins at an offset, or as much of it as could be a tail: the rest may be a gigabyte."""
    line, end, _ = data[offset : offset + TAIL_BYTES].partition(b"\n")
    return line + end


def _torn_by_one_append(data: bytes, whole: int) -> bool:
    """Tell whether what stands behind the whole batches can be of one append, which began right there."""
    opening = data.rfind(b"\n" + TAIL_OPENS) + 1
    tail = parse_tail(_line_at(data, opening), opening) if opening > whole else None
    if tail is not None and tail.start > whole:
        return False
    batches = set()
    for claim in _CLAIM.finditer(data, whole):
        place = int(claim[2] or 1)
        if place == 1 and claim.start() != whole:
            return False
        batches.add(int(claim[1]) - place)
    return len(batches) <= 1
