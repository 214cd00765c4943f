"""The key in the header of a file: wrapped anew, or destroyed.

The lines stay as they are, byte for byte, so that no entry is read.
"""

import re

from agents_sessions.model.lossless_json import encode_json
from agents_sessions.stores.codec import SessionCodec
from agents_sessions.stores.file.format.header import HISTORY_OPENS
from agents_sessions.stores.file.format.sealed import Sealed
from agents_sessions.stores.file.format.tail import encode_tail

DESTROYED = b"A"
"""What a key that was destroyed consists of: zeros, in base64."""

_KEY = re.compile(rb'"codec":\{[^{}]*"key":"([^"\\]*)"[^{}]*\},"salt":"')


def wrapped_key_at(data: bytes) -> tuple[int, int] | None:
    """Return where the header of a file has the key that its codec keeps, from and to, or None if it has none."""
    found = _KEY.search(data, 0, data.find(b"\n") + 1)
    return None if found is None else found.span(1)


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
