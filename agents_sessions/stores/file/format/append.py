"""The write that appends a batch to a file whose seal holds. It costs the same at any length of the history."""

from collections.abc import Sequence
from typing import NamedTuple

from agents_sessions.model.entries import timestamp
from agents_sessions.stores.base import Standing
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.header import salt_of
from agents_sessions.stores.file.format.lines import EncodedEntry, encode_batch
from agents_sessions.stores.file.format.sealed import Sealed
from agents_sessions.stores.file.format.tail import SECTOR, Tail, encode_tail


class Append(NamedTuple):
    """One positioned write that appends a batch."""

    offset: int
    data: bytes
    over: bytes
    """What stands there before: the old tail."""
    after: Sealed
    """The file as it is once the write is done."""


def plan_append(
    sealed: Sealed, batch: Sequence[EncodedEntry], after: Standing, codec: SessionCodec = PLAIN_SESSION
) -> Append | None:
    """Return the write that appends a batch to a sealed file: new lines and a new tail over the old tail.

    `after` is where the session stands with the batch.

    Returns None if a whole sector of padding would stand behind the new tail, because the old one had a very long name
    in it. A later append could lose the sector that goes over this padding, and its blanks would pass for a part of
    that append's JSON. The caller must rewrite the file instead.
    """
    line, header, old = sealed
    opens = old.end == old.body
    lines = encode_batch(batch, first_seq=old.seq + 1, salt=salt_of(header), opens=opens, codec=codec)
    end = old.end + len(lines)
    updated_at = timestamp(after.updated_at)
    state = codec.advance(old.state, lines)
    text = encode_tail(
        line,
        lines,
        end=end,
        seq=after.seq,
        context=after.context,
        updated_at=updated_at,
        longer_than=old.end + len(old.text),
        state=state,
    )
    if text.endswith(b" " * SECTOR + b"\n"):
        return None
    tail = Tail(text, after.seq, old.body, old.end, end, after.context, updated_at, state)
    return Append(old.end, lines + text, old.text, Sealed(line, header, tail))
