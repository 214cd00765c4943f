"""The lines of a history: one entry each, with its number and its checksum."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, cast
from zlib import crc32

import msgspec

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.lossless_json import UNDECODED, decode_json, encode_json
from agents_sessions.stores.file.format.header import Damage

MAX_SEQ = 2**53
"""Largest number that is taken from a line or a tail: beyond it, some readers of JSON round."""

CRC_OPENS = b',"crc":"'
_OURS = ("seq", "k", "n", "crc", "item", "record")
_NO_RECORD = msgspec.Raw()


class EncodedEntry(NamedTuple):
    """The two parts of a line that are known before its place in the file is."""

    envelope: bytes
    body: bytes


def encode_entry(entry: Entry, at: str) -> EncodedEntry:
    """Encode all of an entry but its number and checksum. `at` is used if the entry has no time yet."""
    envelope = {"at": at, **{name: value for name, value in entry.items() if name not in _OURS}}
    body = {"item": entry["item"]} if "item" in entry else {"record": entry["record"]}
    return EncodedEntry(encode_json(envelope)[1:-1], encode_json(body)[1:-1])


def encode_batch(batch: Sequence[EncodedEntry], *, first_seq: int, salt: int, opens: bool) -> bytes:
    """Return the lines of one batch. `opens` says that they are the first of the history."""
    size = len(batch)
    lines = []
    for place, (envelope, body) in enumerate(batch, 1):
        lead = b" " if opens and place == 1 else b","
        of = b',"k":%d,"n":%d' % (place, size) if size > 1 else b""
        head = b'{"seq":%d%s' % (first_seq + place - 1, of)
        rest = b"%s,%s}\n" % (envelope, body)
        lines.append(b'%s%s%s%08x",%s' % (lead, head, CRC_OPENS, crc32(rest, crc32(head, salt)), rest))
    return b"".join(lines)


def decode_batch(batch: Sequence[EncodedEntry]) -> list[Entry]:
    """Return encoded entries as they will be read: no object of the caller's, and no number that one came with."""
    return [cast("Entry", decode_json(b"{%s,%s}" % entry)) for entry in batch]


def body_of(entry: Entry) -> object:
    """Return what an entry holds: an item or a record."""
    return entry["item"] if "item" in entry else entry["record"]


def is_number(value: object) -> bool:
    """Tell whether a value can be the number of an entry."""
    return type(value) is int and 0 < value <= MAX_SEQ


def decode_lines(lines: bytearray, offset: int) -> list[Entry]:
    """Return the entries of whole lines, which stand at an offset of the file.

    Raises:
        Damage: A line is not an entry.
    """
    return _decode_list(_as_list(lines), offset)


def _as_list(lines: bytearray) -> bytearray:
    lines[:1] = b"["  # in the place of the comma, so that nothing is copied
    lines += b"]"
    return lines


def _decode_list(text: bytearray, offset: int) -> list[Entry]:
    try:
        entries = cast("list[Entry]", decode_json(text))
    except ValueError as error:
        raise Damage(f"its history is damaged after byte {offset}: {error}") from None
    try:
        whole = all(is_number(entry["seq"]) and type(body_of(entry)) is dict for entry in entries)
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise Damage(f"its history has an entry that is none, after byte {offset}")
    return entries


class _Line(msgspec.Struct, gc=False):
    """What `read_items` needs of a line. The rest is skipped, which halves the time of the most frequent read."""

    seq: Annotated[int, msgspec.Meta(gt=0, le=MAX_SEQ)]
    item: dict[str, Any] | None = None
    record: msgspec.Raw = _NO_RECORD


_LINES = msgspec.json.Decoder(list[_Line])


def decode_items(lines: bytearray, offset: int) -> list[Item]:
    """Return the SDK items of whole lines, as `decode_lines` would."""
    text = _as_list(lines)
    try:
        found = _LINES.decode(text)
    except UNDECODED:
        found = []
    items = [line.item for line in found if line.item is not None]
    if len(items) + sum(_is_object(line.record) for line in found if line.item is None) == len(found) > 0:
        return items
    # A lone surrogate, or damage: the slow way tells which.
    return [entry["item"] for entry in _decode_list(text, offset) if "item" in entry]


def _is_object(raw: msgspec.Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b"{"


def are_texts(*values: object) -> bool:
    """Tell whether all of some values are texts."""
    return all(isinstance(value, str) for value in values)
