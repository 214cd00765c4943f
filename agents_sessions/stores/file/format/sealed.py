"""A file whose seal holds. Readers start at its end and read no more than their question needs.

The seal is trusted, so nothing here looks at the checksums of single lines; `verify` does, where a seal does not hold.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.file.format.header import Damage, parse_header
from agents_sessions.stores.file.format.lines import decode_items, decode_lines
from agents_sessions.stores.file.format.tail import Read, Tail, find_tail, seal_holds

_CHUNK = 1 << 20


class Sealed(NamedTuple):
    """A file whose seal holds: its header line, as bytes and as JSON, and its tail."""

    line: bytes
    header: JsonObject
    tail: Tail


def read_sealed(read: Read, size: int, known: Sealed | None = None) -> Sealed | None:
    """Return header and tail, or None if the seal does not hold. Reads the last batch, never the whole history.

    `known` is what the caller saw last. It saves decoding the same bytes again but proves nothing: the checksum is
    computed every time.

    Raises:
        Damage: The seal holds, but the first line is not a header.
        NewerFormat: The file is of a newer version.
    """
    tail = known.tail if known is not None and _ends_with(read, size, known.tail) else find_tail(read, size)
    if tail is None:
        return None
    line = bytes(read(0, tail.body))
    batch = read(tail.start, tail.end - tail.start) if tail.start < tail.end else b""
    if not seal_holds(line, batch, tail):
        return None
    if known is not None and known.tail is tail:
        return known
    return Sealed(line, parse_header(line), tail)


def _ends_with(read: Read, size: int, tail: Tail) -> bool:
    return size == tail.end + len(tail.text) and read(tail.end, len(tail.text)) == tail.text


def read_entries(read: Read, tail: Tail) -> list[Entry]:
    """Return the whole history of a sealed file.

    Raises:
        Damage: A line above the last batch is not an entry, or the file was cut while it was read.
    """
    return [entry for lines, offset in _read_chunks(read, tail) for entry in decode_lines(lines, offset)]


def read_items(read: Read, tail: Tail) -> list[Item]:
    """Return only the SDK items of a sealed file, without decoding what is around them.

    Raises:
        Damage: As in `read_entries`.
    """
    return [item for lines, offset in _read_chunks(read, tail) for item in decode_items(lines, offset)]


def _read_chunks(read: Read, tail: Tail) -> Iterator[tuple[bytearray, int]]:
    """Yield whole lines with their offset, some at a time, so that memory never holds the history a second time."""
    offset = tail.body
    while offset < tail.end:
        chunk = _read_all(read, offset, min(_CHUNK, tail.end - offset))
        while offset + len(chunk) < tail.end and b"\n" not in chunk:
            chunk += _read_all(read, offset + len(chunk), min(len(chunk), tail.end - offset - len(chunk)))
        if offset + len(chunk) < tail.end:
            del chunk[chunk.rindex(b"\n") + 1 :]
        begin, offset = offset, offset + len(chunk)
        yield chunk, begin


def read_newest(read: Read, tail: Tail, count: int, *, items_only: bool) -> list[Entry]:
    """Return the newest entries of a sealed file, read from its end: at least `count`, or all there are.

    With `items_only`, records are returned but not counted.

    Raises:
        Damage: As in `read_entries`.
    """
    newest: list[Entry] = []
    position = tail.end
    length = _guess_length(tail, count)
    while position > tail.body and _count(newest, items_only=items_only) < count:
        begin = max(tail.body, position - length)
        chunk = _read_all(read, begin, position - begin)
        length *= 2
        if begin > tail.body:
            cut = chunk.find(b"\n,{") + 1
            if cut == 0:
                continue
            del chunk[:cut]
        position -= len(chunk)
        newest = decode_lines(chunk, position) + newest
    return newest


def read_since(read: Read, tail: Tail, seq: int) -> list[Entry]:
    """Return the entries of a sealed file from a number on, and possibly some before it."""
    return read_newest(read, tail, tail.seq - seq + 1, items_only=False)


def _read_all(read: Read, offset: int, length: int) -> bytearray:
    chunk = read(offset, length)
    if len(chunk) < length:
        raise Damage("it was cut while it was read")
    return chunk


def _guess_length(tail: Tail, count: int) -> int:
    average = (tail.end - tail.body) // max(1, tail.seq)
    return min(tail.end - tail.body, count * (average + average // 4) + 2048)


def _count(entries: Iterable[Entry], *, items_only: bool) -> int:
    return sum("item" in entry or not items_only for entry in entries)
