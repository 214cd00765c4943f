"""The write that appends a batch to a file whose seal holds. It costs the same at any length of the history."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents_sessions.model.entries import Entry
from agents_sessions.model.totals import fold
from agents_sessions.stores.file.format.header import salt_of
from agents_sessions.stores.file.format.lines import EncodedEntry, encode_batch
from agents_sessions.stores.file.format.sealed import Sealed
from agents_sessions.stores.file.format.tail import SECTOR, Tail, encode_tail


class Append(NamedTuple):
    """One positioned write that appends a batch."""

    offset: int
    data: bytes
    after: Sealed
    """The file as it is once the write is done."""


def plan_append(sealed: Sealed, batch: Sequence[EncodedEntry], entries: Iterable[Entry], at: str) -> Append | None:
    """Return the write that appends a batch to a sealed file: new lines and a new tail over the old tail.

    Returns None if a whole sector of padding would stand behind the new tail, because the old one had a very long name
    in it. A later append could lose the sector that goes over this padding, and its blanks would pass for a part of
    that append's JSON. The caller must rewrite the file instead.
    """
    line, header, old = sealed
    lines = encode_batch(batch, first_seq=old.seq + 1, salt=salt_of(header), opens=old.end == old.body)
    end = old.end + len(lines)
    seq = old.seq + len(batch)
    context = fold(old.context, entries)
    updated_at = max(at, old.updated_at)
    text = encode_tail(
        line,
        lines,
        end=end,
        seq=seq,
        context=context,
        updated_at=updated_at,
        longer_than=old.end + len(old.text),
    )
    if text.endswith(b" " * SECTOR + b"\n"):
        return None
    tail = Tail(text, seq, old.body, old.end, end, context, updated_at)
    return Append(old.end, lines + text, Sealed(line, header, tail))
