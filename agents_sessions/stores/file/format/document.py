r"""The bytes of a session file. Pure: it reads what it is given and returns what to write.

::

    {"format":"agents-sessions/1","id":…,"salt":"5d0c91aa","history":[        the header line
     {"seq":1,"crc":"9f31ab20","at":…,"item":{…}}                               one entry a line, comma first
    ,{"seq":2,"k":1,"n":2,"crc":"0c77d1e4","at":…,"item":{…}}                  two entries of one batch
    ,{"seq":3,"k":2,"n":2,"crc":"88a1e02b","at":…,"item":{…}}
    ],"context":{…},"updated_at":…,"seal":{"seq":3,"body":…,"start":…,"end":…,"crc":…}}       the tail

An append overwrites the tail with new lines and a new tail; the bytes above it never change. The seal proves a
file whole without reading its history: its checksum covers the header, the last batch and the tail. Where it
does not hold, `file_recovery` tells what the file is. `docs/file-format.md` gives the reasons.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, cast
from zlib import crc32

import msgspec

from agents_sessions.model.entries import Entry, Item, timestamp
from agents_sessions.model.lossless_json import UNDECODED, JsonObject, decode_json, encode_json
from agents_sessions.model.totals import ContextStats, fold

FORMAT_NAME = "agents-sessions"
FORMAT_VERSION = 1

Read = Callable[[int, int], bytearray]
"""`read(offset, length)` of a file's bytes: a buffer that is the caller's own."""

MAX_SEQ = 2**53
"""Largest number that is taken from a line or a tail: beyond it, some readers of JSON round."""

SECTOR = 512
"""What a disk writes whole or not at all."""

HISTORY_OPENS = b',"history":[\n'
TAIL_OPENS = b'],"context":'
CRC_OPENS = b',"crc":"'

TAIL_BYTES = 1 << 21
"""How far a tail is looked for from the end of a file. It is 700 bytes long where no agent has an absurd name."""

_TAIL_GUESS = 4096
_CHUNK = 1 << 20
_STRUCTURE = ("format", "seq", "salt", "history", "context", "updated_at", "seal")
_OURS = ("seq", "k", "n", "crc", "item", "record")


class Damage(Exception):
    """The bytes are no session file, and no torn append explains it. Holds no content of the file."""


class NewerFormat(Exception):
    """The bytes were written by a newer version of the format."""


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


class Sealed(NamedTuple):
    """A file whose seal holds: its header line, as bytes and as JSON, and its tail."""

    line: bytes
    header: JsonObject
    tail: Tail


@dataclass(slots=True)
class Document:
    """A whole file, decoded."""

    header: JsonObject
    entries: list[Entry]
    seq: int
    context: ContextStats
    updated_at: str
    shape: Literal["sealed", "edited", "torn"] = "sealed"


class EncodedEntry(NamedTuple):
    """The two parts of a line that are known before its place in the file is."""

    envelope: bytes
    body: bytes


# --- writing ---------------------------------------------------------------------------------------------------


def encode_entry(entry: Entry, at: str) -> EncodedEntry:
    """Encode all of an entry but its number and checksum. `at` is used if the entry has no time yet."""
    envelope = {"at": at, **{name: value for name, value in entry.items() if name not in _OURS}}
    body = {"item": entry["item"]} if "item" in entry else {"record": entry["record"]}
    return EncodedEntry(encode_json(envelope)[1:-1], encode_json(body)[1:-1])


def decode_batch(batch: Sequence[EncodedEntry]) -> list[Entry]:
    """Return encoded entries as they will be read: no object of the caller's, and no number that one came with."""
    return [cast("Entry", decode_json(b"{%s,%s}" % entry)) for entry in batch]


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


