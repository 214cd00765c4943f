"""A file whose seal holds. Readers start at its end and read no more than their question needs.

The seal is trusted, so nothing here looks at the checksums of single lines; `verify` does, where a seal does not hold.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias, TypeVar

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.header import Damage, parse_header
from agents_sessions.stores.file.format.lines import decode_items, decode_lines
from agents_sessions.stores.file.format.tail import Read, Tail, find_tail, seal_holds

_CHUNK = 1 << 20
_PROBE = 4096
_NUMBER = re.compile(rb'[ ,]\{"seq":(\d{1,16}),')
_NUMBER_BYTES = 32

_Decoded = TypeVar("_Decoded")
Decode: TypeAlias = Callable[[bytearray, int, SessionCodec], list[_Decoded]]


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
    if known is not None and size == known.tail.end + len(known.tail.text):
        last = read(known.tail.start, size - known.tail.start)
        if last.endswith(known.tail.text):
            del last[-len(known.tail.text) :]
            return known if seal_holds(read(0, known.tail.body), last, known.tail) else None
    tail = find_tail(read, size)
    if tail is None:
        return None
    line = bytes(read(0, tail.body))
    batch = read(tail.start, tail.end - tail.start) if tail.start < tail.end else b""
    return Sealed(line, parse_header(line), tail) if seal_holds(line, batch, tail) else None


def read_entries(read: Read, tail: Tail, codec: SessionCodec = PLAIN_SESSION) -> list[Entry]:
    """Return the whole history of a sealed file.

    Raises:
        Damage: A line above the last batch is not an entry, the file was cut while it was read, or its codec proves
            that a line was removed, added or moved.
    """
    chunks = proved(read_chunks(read, tail.body, tail.end), tail, codec)
    return [entry for lines, offset in chunks for entry in decode_lines(lines, offset, codec)]


def read_some_items(read: Read, part: Tail, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
    """Return the SDK items of a part of a sealed file, which proves nothing about what is around it.

    Raises:
        Damage: A line is not an entry, or the file was cut while it was read.
    """
    chunks = read_chunks(read, part.body, part.end)
    return [item for lines, offset in chunks for item in decode_items(lines, offset, codec)]


def read_items(read: Read, tail: Tail, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
    """Return only the SDK items of a sealed file, without decoding what is around them.

    Raises:
        Damage: As in `read_entries`.
    """
    chunks = proved(read_chunks(read, tail.body, tail.end), tail, codec)
    return [item for lines, offset in chunks for item in decode_items(lines, offset, codec)]


def proved(chunks: Iterator[tuple[bytearray, int]], tail: Tail, codec: SessionCodec) -> Iterator[tuple[bytearray, int]]:
    """Yield the chunks of a whole history, and look at the end whether its codec agrees with the state in the seal.

    Raises:
        Damage: It does not: a line was removed, added or moved.
    """
    if not codec.chained:
        yield from chunks
        return
    state: str | None = None
    for lines, offset in chunks:
        state = codec.advance(state, bytes(lines))
        yield lines, offset
    if state != tail.state:
        raise Damage("entries were removed from its history, added to it or moved in it")


def read_chunks(read: Read, offset: int, end: int, length: int | None = None) -> Iterator[tuple[bytearray, int]]:
    """Yield whole lines with their offset, some at a time, so that memory never holds the history a second time."""
    while offset < end:
        chunk = _read_all(read, offset, min(length or _CHUNK, end - offset))
        while offset + len(chunk) < end and b"\n" not in chunk:
            chunk += _read_all(read, offset + len(chunk), min(len(chunk), end - offset - len(chunk)))
        if offset + len(chunk) < end:
            del chunk[chunk.rindex(b"\n") + 1 :]
        begin, offset = offset, offset + len(chunk)
        yield chunk, begin


def read_newest(
    read: Read, tail: Tail, count: int, *, end: int | None = None, codec: SessionCodec = PLAIN_SESSION
) -> list[Entry]:
    """Return the newest entries of a sealed file, read from its end: at least `count`, or all there are.

    Lines from offset `end` on are left out.

    Raises:
        Damage: As in `read_entries`.
    """
    return _read_newest(read, tail, count, tail.end if end is None else end, decode_lines, codec)


def read_newest_items(read: Read, tail: Tail, count: int, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
    """Return the newest SDK items of a sealed file, under the same conditions as `read_newest`."""
    return _read_newest(read, tail, count, tail.end, decode_items, codec)


def _read_newest(
    read: Read, tail: Tail, count: int, position: int, decode: Decode[_Decoded], codec: SessionCodec
) -> list[_Decoded]:
    newest: list[_Decoded] = []
    length = _guess_length(tail, count)
    while position > tail.body and len(newest) < count:
        begin = max(tail.body, position - length)
        chunk = _read_all(read, begin, position - begin)
        length *= 2
        if begin > tail.body:
            cut = chunk.find(b"\n,{") + 1
            if cut == 0:
                continue
            del chunk[:cut]
        position -= len(chunk)
        newest = decode(chunk, position, codec) + newest
    return newest


def read_oldest(read: Read, tail: Tail, count: int, begin: int, codec: SessionCodec = PLAIN_SESSION) -> list[Entry]:
    """Return the entries from the line at offset `begin` on: at least `count`, or all there are.

    Raises:
        Damage: As in `read_entries`.
    """
    oldest: list[Entry] = []
    for lines, offset in read_chunks(read, begin, tail.end, min(_CHUNK, _guess_length(tail, count))):
        oldest += decode_lines(lines, offset, codec)
        if len(oldest) >= count:
            break
    return oldest


def read_since(read: Read, tail: Tail, seq: int, codec: SessionCodec = PLAIN_SESSION) -> list[Entry]:
    """Return the entries of a sealed file from a number on, and possibly some before it."""
    return read_newest(read, tail, tail.seq - seq + 1, codec=codec)


def find_line(read: Read, tail: Tail, seq: int) -> int:
    """Return where the first line with a number of at least `seq` begins, or where the history ends if there is none.

    It halves the history: numbers only grow from line to line. A few reads of some kilobytes at any length.

    Raises:
        Damage: A line does not begin with its number.
    """
    if seq > tail.seq:
        return tail.end
    low, high = tail.body, tail.end  # lines before `low` have smaller numbers; at `high`, one has a number to be found
    upper = high  # no line begins from here to `high`: one line can be most of a file
    while low < upper:
        middle = (low + upper) // 2
        line = _line_from(read, middle, upper)
        if line >= upper:
            upper = middle
        elif _number_at(read, line) >= seq:
            high = upper = line
        else:
            low = _line_from(read, line + 1, high)
    return high


def _line_from(read: Read, offset: int, end: int) -> int:
    """Return where the first line at or behind an offset begins, or `end`."""
    position, length = offset - 1, _PROBE  # from the line feed in front of it
    while position < end:
        place = read(position, min(length, end - position)).find(b"\n")
        if place >= 0:
            return min(position + place + 1, end)
        position += length
        length = min(length * 2, _CHUNK)
    return end


def _number_at(read: Read, offset: int) -> int:
    found = _NUMBER.match(read(offset, _NUMBER_BYTES))
    if found is None:
        raise Damage(f"a line does not begin with its number, at byte {offset}")
    return int(found[1])


def _read_all(read: Read, offset: int, length: int) -> bytearray:
    chunk = read(offset, length)
    if len(chunk) < length:
        raise Damage("it was cut while it was read")
    return chunk


def _guess_length(tail: Tail, count: int) -> int:
    average = (tail.end - tail.body) // max(1, tail.seq)
    return min(tail.end - tail.body, count * (average + average // 4) + 2048)
