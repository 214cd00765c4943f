r"""A whole session file, also one whose seal does not hold: edited by hand, or with a torn last append.

A person who edits leaves JSON: it is taken as it is, and what it lacks is made up. A torn append leaves none, and
the longest whole prefix is what its checksums prove. Whatever is neither is refused, never guessed at.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, cast
from zlib import crc32

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import MAX_GIVEN_SEQ, Entry, envelope_of, timestamp
from agents_sessions.model.history import flaw_of
from agents_sessions.model.lossless_json import JsonObject, check_json, decode_json, encode_json
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.document import (
    CRC_OPENS,
    SECTOR,
    TAIL_BYTES,
    TAIL_OPENS,
    Damage,
    Document,
    Read,
    body_of,
    check_format,
    facts_of,
    is_number,
    newest_seq,
    parse_header,
    parse_tail,
    read_entries,
    read_sealed,
    salt_of,
    seal_holds,
)
from agents_sessions.stores.transitions import numbered

BEGIN_BYTES = 4096
"""How far the first brace of a file may be from its begin."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CLAIM = re.compile(rb'^[ \t,]*\{ ?"seq": ?(\d{1,16})(?:, ?"k": ?(\d{1,16}), ?"n": ?\d{1,16})?, ?"crc"', re.MULTILINE)
"""How a line of ours begins, also one that does not agree with its checksum."""

_NOTHING = ContextStats()
_COMPUTED = {"context", "updated_at", "seal"}
"""What a tail holds."""

_CHUNK = 1 << 20
_TIME_BYTES = len("2026-11-20T21:28:00.123Z")


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
        reason = str(error)
    else:
        check_format(edited)
        if not _old_tail_shows(data) and not _check_names(edited, data):
            return _decode_edited(edited)
        reason = "its last append is mixed with what stood there before"
    return recover(data, reason)


def _reader(data: bytes) -> Read:
    return lambda offset, length: bytearray(data[offset : offset + length])


def _check_names(document: JsonObject, data: bytes) -> bool:
    """Tell whether a name stands twice in the tail, beside one that no tail has: half of it is the tail before.

    What else is doubled there is computed again, so that nothing is lost.

    Raises:
        Damage: A name stands twice in one object, and what the first one had is gone.
    """
    if _strings_of_value(document) == _strings_of_text(data, len(data)):
        return False
    end = data.rfind(b"\n" + TAIL_OPENS)
    try:
        tail = decode_json(b"{" + data[end + len(b"\n],") :])
    except ValueError:
        tail = document
    above = {name: value for name, value in document.items() if name not in tail}
    mixed = not tail.keys() <= _COMPUTED
    if _strings_of_value(above) < _strings_of_text(data, end) or (mixed and not _ends_whole(data)):
        raise Damage("a name stands twice in one of its objects")
    return mixed


def _ends_whole(data: bytes) -> bool:
    """Tell whether a tail stands behind lines that are all whole: if a name is doubled, then in the tail.

    So it is if an append has lost its lines, and of its tail the begin: half of it is the one that stood there before.
    """
    header_line = data[: data.find(b"\n") + 1]
    try:
        salt = salt_of(parse_header(header_line))
    except Damage:
        return False
    ends = (end for _, end in _whole_batches(data, len(header_line), salt))
    return data.startswith(TAIL_OPENS, max(ends, default=len(header_line)))


def _strings_of_text(data: bytes, end: int) -> int:
    """Return how many strings the JSON text up to an offset has, names included."""
    quotes = offset = 0
    while offset < end:
        begin, offset = offset, min(offset + _CHUNK, end)
        while data[offset - 1 : offset] == b"\\":  # not between the two characters of an escape
            offset += 1
        chunk = data[begin:offset].replace(b"\\\\", b"")
        quotes += chunk.count(b'"') - chunk.count(b'\\"')
    return quotes // 2


def _strings_of_value(value: object) -> int:
    """Return how many strings a decoded JSON text has: fewer than the text, if a name stands twice in an object."""
    count = 0
    entered = [iter((value,))]
    while entered:
        for part in entered[-1]:
            if type(part) is str:
                count += 1
            elif type(part) is dict:
                count += len(part)
                entered.append(iter(part.values()))
                break
            elif type(part) is list:
                entered.append(iter(part))
                break
        else:
            entered.pop()
    return count


def _decode_edited(document: JsonObject) -> Document:
    history = document.get("history")
    if not isinstance(history, list):
        raise Damage("its history is not a list")
    _refuse_lossy(facts_of(document), "its header")
    updated_at = _time_or_now(document.get("updated_at"))
    accepted = [_accept_edited(value, place, updated_at) for place, value in enumerate(history, 1)]
    # All numbers that the file shows were given, also those that a hand has put out of order.
    given = max(_seq_of(part) for part in (document, document.get("seal"), *accepted))
    entries = list(numbered(accepted, updated_at, given))
    seq = max(given, newest_seq(entries))
    return Document(facts_of(document), entries, seq, _refold(entries), updated_at, "edited")


def _seq_of(part: object) -> int:
    seq = part.get("seq") if isinstance(part, dict) else None
    return seq if type(seq) is int and 0 < seq <= MAX_GIVEN_SEQ else 0


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


