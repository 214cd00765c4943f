"""The way in for a whole file: sealed, edited or torn."""

from agents_sessions.model.lossless_json import decode_json
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.edited import decode_edited
from agents_sessions.stores.file.format.header import Damage, check_format, facts_of
from agents_sessions.stores.file.format.mixed import check_names, old_tail_shows
from agents_sessions.stores.file.format.sealed import read_entries, read_sealed
from agents_sessions.stores.file.format.tail import Read
from agents_sessions.stores.file.format.torn import recover

BEGIN_BYTES = 4096
"""How far the first brace of a file may be from its begin."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
        if not old_tail_shows(data) and not check_names(edited, data):
            return decode_edited(edited)
        reason = "its last append is mixed with what stood there before"
    return recover(data, reason)


def _reader(data: bytes) -> Read:
    return lambda offset, length: bytearray(data[offset : offset + length])
