"""The last line of a session file: the totals, the time and the seal."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from zlib import crc32

from agents_sessions.model.entries import timestamp
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.lines import CRC_OPENS, MAX_SEQ

SECTOR = 512
"""What a disk writes whole or not at all."""

TAIL_OPENS = b'],"context":'

TAIL_BYTES = 1 << 21
"""How far a tail is looked for from the end of a file. It is 700 bytes long where no agent has an absurd name."""

_TAIL_GUESS = 4096

Read = Callable[[int, int], bytearray]
"""`read(offset, length)` of a file's bytes: a buffer that is the caller's own."""


class Tail(NamedTuple):
    """The last line of a file."""

    text: bytes
    seq: int
    body: int
    """Where the header line ends and the history begins."""
    start: int
    """Where the last appended batch begins; equal to `end` after the file was written whole."""
    end: int
    """Where the history ends and this tail begins."""
    context: ContextStats
    updated_at: str


def encode_tail(
    header: bytes,
    batch: bytes,
    *,
    end: int,
    seq: int,
    context: ContextStats,
    updated_at: str,
    longer_than: int = 0,
) -> bytes:
    """Return the tail of a file whose history ends at offset `end` with the lines of `batch`.

    The file ends behind byte `longer_than`, so that an append always covers the tail before it, and never on a
    sector's edge, so that a last sector which did not reach the disk always shows.
    """
    seal = b'{"seq":%d,"body":%d,"start":%d,"end":%d' % (seq, len(header), end - len(batch), end)
    text = b'%s%s,"updated_at":"%s","seal":%s' % (
        TAIL_OPENS,
        encode_json(context.to_json()),
        updated_at.encode(),
        seal,
    )
    text += b'%s%08x"}}' % (CRC_OPENS, crc32(text, crc32(batch, crc32(header))))
    size = end + len(text) + 1
    padding = max(0, longer_than + 1 - size)
    padding += (size + padding) % SECTOR == 0
    return text + b" " * padding + b"\n"


def parse_tail(text: bytes, offset: int) -> Tail | None:
    """Return the tail that a text at an offset is, or None. Whether it is true, `seal_holds` tells."""
    try:
        tail = decode_json(b'{"history":[' + text)
        seal = tail["seal"]
        numbers = [seal[name] for name in ("seq", "body", "start", "end")]
        context = ContextStats.from_json(tail["context"])
        updated_at = tail["updated_at"]
        canonical = timestamp(datetime.fromisoformat(updated_at))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if updated_at != canonical or any(type(number) is not int for number in numbers):
        return None
    seq, body, start, end = numbers
    if end != offset or not 0 < body <= start <= end or not 0 <= seq <= MAX_SEQ:
        return None
    return Tail(text, seq, body, start, end, context, updated_at)


def seal_holds(header: bytes, batch: bytes | bytearray, tail: Tail) -> bool:
    """Tell whether the checksum of a tail agrees with the header line, the last batch and the tail itself.

    And whether its number is that of the last line: a smaller one would hide the newest entries from those who ask
    for what came after it, and be given again.
    """
    last = batch.rfind(b"\n", 0, -1) + 1
    if batch and not batch.startswith(b'{"seq":%d,' % tail.seq, last + 1):
        return False
    place = tail.text.rfind(CRC_OPENS)
    sealed = crc32(tail.text[:place], crc32(batch, crc32(header)))
    closing = tail.text[place:]
    return closing.endswith(b"\n") and closing.rstrip(b" \n") == b'%s%08x"}}' % (CRC_OPENS, sealed)


def find_tail(read: Read, size: int) -> Tail | None:
    """Return the tail of a file of some size, or None."""
    length = _TAIL_GUESS
    while True:
        offset = max(0, size - length)
        chunk = read(offset, size - offset)
        place = chunk.rfind(b"\n" + TAIL_OPENS) + 1
        if place > 0:
            return parse_tail(bytes(chunk[place:]), offset + place)
        if offset == 0 or length >= TAIL_BYTES:
            return None
        length *= 8