def _accept_edited(value: object, place: int, updated_at: str) -> Entry:
    bodies = [value[name] for name in ("item", "record") if name in value] if isinstance(value, dict) else []
    if len(bodies) != 1 or not isinstance(bodies[0], dict):
        raise Damage(f"entry {place} of its history has neither an item nor a record")
    entry = cast("Entry", {k: v for k, v in cast("dict[str, Any]", value).items() if k not in ("k", "n", "crc")})
    for part in (bodies[0], envelope_of(entry)):
        _refuse_lossy(part, f"entry {place} of its history")
    entry["seq"] = _seq_of(entry)
    entry.setdefault("at", updated_at)
    if not _are_texts(entry["at"], entry.get("agent", ""), entry.get("turn", "")):
        raise Damage(f"entry {place} of its history has an `at`, `agent` or `turn` that is no text")
    if flaw := flaw_of(entry):
        raise Damage(f"entry {place} of its history has {flaw}")
    return entry


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _refold(entries: Iterable[Entry], context: ContextStats = _NOTHING) -> ContextStats:
    try:
        return fold(context, entries)
    except InvalidItemError:
        raise Damage("a record of its history is incomplete") from None


def recover(data: bytes, reason: str) -> Document:
    """Return what a torn append left: the longest whole prefix, as its checksums prove it.

    Only bytes that one append can have torn are given up: those behind the last whole batch, if no seal says
    that the last batch began later and if they hold what claims to be lines of one batch at most.

    Raises:
        Damage: The damage is anywhere else; `reason` is then part of the message.
    """
    header_line = data[: data.find(b"\n") + 1]
    header = parse_header(header_line)
    salt = salt_of(header)
    entries: list[Entry] = []
    whole = len(header_line)
    for batch, end in _whole_batches(data, whole, salt):
        entries += batch
        whole = end
    if not _torn_by_one_append(data, whole):
        raise Damage(f"it is damaged after byte {whole}, not only in its last append ({reason})")
    tail = parse_tail(_line_at(data, whole), whole)
    if tail is not None and seal_holds(header_line, data[tail.start : tail.end], tail):
        # The tail from before the append still stands: nothing of it arrived but a longer file.
        return Document(facts_of(header), entries, tail.seq, tail.context, tail.updated_at, "torn")
    seq = max(newest_seq(entries), _seq_of(header))
    at = _time_or_now(max((entry["at"] for entry in entries), default=None))
    return Document(facts_of(header), entries, seq, _refold(entries), at, "torn")


def _line_at(data: bytes, offset: int) -> bytes:
    """Return the line that begins at an offset, or as much of it as could be a tail: the rest may be a gigabyte."""
    line, end, _ = data[offset : offset + TAIL_BYTES].partition(b"\n")
    return line + end


def _old_tail_shows(data: bytes) -> bool:
    """Tell whether a sector of the tail that the last append went over still stands among its lines.

    What is around it can make JSON of both, as if a person had written it. What that tail said follows from the
    lines above it, but for its time; and no sector begins with less of it than that and goes on as JSON.
    """
    header_line = data[: data.find(b"\n") + 1]
    end, context = len(header_line), _NOTHING
    try:
        header = parse_header(header_line)
        seq = _seq_of(header)
        for batch, whole in _whole_batches(data, len(header_line), salt_of(header)):
            end, context, seq = whole, _refold(batch, context), max(seq, newest_seq(batch))
    except Damage:
        return False
    if data.startswith(TAIL_OPENS, end):
        return False
    if TAIL_OPENS.startswith(data[end : end + -end % SECTOR] or b"?"):
        return True  # its first bytes, in the sector that it shares with the lines above
    head = b'%s%s,"updated_at":"' % (TAIL_OPENS, encode_json(context.to_json()))
    time = data[end + len(head) : end + len(head) + _TIME_BYTES]
    old = b'%s%s","seal":{"seq":%d,"body":%d,"start":' % (head, time, seq, len(header_line))
    edges = range(-end % SECTOR, len(old) - _TIME_BYTES, SECTOR)
    return any(data.startswith(old[edge : edge + SECTOR], end + edge) for edge in edges)


def _whole_batches(data: bytes, offset: int, salt: int) -> Iterator[tuple[list[Entry], int]]:
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
        sound = isinstance(body_of(entry), dict) and _are_texts(
            entry["at"], entry.get("agent", ""), entry.get("turn", "")
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # four bytes of checksum can agree by chance
        return None
    return entry if sound and all(map(is_number, numbers)) else None


def _torn_by_one_append(data: bytes, whole: int) -> bool:
    """Tell whether what stands behind the whole batches can be of one append, which began right there."""
    opening = data.rfind(b"\n" + TAIL_OPENS) + 1
    tail = parse_tail(_line_at(data, opening), opening) if opening > whole else None
    if tail is not None and tail.start > whole:
        return False
    batches = set()
    for claim in _CLAIM.finditer(data, whole):
        place = int(claim[2] or 1)
        if place == 1 and claim.start() != whole:
            return False
        batches.add(int(claim[1]) - place)
    return len(batches) <= 1
