"""A file with something else in its header that its codec keeps, such as a key that was wrapped anew.

Its lines stay as they are, byte for byte, so that no entry is read.
"""

from agents_sessions.model.lossless_json import encode_json
from agents_sessions.stores.codec import SessionCodec
from agents_sessions.stores.file.format.header import HISTORY_OPENS
from agents_sessions.stores.file.format.sealed import Sealed
from agents_sessions.stores.file.format.tail import encode_tail


def with_kept(sealed: Sealed, lines: bytearray, codec: SessionCodec) -> bytes:
    """Return the whole file, given all its lines and the codec whose `kept` its header is to have."""
    tail = sealed.tail
    header = encode_json({**sealed.header, "codec": codec.kept})[:-1] + HISTORY_OPENS
    end = len(header) + len(lines)
    return b"".join(
        (
            header,
            lines,
            encode_tail(
                header, b"", end=end, seq=tail.seq, context=tail.context, updated_at=tail.updated_at, state=tail.state
            ),
        )
    )
