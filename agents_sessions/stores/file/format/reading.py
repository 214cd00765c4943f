"""The way in for a whole file, whatever happened to it: sealed, edited by a person, or torn by its last append.

A person leaves JSON, which `edited` takes as it stands. A torn append leaves something else, of which `torn` keeps what
its checksums prove, or JSON by chance, which `mixed` tells from an edit. Any other file is damage and never guessed at.
"""

from agents_sessions.model.lossless_json import decode_json
from agents_sessions.stores.codec import PLAIN, Codec
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.edited import decode_edited
from agents_sessions.stores.file.format.header import Damage, check_format, codec_of, facts_of
from agents_sessions.stores.file.format.mixed import is_mixed
from agents_sessions.stores.file.format.proved import decode_proved
from agents_sessions.stores.file.format.sealed import read_entries, read_sealed
from agents_sessions.stores.file.format.tail import Read
from agents_sessions.stores.file.format.torn import decode_torn

BEGIN_BYTES = 4096
"""The first brace of a file must be among this many first bytes."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_begin(begin: bytes | bytearray) -> None:
    """Refuse a file by its first `BEGIN_BYTES`, before a large one that cannot be a session is read into memory.

    Raises:
        Damage: The file does not begin with an object.
    """
    text = begin.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \r\n\t")
    if not text.startswith(b"{"):
        raise Damage("it is empty" if not text.strip(b"\0") else "it does not begin as JSON")


def decode_document(data: bytes, codec: Codec = PLAIN) -> Document:
    """Return the session in a whole file: sealed, edited by a person, or without its torn last append.

    Raises:
        Damage: The file is none of the three.
        NewerFormat: It is of a newer version.
    """
    read = _reader(data)
    sealed = read_sealed(read, len(data))
    if sealed is not None:
        _, header, tail = sealed
        of_session = codec_of(header, codec)
        facts, entries = of_session.decode_facts(facts_of(header)), read_entries(read, tail, of_session)
        return Document(facts, entries, tail.seq, tail.context, tail.updated_at, codec=of_session)
    check_begin(data[:BEGIN_BYTES])
    try:
        edited = decode_json(data.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        reason = str(error)
    else:
        of_session = codec_of(check_format(edited), codec)
        if not is_mixed(edited, data, of_session):
            return decode_edited(edited, of_session) if of_session.editable else decode_proved(edited, data, of_session)
        reason = "its last append is mixed with what stood there before"
    return decode_torn(data, reason, codec)


def _reader(data: bytes) -> Read:
    return lambda offset, length: bytearray(data[offset : offset + length])