def encode_document(document: Document) -> bytearray:
    """Return the whole file, with a new salt. Every entry keeps its number and becomes a batch of its own."""
    salt = secrets.token_hex(4)
    facts = {"format": f"{FORMAT_NAME}/{FORMAT_VERSION}", **facts_of(document.header)}
    if document.seq > newest_seq(document.entries):
        # The newest entry was removed. Without this, a torn append could make its number be given again.
        facts["seq"] = document.seq
    header = encode_json({**facts, "salt": salt})[:-1] + HISTORY_OPENS
    data = bytearray(header)  # grown line by line: a list of them would be the file once more
    for entry in document.entries:
        encoded = encode_entry(entry, document.updated_at)
        opens = len(data) == len(header)
        data += encode_batch([encoded], first_seq=entry["seq"], salt=int(salt, 16), opens=opens)
    data += encode_tail(
        header,
        b"",
        end=len(data),
        seq=document.seq,
        context=document.context,
        updated_at=document.updated_at,
    )
    return data


def newest_seq(entries: Sequence[Entry]) -> int:
    """Return the number of the last entry, 0 if there is none."""
    return entries[-1]["seq"] if entries else 0


class Append(NamedTuple):
    """One positioned write that appends a batch."""

    offset: int
    data: bytes
    after: Sealed
    """The file as it is once the write is done."""


