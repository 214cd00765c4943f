r"""The bytes of a session file. Pure: it reads what it is given and returns what to write.

::

    {"format":"agents-sessions/1","id":…,"salt":"5d0c91aa","history":[        the header line
     {"seq":1,"crc":"9f31ab20","at":…,"item":{…}}                               one entry a line, comma first
    ,{"seq":2,"k":1,"n":2,"crc":"0c77d1e4","at":…,"item":{…}}                  two entries of one batch
    ,{"seq":3,"k":2,"n":2,"crc":"88a1e02b","at":…,"item":{…}}
    ],"context":{…},"updated_at":…,"seal":{"seq":3,"body":…,"start":…,"end":…,"crc":…}}       the tail

An append overwrites the tail with new lines and a new tail; the bytes above it never change. The seal proves a
file whole without reading its history: its checksum covers the header, the last batch and the tail. Where it
does not hold, the file was edited by hand (it is still JSON) or an append was torn (`recover`), or it is
damaged (`Damage`). `docs/file-format.md` gives the reasons.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast
from zlib import crc32

import msgspec

from agents_sessions.context import ContextStats, fold
from agents_sessions.entries import Entry, Item, envelope_of, timestamp
from agents_sessions.errors import InvalidItemError
from agents_sessions.lossless_json import UNDECODED, JsonObject, check_json, decode_json, encode_json

FORMAT_NAME = "agents-sessions"
FORMAT_VERSION = 1

Read = Callable[[int, int], bytearray]
"""`read(offset, length)` of a file's bytes: a buffer that is the caller's own."""

BEGIN_BYTES = 4096
"""How far the first brace of a file may be from its begin."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SECTOR = 512
_MAX_SEQ = 2**53
"""Largest number that is taken from a line or a hand: beyond it, some readers of JSON round."""
_TIME_BYTES = len("2026-11-20T21:28:00.123Z")
_TAIL_GUESS = 4096
_TAIL_LIMIT = 1 << 18
_CHUNK = 1 << 20
_HISTORY_OPENS = b',"history":[\n'
_TAIL_OPENS = b'],"context":'
_CRC = b',"crc":"'
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


def encode_batch(batch: Sequence[EncodedEntry], *, first_seq: int, salt: int, opens: bool) -> bytes:
    """Return the lines of one batch. `opens` says that they are the first of the history."""
    size = len(batch)
    lines = []
    for place, (envelope, body) in enumerate(batch, 1):
        lead = b" " if opens and place == 1 else b","
        of = b',"k":%d,"n":%d' % (place, size) if size > 1 else b""
        head = b'{"seq":%d%s' % (first_seq + place - 1, of)
        rest = b"%s,%s}\n" % (envelope, body)
        lines.append(b'%s%s%s%08x",%s' % (lead, head, _CRC, crc32(rest, crc32(head, salt)), rest))
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
        _TAIL_OPENS,
        encode_json(context.to_json()),
        updated_at.encode(),
        seal,
    )
    text += b'%s%08x"}}' % (_CRC, crc32(text, crc32(batch, crc32(header))))
    size = end + len(text) + 1
    padding = max(0, longer_than + 1 - size)
    padding += (size + padding) % _SECTOR == 0
    return text + b" " * padding + b"\n"


def encode_document(document: Document) -> bytes:
    """Return the whole file, with a new salt. Every entry keeps its number and becomes a batch of its own."""
    salt = secrets.token_hex(4)
    facts = {"format": f"{FORMAT_NAME}/{FORMAT_VERSION}", **facts_of(document.header)}
    if document.seq > _newest_seq(document.entries):
        # The newest entry was removed. Without this, a torn append could make its number be given again.
        facts["seq"] = document.seq
    header = encode_json({**facts, "salt": salt})[:-1] + _HISTORY_OPENS
    lines = [
        encode_batch(
            [encode_entry(entry, document.updated_at)],
            first_seq=entry["seq"],
            salt=int(salt, 16),
            opens=place == 0,
        )
        for place, entry in enumerate(document.entries)
    ]
    body = b"".join([header, *lines])
    tail = encode_tail(
        header,
        b"",
        end=len(body),
        seq=document.seq,
        context=document.context,
        updated_at=document.updated_at,
    )
    return body + tail


