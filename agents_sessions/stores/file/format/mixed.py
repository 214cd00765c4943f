"""JSON that no person wrote."""

from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.stores.file.format.computed import NOTHING, refold, seq_of
from agents_sessions.stores.file.format.document import newest_seq
from agents_sessions.stores.file.format.header import Damage, parse_header, salt_of
from agents_sessions.stores.file.format.tail import SECTOR, TAIL_OPENS
from agents_sessions.stores.file.format.verify import whole_batches

_COMPUTED = {"context", "updated_at", "seal"}
"""What a tail holds."""

_CHUNK = 1 << 20
_TIME_BYTES = len("2026-11-20T21:28:00.123Z")


def old_tail_shows(data: bytes) -> bool:
    """Tell whether a sector of the tail that the last append went over still stands among its lines.

    What is around it can make JSON of both, as if a person had written it. What that tail said follows from the
    lines above it, but for its time; and no sector begins with less of it than that and goes on as JSON.
    """
    header_line = data[: data.find(b"\n") + 1]
    end, context = len(header_line), NOTHING
    try:
        header = parse_header(header_line)
        seq = seq_of(header)
        for batch, whole in whole_batches(data, len(header_line), salt_of(header)):
            end, context, seq = whole, refold(batch, context), max(seq, newest_seq(batch))
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


def check_names(document: JsonObject, data: bytes) -> bool:
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
    ends = (end for _, end in whole_batches(data, len(header_line), salt))
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
