"""The lines of one file as the lines of another, without decoding what they hold.

A line is bound to its file by the salt in its checksum, so a copy gets new checksums; and it leaves its batch, because
a copy may end in the middle of one. All else of it stays as it is, byte for byte.
"""

import re
from typing import Any
from zlib import crc32

import msgspec

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import UNDECODED
from agents_sessions.stores.codec import PLAIN_SESSION
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.lines import CRC_OPENS, decode_lines

_HEAD = re.compile(rb'(\{"seq":\d{1,16})(?:,"k":\d{1,16},"n":\d{1,16})?,"crc":"[0-9a-f]{8}",')


def with_salt(lines: bytes | bytearray, salt: int, *, opens: bool) -> bytes:
    """Return whole lines of a history as a file with this salt has them. `opens` says that the first one opens it.

    Raises:
        Damage: A line does not begin as ours do.
    """
    data, copied, place = bytes(lines), [], 0
    lead = b" " if opens else b","
    while place < len(data):
        head = _HEAD.match(data, place + 1)
        if head is None:
            raise Damage("a line of its history does not begin with its number and its checksum")
        end = data.find(b"\n", place) + 1
        number, rest = head[1], data[head.end() : end]
        copied.append(b'%s%s%s%08x",%s' % (lead, number, CRC_OPENS, crc32(rest, crc32(number, salt)), rest))
        lead, place = b",", end
    return b"".join(copied)


class _Outline(msgspec.Struct, gc=False):
    """What the totals need of an item."""

    type: Any = None
    role: Any = None


class _Line(msgspec.Struct, gc=False):
    """What the totals need of a line. The decoder skips the rest, which is most of it."""

    seq: int
    at: str
    turn: str | None = None
    item: _Outline | None = None
    record: dict[str, Any] | None = None


_LINES = msgspec.json.Decoder(list[_Line])


def outlines(lines: bytes | bytearray, offset: int) -> list[Entry]:
    """Return the entries of whole lines with as much of each as its totals need.

    Raises:
        Damage: A line is not an entry.
    """
    text = bytearray(lines)
    text[:1] = b"["
    text += b"]"
    try:
        return [_outline(line) for line in _LINES.decode(text)]
    except UNDECODED:  # a lone surrogate, or damage: the full decoder tells the two apart
        return decode_lines(bytearray(lines), offset, PLAIN_SESSION)


def _outline(line: _Line) -> Entry:
    entry: Entry = {"seq": line.seq, "at": line.at}
    if line.turn is not None:
        entry["turn"] = line.turn
    if line.item is not None:
        entry["item"] = {"type": line.item.type, "role": line.item.role}
    elif line.record is not None:
        entry["record"] = line.record  # type: ignore[typeddict-item]
    else:
        raise Damage(f"entry {line.seq} of its history has neither an item nor a record")
    return entry