def _newest_seq(entries: Sequence[Entry]) -> int:
    return entries[-1]["seq"] if entries else 0


class Append(NamedTuple):
    """One positioned write that appends a batch."""

    offset: int
    data: bytes
    after: Sealed
    """The file as it is once the write is done."""


def plan_append(sealed: Sealed, batch: Sequence[EncodedEntry], entries: Iterable[Entry], at: str) -> Append:
    """Return the write that appends a batch to a sealed file: new lines and a new tail over the old tail."""
    line, header, old = sealed
    lines = encode_batch(batch, first_seq=old.seq + 1, salt=_salt_of(header), opens=old.end == old.body)
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
    if not _seal_holds(line, batch, tail):
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
        place = chunk.rfind(b"\n" + _TAIL_OPENS) + 1
        if place > 0:
            return _parse_tail(bytes(chunk[place:]), offset + place)
        if offset == 0 or length > _TAIL_LIMIT:
            return None
        length *= 8


def _parse_tail(text: bytes, offset: int) -> Tail | None:
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
    if end != offset or not 0 < body <= start <= end or not 0 <= seq <= _MAX_SEQ**2:
        return None
    return Tail(text, seq, body, start, end, context, updated_at)


def _seal_holds(header: bytes, batch: bytes | bytearray, tail: Tail) -> bool:
    place = tail.text.rfind(_CRC)
    sealed = crc32(tail.text[:place], crc32(batch, crc32(header)))
    closing = tail.text[place:]
    return closing.endswith(b"\n") and closing.rstrip(b" \n") == b'%s%08x"}}' % (_CRC, sealed)


def parse_header(line: bytes) -> JsonObject:
    """Return the JSON of a header line.

    Raises:
        Damage: It is none.
        NewerFormat: It names a newer version of the format.
    """
    if not line.endswith(_HISTORY_OPENS):
        raise Damage("its first line is not the header of a session")
    try:
        header = decode_json(line[: -len(_HISTORY_OPENS)] + b"}")
    except ValueError as error:
        raise Damage(f"its header is {error}") from None
    checked = check_format(header)
    _salt_of(checked)
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


def _salt_of(header: JsonObject) -> int:
    try:
        return int(str(header["salt"]), 16) & 0xFFFFFFFF
    except (KeyError, ValueError):
        raise Damage("its header has no salt") from None


def facts_of(header: JsonObject) -> JsonObject:
    """Return the facts of a header: all but what the format itself needs."""
    return {name: value for name, value in header.items() if name not in _STRUCTURE}


