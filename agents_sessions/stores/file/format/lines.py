"""The lines of a history: one entry each, with its number and its checksum.

Every line opens with a comma, the first one with a blank, so that an append adds lines and changes none above them. The
checksum covers the line without the first byte and without the checksum itself, and is seeded with the file's salt.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias, cast
from zlib import crc32

import msgspec

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.history import flaw_of
from agents_sessions.model.lossless_json import UNDECODED, decode_json, encode_exactly, encode_json
from agents_sessions.stores.codec import PLAIN_SESSION, Place, SessionCodec
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.transitions import check_new

MAX_SEQ = 2**53
"""The largest number that a line or a tail may have. Above it, some readers of JSON round."""

CRC_OPENS = b',"crc":"'
"""What stands before the checksum of a line, and of a seal."""

_NOT_ENVELOPE = ("seq", "k", "n", "crc", "item", "record")
_LABELS = frozenset({"at", "agent", "turn"})
_TEXT = frozenset({str})
_NO_RECORD = msgspec.Raw()


EncodedEntry: TypeAlias = "tuple[bytes, bytes]"
"""Envelope and body: the two parts of a line that do not depend on its place in the file, without braces."""


# --- entries to lines ---


def encode_entry(entry: Entry, at: str) -> EncodedEntry:
    """Encode an entry without its number and checksum. An entry without a time gets the time `at`."""
    envelope = {"at": at, **{name: value for name, value in entry.items() if name not in _NOT_ENVELOPE}}
    body = {"item": entry["item"]} if "item" in entry else {"record": entry["record"]}
    return encode_json(envelope)[1:-1], encode_json(body)[1:-1]


def encode_batch(
    batch: Sequence[EncodedEntry], *, first_seq: int, salt: int, opens: bool, codec: SessionCodec = PLAIN_SESSION
) -> bytes:
    """Return the lines of one batch. `opens` says that they are the first lines of the history."""
    size = len(batch)
    lines = []
    for place, (envelope, body) in enumerate(batch, 1):
        lead = b" " if opens and place == 1 else b","
        of = b',"k":%d,"n":%d' % (place, size) if size > 1 else b""
        head = b'{"seq":%d%s' % (first_seq + place - 1, of)
        stored = body if codec is PLAIN_SESSION else codec.encode_body(body, Place(first_seq + place - 1, place, size))
        rest = b"%s,%s}\n" % (envelope, stored)
        lines.append(b'%s%s%s%08x",%s' % (lead, head, CRC_OPENS, crc32(head + rest, salt), rest))
    return b"".join(lines)


class NewEntries(NamedTuple):
    """Entries that were found fit to be stored, and are not numbered yet."""

    encoded: Sequence[EncodedEntry]
    entries: list[Entry]
    """As readers will find them. They share no object with the caller."""


def encode_new(entries: Sequence[Entry], at: str) -> NewEntries:
    """Encode new entries, which get the time `at`, once it is known that nothing is lost by it.

    Raises:
        InvalidItemError: See `transitions.check_new`.
    """
    new = _encode_plain(entries, at)
    if new is not None:
        return new
    check_new(entries)
    encoded = [encode_entry(entry, at) for entry in entries]
    return NewEntries(encoded, [cast("Entry", decode_json(b"{%s,%s}" % entry)) for entry in encoded])


def _encode_plain(entries: Sequence[Entry], at: str) -> NewEntries | None:
    """Encode entries as nearly all are: a body and its labels. None says that one is not, or may not be stored."""
    parts: list[dict[str, Any]] = []
    for entry in entries:
        labels: dict[str, Any] = {"at": at, **entry}
        name = "item" if "item" in entry else "record"
        body = labels.pop(name, None)
        if type(body) is not dict or not labels.keys() <= _LABELS or not _TEXT.issuperset(map(type, labels.values())):
            return None
        if (name == "record" or "at" in entry) and flaw_of(entry):
            return None
        parts += labels, {name: body}
    exact = encode_exactly(parts)
    if exact is None:
        return None
    texts, found = exact
    encoded = [(labels[1:-1], body[1:-1]) for labels, body in zip(texts[::2], texts[1::2], strict=True)]
    whole: list[Any] = [{**labels, **body} for labels, body in zip(found[::2], found[1::2], strict=True)]
    return NewEntries(encoded, whole)


# --- lines to entries ---


def decode_lines(lines: bytearray, offset: int, codec: SessionCodec = PLAIN_SESSION) -> list[Entry]:
    """Return the entries of whole lines, which stand at an offset of the file. Overwrites parts of the buffer.

    Raises:
        Damage: A line is not an entry.
    """
    return _decode_list(_as_list(lines), offset, codec)


def decode_items(lines: bytearray, offset: int, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
    """Return only the SDK items of whole lines, twice as fast as `decode_lines` and under the same conditions."""
    text = _as_list(lines)
    try:
        found = _LINES.decode(text) if codec is PLAIN_SESSION else []
    except UNDECODED:
        found = []
    items = [line.item for line in found if line.item is not None]
    if len(items) + sum(_is_object(line.record) for line in found if line.item is None) == len(found) > 0:
        return items
    # The fast decoder gives up at a lone surrogate as it does at damage. The full one tells the two apart.
    return [entry["item"] for entry in _decode_list(text, offset, codec) if "item" in entry]


class _Line(msgspec.Struct, gc=False):
    """The parts of a line that `decode_items` needs. The decoder skips the rest."""

    seq: Annotated[int, msgspec.Meta(gt=0, le=MAX_SEQ)]
    item: dict[str, Any] | None = None
    record: msgspec.Raw = _NO_RECORD


_LINES = msgspec.json.Decoder(list[_Line])


def _is_object(raw: msgspec.Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b"{"


def _as_list(lines: bytearray) -> bytearray:
    lines[:1] = b"["  # over the comma of the first line, so that nothing is copied
    lines += b"]"
    return lines


def _decode_list(text: bytearray, offset: int, codec: SessionCodec) -> list[Entry]:
    try:
        entries = cast("list[Entry]", decode_json(text))
        if codec is not PLAIN_SESSION:
            entries = [codec.decode_entry(entry) for entry in entries]
    except ValueError as error:
        raise Damage(f"its history is damaged after byte {offset}: {error}") from None
    try:
        valid = all(is_number(entry["seq"]) and type(body_of(entry)) is dict for entry in entries)
    except (KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise Damage(f"its history has an entry that is none, after byte {offset}")
    return entries


# --- parts of an entry ---


def body_of(entry: Entry) -> object:
    """Return what an entry holds: an item or a record."""
    return entry["item"] if "item" in entry else entry["record"]


def is_number(value: object) -> bool:
    """Tell whether a value can be the number of an entry."""
    return type(value) is int and 0 < value <= MAX_SEQ


def has_text_labels(entry: Entry) -> bool:
    """Tell whether the time, the agent and the turn of an entry are texts. The entry must have a time."""
    return all(isinstance(label, str) for label in (entry["at"], entry.get("agent", ""), entry.get("turn", "")))