def plan_append(sealed: Sealed, batch: Sequence[EncodedEntry], entries: Iterable[Entry], at: str) -> Append | None:
    """Return the write that appends a batch to a sealed file: new lines and a new tail over the old tail.

    None if the old tail is so much longer (it had a very long name in it) that a sector of nothing but padding would
    stand behind the new one: inside the text of a later append, of which a sector is missing, it would pass for text.
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


# --- reading a sealed file -------------------------------------------------------------------------------------


def read_sealed(read: Read, size: int, known: Sealed | None = None) -> Sealed | None:
    """Return header and tail if the seal holds, else None. Costs the last batch, never the history.

    `known` is what the caller saw last: it spares decoding the same bytes again, and proves nothing.

    Raises:
        Damage: The seal holds over a header that is none.
        NewerFormat: It is of a newer version.
    """
    tail = known.tail if known is not None and _still_ends(read, size, known.tail) else _find_tail(read, size)
    if tail is None:
        return None
    line = bytes(read(0, tail.body))
    batch = read(tail.start, tail.end - tail.start) if tail.start < tail.end else b""
    if not seal_holds(line, batch, tail):
        return None
    if known is not None and known.tail is tail:
        return known
    return Sealed(line, parse_header(line), tail)


def _still_ends(read: Read, size: int, tail: Tail) -> bool:
    return size == tail.end + len(tail.text) and read(tail.end, len(tail.text)) == tail.text


def _find_tail(read: Read, size: int) -> Tail | None:
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


def parse_header(line: bytes) -> JsonObject:
    """Return the JSON of a header line.

    Raises:
        Damage: It is none.
        NewerFormat: It names a newer version of the format.
    """
    if not line.endswith(HISTORY_OPENS):
        raise Damage("its first line is not the header of a session")
    try:
        header = decode_json(line[: -len(HISTORY_OPENS)] + b"}")
    except ValueError as error:
        raise Damage(f"its header is {error}") from None
    checked = check_format(header)
    salt_of(checked)
    return checked


def check_format(document: object) -> JsonObject:
    """Return a document or header that is of our format, and of a version that this code reads.

    Raises:
        Damage: It is not.
        NewerFormat: Its version is newer.
    """
    name = document.get("format") if isinstance(document, dict) else None
    name = name if isinstance(name, str) else ""
    family, _, version = name.partition("/")
    if family != FORMAT_NAME or not version.isdecimal():
        raise Damage(f"it has no format {FORMAT_NAME}/…")
    if len(version) > len("1000") or int(version) > FORMAT_VERSION:
        raise NewerFormat(name[:40])
    return cast("JsonObject", document)


def salt_of(header: JsonObject) -> int:
    """Return what the checksums of a file's lines begin with, so that no line of another file verifies.

    Raises:
        Damage: There is none.
    """
    try:
        return int(str(header["salt"]), 16) & 0xFFFFFFFF
    except (KeyError, ValueError):
        raise Damage("its header has no salt") from None


def facts_of(header: JsonObject) -> JsonObject:
    """Return the facts of a header: all but what the format itself needs."""
    return {name: value for name, value in header.items() if name not in _STRUCTURE}


def read_entries(read: Read, tail: Tail) -> list[Entry]:
    """Return the history of a sealed file.

    The seal is trusted, so the lines' own checksums are not looked at; recovery does.

    Raises:
        Damage: A line is no entry, so the file was damaged in its middle.
    """
    return [entry for lines, offset in _chunks(read, tail) for entry in _decode_lines(lines, offset)]


def read_items(read: Read, tail: Tail) -> list[Item]:
    """Return the SDK items of a sealed file, as `read_entries` would, without decoding what is around them."""
    return [item for lines, offset in _chunks(read, tail) for item in _decode_items(lines, offset)]


def _chunks(read: Read, tail: Tail) -> Iterator[tuple[bytearray, int]]:
    """Yield whole lines and their offset, some at a time, so that no second copy of the history is ever held."""
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
    """Return the newest entries of a sealed file, read from its end.

    At least `count`, or all there are; `items_only` counts SDK items and not records.

    Raises:
        Damage: A line is not JSON.
    """
    newest: list[Entry] = []
    position = tail.end
    length = _guess_length(tail, count)
    while position > tail.body and _counted(newest, items_only=items_only) < count:
        begin = max(tail.body, position - length)
        chunk = _read_all(read, begin, position - begin)
        length *= 2
        if begin > tail.body:
            cut = chunk.find(b"\n,{") + 1
            if cut == 0:
                continue
            del chunk[:cut]
        position -= len(chunk)
        newest = _decode_lines(chunk, position) + newest
    return newest


def read_since(read: Read, tail: Tail, seq: int) -> list[Entry]:
    """Return the entries of a sealed file from a number on, and maybe some before."""
    return read_newest(read, tail, tail.seq - seq + 1, items_only=False)


def _read_all(read: Read, offset: int, length: int) -> bytearray:
    chunk = read(offset, length)
    if len(chunk) < length:
        raise Damage("it was cut while it was read")
    return chunk


def _guess_length(tail: Tail, count: int) -> int:
    average = (tail.end - tail.body) // max(1, tail.seq)
    return min(tail.end - tail.body, count * (average + average // 4) + 2048)


def _counted(entries: Iterable[Entry], *, items_only: bool) -> int:
    return sum("item" in entry or not items_only for entry in entries)


def _as_list(lines: bytearray) -> bytearray:
    lines[:1] = b"["  # in the place of the comma, so that nothing is copied
    lines += b"]"
    return lines


def _decode_lines(lines: bytearray, offset: int) -> list[Entry]:
    return _decode_list(_as_list(lines), offset)


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


def is_number(value: object) -> bool:
    """Tell whether a value can be the number of an entry."""
    return type(value) is int and 0 < value <= MAX_SEQ


def body_of(entry: Entry) -> object:
    """Return what an entry holds: an item or a record."""
    return entry["item"] if "item" in entry else entry["record"]


_NO_RECORD = msgspec.Raw()


class _Line(msgspec.Struct, gc=False):
    """What `read_items` needs of a line. The rest is skipped, which halves the time of the most frequent read."""

    seq: Annotated[int, msgspec.Meta(gt=0, le=MAX_SEQ)]
    item: dict[str, Any] | None = None
    record: msgspec.Raw = _NO_RECORD


_LINES = msgspec.json.Decoder(list[_Line])


def _is_object(raw: msgspec.Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b"{"


def _decode_items(lines: bytearray, offset: int) -> list[Item]:
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