def read_entries(read: Read, tail: Tail) -> list[Entry]:
    """Return the history of a sealed file.

    The seal is trusted, so the lines' own checksums are not looked at; see `recover`.

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
        whole = all(type(entry["seq"]) is int and type(_body_of(entry)) is dict for entry in entries)
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise Damage(f"its history has an entry that is none, after byte {offset}")
    return entries


def _body_of(entry: Entry) -> object:
    return entry["item"] if "item" in entry else entry["record"]


class _Line(msgspec.Struct, gc=False):
    """What `read_items` needs of a line. The rest is skipped, which halves the time of the most frequent read."""

    seq: int
    item: dict[str, Any] | None = None
    record: msgspec.Raw | None = None


_LINES = msgspec.json.Decoder(list[_Line])


def _decode_items(lines: bytearray, offset: int) -> list[Item]:
    text = _as_list(lines)
    try:
        found = _LINES.decode(text)
    except UNDECODED:
        found = []
    items = [line.item for line in found if line.item is not None]
    if len(items) + sum(line.record is not None for line in found if line.item is None) == len(found) > 0:
        return items
    # A lone surrogate, or damage: the slow way tells which.
    return [entry["item"] for entry in _decode_list(text, offset) if "item" in entry]


# --- reading any file ------------------------------------------------------------------------------------------


def check_begin(begin: bytes | bytearray) -> None:
    """Refuse a file by its first `BEGIN_BYTES`, if it cannot be JSON of ours: reading a large one costs memory.

    Raises:
        Damage: It begins with something else than an object.
    """
    text = begin.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \r\n\t")
    if not text.startswith(b"{"):
        raise Damage("it is empty" if not text.strip(b"\0") else "it does not begin as JSON")


def decode_document(data: bytes) -> Document:
    """Return a whole file: sealed, edited by hand, or with a torn last append.

    Raises:
        Damage: It is none of the three.
        NewerFormat: It is of a newer version.
    """
    read = _reader(data)
    sealed = read_sealed(read, len(data))
    if sealed is not None:
        _, header, tail = sealed
        entries = read_entries(read, tail)
        return Document(facts_of(header), entries, tail.seq, tail.context, tail.updated_at)
    check_begin(data[:BEGIN_BYTES])
    try:
        edited = decode_json(data.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        return recover(data, str(error))
    check_format(edited)
    if _old_tail_shows(data):
        return recover(data, "its last append is mixed with what stood there before")
    return _decode_edited(edited)


def _reader(data: bytes) -> Read:
    return lambda offset, length: bytearray(data[offset : offset + length])


def _decode_edited(document: JsonObject) -> Document:
    history = document.get("history")
    if not isinstance(history, list):
        raise Damage("its history is not a list")
    _refuse_lossy(facts_of(document), "its header")
    updated_at = _time_or_now(document.get("updated_at"))
    entries: list[Entry] = []
    seq = 0
    for place, value in enumerate(history, 1):
        entry = _accept_edited(value, place, seq, updated_at)
        entries.append(entry)
        seq = entry["seq"]
    seal = document.get("seal")
    seq = max(seq, _seq_of(document), _seq_of(seal) if isinstance(seal, dict) else 0)
    return Document(facts_of(document), entries, seq, _refold(entries), updated_at, "edited")


def _seq_of(part: JsonObject) -> int:
    seq = part.get("seq")
    return seq if type(seq) is int and seq <= _MAX_SEQ else 0


def _refuse_lossy(value: object, what: str) -> None:
    try:
        check_json(value)
    except ValueError as error:  # such as 1e400, which reads as infinity and could not be written again
        raise Damage(f"{what} {error}") from None


def _time_or_now(value: object) -> str:
    try:
        return timestamp(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return timestamp()


def _accept_edited(value: object, place: int, previous: int, updated_at: str) -> Entry:
    bodies = [value[name] for name in ("item", "record") if name in value] if isinstance(value, dict) else []
    if len(bodies) != 1 or not isinstance(bodies[0], dict):
        raise Damage(f"entry {place} of its history has neither an item nor a record")
    entry = cast("Entry", {k: v for k, v in cast("dict[str, Any]", value).items() if k not in ("k", "n", "crc")})
    for part in (bodies[0], envelope_of(entry)):
        _refuse_lossy(part, f"entry {place} of its history")
    seq = entry.get("seq")
    entry["seq"] = seq if type(seq) is int and previous < seq <= _MAX_SEQ else previous + 1
    entry.setdefault("at", updated_at)
    if not _are_texts(entry["at"], entry.get("agent", ""), entry.get("run", "")):
        raise Damage(f"entry {place} of its history has an `at`, `agent` or `run` that is no text")
    return entry


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _refold(entries: Iterable[Entry]) -> ContextStats:
    try:
        return fold(ContextStats(), entries)
    except InvalidItemError:
        raise Damage("a record of its history is incomplete") from None


def recover(data: bytes, reason: str) -> Document:
    """Return what a torn append left: the longest whole prefix, as its checksums prove it.

    Only bytes that one append can have torn are given up: those behind the last whole batch, if no seal says
    that the last batch began later and if they hold lines of one batch at most.

    Raises:
        Damage: The damage is anywhere else; `reason` is then part of the message.
    """
    header_line = data[: data.find(b"\n") + 1]
    header = parse_header(header_line)
    salt = _salt_of(header)
    entries, whole = _scan(data, len(header_line), salt)
    tail = _parse_tail(data[whole : data.find(b"\n", whole) + 1], whole)
    if tail is not None and _seal_holds(header_line, data[tail.start : tail.end], tail):
        # The tail from before the append still stands: nothing of it arrived but a longer file.
        return Document(facts_of(header), entries, tail.seq, tail.context, tail.updated_at, "torn")
    if not _torn_by_one_append(data, whole, salt):
        raise Damage(f"it is damaged after byte {whole}, not only in its last append ({reason})")
    seq = max(_newest_seq(entries), _seq_of(header))
    at = _time_or_now(max((entry["at"] for entry in entries), default=None))
    return Document(facts_of(header), entries, seq, _refold(entries), at, "torn")


def _old_tail_shows(data: bytes) -> bool:
    """Tell whether a sector of the tail that the last append went over still stands among its lines.

    What is around it can make JSON of both, as if a person had written it. What that tail said follows from the
    lines above it, but for its time; and no sector begins with less of it than that and goes on as JSON.
    """
    header_line = data[: data.find(b"\n") + 1]
    try:
        header = parse_header(header_line)
        entries, end = _scan(data, len(header_line), _salt_of(header))
        context = encode_json(_refold(entries).to_json())
    except Damage:
        return False
    if data.startswith(_TAIL_OPENS, end):
        return False
    head = b'%s%s,"updated_at":"' % (_TAIL_OPENS, context)
    time = data[end + len(head) :][:_TIME_BYTES]
    seq = max(_newest_seq(entries), _seq_of(header))
    old = b'%s%s","seal":{"seq":%d,"body":%d,"start":' % (head, time, seq, len(header_line))
    edges = range(-end % _SECTOR, len(old) - _TIME_BYTES, _SECTOR)
    return any(data.startswith(old[edge : edge + _SECTOR], end + edge) for edge in edges)


def _scan(data: bytes, offset: int, salt: int) -> tuple[list[Entry], int]:
    """Return the entries of whole batches from an offset on, and where the last of them ends."""
    entries: list[Entry] = []
    batch: list[Entry] = []
    opens, whole, seq = offset, offset, 0
    while (end := data.find(b"\n", offset) + 1) > 0:
        entry = _verify_line(data[offset:end], salt, lead=b" " if offset == opens else b",")
        if entry is None or not _follows(entry, batch, seq):
            break
        batch.append(entry)
        offset, seq = end, entry["seq"]
        if len(batch) == entry.get("n", 1):
            entries += batch
            batch, whole = [], offset
    return entries, whole


def _follows(entry: Entry, batch: list[Entry], seq: int) -> bool:
    size = batch[0].get("n", 1) if batch else entry.get("n", 1)
    in_place = entry.get("k", 1) == len(batch) + 1 and entry.get("n", 1) == size
    return in_place and (entry["seq"] == seq + 1 if batch else entry["seq"] > seq)


def _verify_line(line: bytes, salt: int, lead: bytes) -> Entry | None:
    place = line.find(_CRC)  # the first one is ours: only numbers stand before it
    head, written, rest = line[1:place], line[place : place + 18], line[place + 18 :]
    if place < 0 or line[:1] != lead or written != b'%s%08x",' % (_CRC, crc32(rest, crc32(head, salt))):
        return None
    try:
        entry = cast("Entry", decode_json(line[1:]))
        numbers = (entry["seq"], entry.get("k", 1), entry.get("n", 1))
        sound = isinstance(_body_of(entry), dict) and _are_texts(
            entry["at"], entry.get("agent", ""), entry.get("run", "")
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # four bytes of checksum can agree by chance
        return None
    return entry if sound and all(type(number) is int and number <= _MAX_SEQ for number in numbers) else None


def _torn_by_one_append(data: bytes, whole: int, salt: int) -> bool:
    opening = data.rfind(b"\n" + _TAIL_OPENS) + 1
    tail = _parse_tail(data[opening:], opening) if opening > whole else None
    if tail is not None and tail.start > whole:
        return False
    batches = set()
    offset = whole
    while 0 <= offset < len(data):
        end = data.find(b"\n", offset) + 1 or len(data)
        entry = _verify_line(data[offset:end], salt, lead=data[offset : offset + 1])
        if entry is not None:
            place = entry.get("k", 1)
            if place == 1 and offset != whole:
                return False
            batches.add(entry["seq"] - place)
        offset = end
    return len(batches) <= 1
