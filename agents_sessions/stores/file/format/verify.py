"""Lines that prove themselves: whole batches, by their checksums."""

from collections.abc import Iterator
from typing import cast
from zlib import crc32

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.stores.file.format.lines import CRC_OPENS, are_texts, body_of, is_number


def whole_batches(data: bytes, offset: int, salt: int) -> Iterator[tuple[list[Entry], int]]:
    """Yield each batch from an offset on, as long as they are whole, and where it ends."""
    batch: list[Entry] = []
    opens, seq = offset, 0
    while (end := data.find(b"\n", offset) + 1) > 0:
        entry = _verify_line(data[offset:end], salt, lead=b" " if offset == opens else b",")
        if entry is None or not _follows(entry, batch, seq):
            return
        batch.append(entry)
        offset, seq = end, entry["seq"]
        if len(batch) == entry.get("n", 1):
            yield batch, end
            batch = []


def _follows(entry: Entry, batch: list[Entry], seq: int) -> bool:
    size = batch[0].get("n", 1) if batch else entry.get("n", 1)
    in_place = entry.get("k", 1) == len(batch) + 1 and entry.get("n", 1) == size
    return in_place and (entry["seq"] == seq + 1 if batch else entry["seq"] > seq)


def _verify_line(line: bytes, salt: int, lead: bytes) -> Entry | None:
    place = line.find(CRC_OPENS)  # the first one is ours: only numbers stand before it
    head, written, rest = line[1:place], line[place : place + 18], line[place + 18 :]
    if place < 0 or line[:1] != lead or written != b'%s%08x",' % (CRC_OPENS, crc32(rest, crc32(head, salt))):
        return None
    try:
        entry = cast("Entry", decode_json(line[1:]))
        numbers = (entry["seq"], entry.get("k", 1), entry.get("n", 1))
        sound = isinstance(body_of(entry), dict) and are_texts(
            entry["at"], entry.get("agent", ""), entry.get("turn", "")
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # four bytes of checksum can agree by chance
        return None
    return entry if sound and all(map(is_number, numbers)) else None
