"""JSON that no person wrote: a torn append whose new bytes and the old tail below them fit together by chance.

A disk writes the sectors of an append in any order, so after a cut of the power some of them still hold the old tail.
Where the mixture is JSON, it would pass for an edit by hand and show a part of a batch. Two signs give it away: text of
the old tail among the new lines, and a name that stands twice in the tail. A name that stands twice anywhere else is
damage, because readers of JSON drop one of its two values.
"""

from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.computed import NO_TOTALS, count_totals, seq_of
from agents_sessions.stores.file.format.document import newest_seq
from agents_sessions.stores.file.format.header import Damage, parse_header, salt_of
from agents_sessions.stores.file.format.tail import SECTOR, TAIL_OPENS
from agents_sessions.stores.file.format.verify import whole_batches

_TAIL_NAMES = {"context", "updated_at", "seal"}

_CHUNK = 1 << 20
_TIME_BYTES = len("2026-11-20T21:28:00.123Z")


def is_mixed(document: JsonObject, data: bytes, codec: SessionCodec = PLAIN_SESSION) -> bool:
    """Tell whether a torn append, and not a person, left these bytes, which decode as a document.

    Raises:
        Damage: A name stands twice in one object, and the value that JSON readers drop is lost.
    """
    return _shows_old_tail(data, codec) or _mixes_two_tails(document, data)


def _shows_old_tail(data: bytes, codec: SessionCodec) -> bool:
    """Tell whether a sector of the tail that the last append went over still stands among the new lines.

    The text of the old tail follows from the lines above it, except its time, which may be any. So every sector that
    can still hold a part of this text is compared with it. A sector that would begin in its last few bytes is left
    out, because it could not go on as JSON.
    """
    header_line = data[: data.find(b"\n") + 1]
    end, context = len(header_line), NO_TOTALS
    try:
        header = parse_header(header_line)
        seq = seq_of(header)
        for batch, whole in whole_batches(data, len(header_line), salt_of(header), codec):
            end, context, seq = whole, count_totals(batch, context), max(seq, newest_seq(batch))
    except Damage:
        return False
    if data.startswith(TAIL_OPENS, end):
        return False
    if TAIL_OPENS.startswith(data[end : end + -end % SECTOR] or b"?"):
        return True  # the first bytes of the old tail, in the sector that it shares with the lines above
    head = b'%s%s,"updated_at":"' % (TAIL_OPENS, encode_json(context.to_json()))
    time = data[end + len(head) : end + len(head) + _TIME_BYTES]
    old = b'%s%s","seal":{"seq":%d,"body":%d,"start":' % (head, time, seq, len(header_line))
    edges = range(-end % SECTOR, len(old) - _TIME_BYTES, SECTOR)
    return any(data.startswith(old[edge : edge + SECTOR], end + edge) for edge in edges)


def _mixes_two_tails(document: JsonObject, data: bytes) -> bool:
    """Tell whether a name stands twice in the tail, beside a name that no tail has: half of it is of the old tail.

    Where all its names are those of a tail, a doubled one loses nothing, since its value is computed again.

    Raises:
        Damage: A name stands twice elsewhere.
    """
    if _count_strings_of_value(document) == _count_strings_of_text(data, len(data)):
        return False
    end = data.rfind(b"\n" + TAIL_OPENS)
    try:
        tail = decode_json(b"{" + data[end + len(b"\n],") :])
    except ValueError:
        tail = document
    above = {name: value for name, value in document.items() if name not in tail}
    mixed = not tail.keys() <= _TAIL_NAMES
    if _count_strings_of_value(above) < _count_strings_of_text(data, end) or (mixed and not _has_whole_lines(data)):
        raise Damage("a name stands twice in one of its objects")
    return mixed


def _has_whole_lines(data: bytes) -> bool:
    """Tell whether a tail stands right behind the whole batches, so that a doubled name can only be in the tail.

    An append leaves this where its lines and the first half of its tail are lost: the old tail stands in their place.
    """
    header_line = data[: data.find(b"\n") + 1]
    try:
        salt = salt_of(parse_header(header_line))
    except Damage:
        return False
    ends = (end for _, end in whole_batches(data, len(header_line), salt))
    return data.startswith(TAIL_OPENS, max(ends, default=len(header_line)))


def _count_strings_of_text(data: bytes, end: int) -> int:
    """Return how many strings a JSON text has up to an offset, names included."""
    quotes = offset = 0
    while offset < end:
        begin, offset = offset, min(offset + _CHUNK, end)
        while data[offset - 1 : offset] == b"\\":  # so as not to part the two characters of an escape
            offset += 1
        chunk = data[begin:offset].replace(b"\\\\", b"")
        quotes += chunk.count(b'"') - chunk.count(b'\\"')
    return quotes // 2


def _count_strings_of_value(value: object) -> int:
    """Return how many strings a decoded JSON text has: fewer than the text if a name stands twice in an object."""
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
