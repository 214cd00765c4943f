"""What a session can start over with when its file is damaged: the facts that can be read, and its newest number.

Its history is given up. Whoever calls this keeps the damaged bytes.
"""

import re

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import MAX_GIVEN_SEQ
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.codec import Codec, SessionCodec
from agents_sessions.stores.file.format.header import Damage, check_format, codec_of, facts_of, parse_header

_FORMAT = re.compile(rb'"format"\s*:\s*"(agents-sessions/\d{1,9})"')
_GIVEN = re.compile(rb'^[ \t,]*\{ ?"seq": ?(\d{1,16}),|"seal": ?\{"seq": ?(\d{1,16}),', re.MULTILINE)


def salvage(data: bytes, key: SessionKey, codec: Codec) -> tuple[JsonObject, int, SessionCodec]:
    """Return the facts of a damaged file, the newest number that it gave, and its codec.

    Raises:
        NewerFormat: It may be whole for a newer version.
        SessionVersionError: Another codec wrote it.
    """
    named = _FORMAT.search(data, 0, 1 << 16)
    if named is not None:
        check_format({"format": named[1].decode()})
    numbers = (int(found[1] or found[2]) for found in _GIVEN.finditer(data))
    given = max((number for number in numbers if number <= MAX_GIVEN_SEQ), default=0)
    try:
        header = parse_header(data[: data.find(b"\n") + 1])
    except Damage:
        return {"id": key.session_id, "agent_id": key.agent_id}, given, codec.begin(key)
    of_session = codec_of(header, codec)
    return of_session.decode_facts(facts_of(header)), given, of_session
