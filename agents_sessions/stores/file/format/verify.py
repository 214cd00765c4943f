"""Batches that prove themselves, for files whose seal does not hold.

A line proves itself by its checksum, and a batch by the places of its lines, `k` of `n`. Part of a batch never counts.
"""

from collections.abc import Iterator
from typing import cast
from zlib import crc32

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.lines import CRC_OPENS, body_of, has_text_labels, is_number


def whole_batches(
    data: bytes, offset: int, salt: int, codec: SessionCodec = PLAIN_SESSION
) -> Iterator[tuple[list[Entry], int]]:
    """Yield the batches from an offset on, each with the offset where it ends, up to the first that is not whole."""
    batch: list[Entry] = []
    opens, seq = offset, 0
    while (end := data.find(b"\n", offset) + 1) > 0:
        entry = _verify_line(data[offset:end], salt, lead=b" " if offset == opens else b",", codec=codec)
        if entry is None or not _is_next(entry, batch, seq):
            return
        batch.append(entry)
        offset, seq = end, entry["seq"]
        if len(batch) == entry.get("n", 1):
            yield batch, end
            batch = []


def first_damaged(lines: bytearray, offset: int, salt: int) -> int | None:
    """Return where the first line stands whose checksum does not agree, or None. The lines stand at an offset.

    Nothing is decoded: this is how fast a history can be proved whole.
    """
    view = memoryview(lines)
    begin = 0
    while begin < len(lines):
        end = lines.find(b"\n", begin) + 1 or len(lines)
        place = lines.find(CRC_OPENS, begin, end)
        found = crc32(view[place + 18 : end], crc32(view[begin + 1 : place], salt))
        if place < 0 or lines[place : place + 18] != b'%s%08x",' % (CRC_OPENS, found):
            return offset + begin
        begin = end
    return None


def _is_next(entry: Entry, batch: list[Entry], seq: int) -> bool:
    """Tell whether an entry goes on with a batch, or opens one if that is empty. Numbers may be missing between two."""
    size = batch[0].get("n", 1) if batch else entry.get("n", 1)
    in_place = entry.get("k", 1) == len(batch) + 1 and entry.get("n", 1) == size
    return in_place and (entry["seq"] == seq + 1 if batch else entry["seq"] > seq)


def _verify_line(line: bytes, salt: int, lead: bytes, codec: SessionCodec) -> Entry | None:
    """Return the entry of a line if its first byte is `lead`, its checksum agrees and its parts can be right."""
    place = line.find(CRC_OPENS)  # ours is the first one, for only numbers stand before it
    head, written, rest = line[1:place], line[place : place + 18], line[place + 18 :]
    if place < 0 or line[:1] != lead or written != b'%s%08x",' % (CRC_OPENS, crc32(rest, crc32(head, salt))):
        return None
    try:
        entry = codec.decode_entry(cast("Entry", decode_json(line[1:])))
        numbers = (entry["seq"], entry.get("k", 1), entry.get("n", 1))
        valid = isinstance(body_of(entry), dict) and has_text_labels(entry)
    except (ValueError, KeyError, TypeError, AttributeError):  # a checksum of four bytes can agree by chance
        return None
    return entry if valid and all(map(is_number, numbers)) else None
