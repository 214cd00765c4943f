"""The last line of a session file: the totals, the time of the last change and the seal.

The seal says where the header ends, where the last batch begins and where the history ends, and its checksum covers
header, last batch and tail. A file whose seal holds is whole: everything above the last batch was complete before that
batch was written. All that a tail says can be computed again from the lines above it.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, cast
from zlib import crc32

from agents_sessions.model.entries import timestamp
from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.lines import CRC_OPENS, MAX_SEQ

Read = Callable[[int, int], bytearray]
"""`read(offset, length)` of a file's bytes. The buffer belongs to the caller, who may change it."""

SECTOR = 512
"""A disk writes this many bytes whole or not at all."""

TAIL_OPENS = b'],"context":'

TAIL_BYTES = 1 << 21
"""A tail is looked for in this many last bytes. It has about 700, unless an agent has an absurdly long name."""

_TAIL_GUESS = 4096


class Tail(NamedTuple):
    """The last line of a file."""

    text: bytes
    seq: int
    """The newest number that was given."""
    body: int
    """Where the header line ends and the history begins."""
    start: int
    """Where the last appended batch begins; equal to `end` after the file was written whole."""
    end: int
    """Where the history ends and this tail begins."""
    context: ContextStats
    updated_at: str
    state: str | None = None
    """What the session's codec keeps behind the newest entry."""


def encode_tail(
    header: bytes,
    batch: bytes,
    *,
    end: int,
    seq: int,
    context: ContextStats,
    updated_at: str,
    longer_than: int = 0,
    state: str | None = None,
) -> bytes:
    """Return the tail of a file whose history ends at offset `end` with the lines of `batch`.

    Blanks pad the tail for two reasons. The file must end behind byte `longer_than`, so that an append covers all of
    the tail before it. And it must not end on the edge of a sector, so that a last sector that did not reach the disk
    always shows.
    """
    seal = b'{"seq":%d,"body":%d,"start":%d,"end":%d' % (seq, len(header), end - len(batch), end)
    text = b'%s%s,"updated_at":"%s","seal":%s' % (
        TAIL_OPENS,
        encode_json(context.to_json()),
        updated_at.encode(),
        seal,
    )
    if state is not None:
        text += b',"state":%s' % encode_json(state)
    text += b'%s%08x"}}' % (CRC_OPENS, crc32(text, crc32(batch, crc32(header))))
    size = end + len(text) + 1
    padding = max(0, longer_than + 1 - size)
    padding += (size + padding) % SECTOR == 0
    return text + b" " * padding + b"\n"


def find_tail(read: Read, size: int) -> Tail | None:
    """Return the tail at the end of a file of this size, or None if its last `TAIL_BYTES` have none."""
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


def parse_tail(text: bytes, offset: int) -> Tail | None:
    """Return a text that stands at an offset as a tail, or None if it is not one. `seal_holds` says if it is true."""
    try:
        tail = decode_json(b'{"history":[' + text)
        seal = tail["seal"]
        numbers = [seal[name] for name in ("seq", "body", "start", "end")]
        context = ContextStats.from_json(tail["context"])
        updated_at = tail["updated_at"]
        state = seal.get("state")
        canonical = timestamp(datetime.fromisoformat(updated_at))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    if not isinstance(state, str | None) or updated_at != canonical or any(type(n) is not int for n in numbers):
        return None
    seq, body, start, end = numbers
    if end != offset or not 0 < body <= start <= end or not 0 <= seq <= MAX_SEQ:
        return None
    return Tail(text, seq, body, start, end, context, updated_at, state)


def is_moved_tail(text: bytes, offset: int, whole: int) -> bool:
    """Tell whether a text is a whole tail that was written for another offset than the one where it stands.

    A torn append can mix the tail from before it, which stood behind the `whole` batches, with its own. That is none:
    its names stand twice, it lacks some, or it ends as the old one did.
    """
    try:
        tail = json.loads(b'{"history":[' + text, object_pairs_hook=_unlike_names)
        seal = tail["seal"]
        has_all = {"context", "updated_at"} <= tail.keys() and {"seq", "body", "start", "crc"} <= seal.keys()
        return has_all and type(seal["end"]) is int and whole < seal["end"] != offset
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def has_each_name_once(text: bytes) -> bool:
    """Tell whether the text of a tail is of one tail, and not put together from two."""
    try:
        json.loads(b'{"history":[' + text, object_pairs_hook=_unlike_names)
    except ValueError:
        return False
    return True


def _unlike_names(pairs: list[tuple[str, object]]) -> JsonObject:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return cast("JsonObject", dict(pairs))


def seal_holds(header: bytes | bytearray, batch: bytes | bytearray, tail: Tail) -> bool:
    """Tell whether the checksum of a tail agrees with the header line, the last batch and the tail itself.

    The number in the tail must also be that of the last line. A smaller one would hide the newest entries from readers
    that ask for what came after it, and the next append would give their numbers a second time.
    """
    last = batch.rfind(b"\n", 0, -1) + 1
    if batch and not batch.startswith(b'{"seq":%d,' % tail.seq, last + 1):
        return False
    place = tail.text.rfind(CRC_OPENS)
    sealed = crc32(tail.text[:place], crc32(batch, crc32(header)))
    closing = tail.text[place:]
    return closing.endswith(b"\n") and closing.rstrip(b" \n") == b'%s%08x"}}' % (CRC_OPENS, sealed)
