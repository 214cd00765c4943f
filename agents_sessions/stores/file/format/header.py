"""The first line of a session file: the format, the facts of the session and the salt of its checksums.

It is a JSON object that breaks off where the history begins. Closed with a brace, it can be read without the rest.
"""

from typing import cast

from agents_sessions.keys import SessionKey
from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.stores.codec import PLAIN, PLAIN_SESSION, Codec, SessionCodec

FORMAT_NAME = "agents-sessions"
FORMAT_VERSION = 1

HISTORY_OPENS = b',"history":[\n'
"""How the line ends."""

_STRUCTURE = ("format", "seq", "salt", "codec", "history", "context", "updated_at", "seal")
"""Keys of the whole document that belong to the format. Every other key is a fact of the session."""


class Damage(Exception):
    """The bytes are not a session file, and no torn append explains them. Holds no content of the file."""


class NewerFormat(Exception):
    """The bytes are of a newer version of the format, which the exception names."""


def encode_header(facts: JsonObject, salt: str, *, given: int = 0, codec: SessionCodec = PLAIN_SESSION) -> bytes:
    """Return the header line of a file with these facts and this salt, eight hexadecimal digits.

    `given` is the newest number that was ever given, where no line of the history shows it.
    """
    header = {"format": f"{FORMAT_NAME}/{FORMAT_VERSION}", **codec.encode_facts(facts)}
    if given:
        header["seq"] = given
    if codec.kept is not None:
        header["codec"] = codec.kept
    return encode_json({**header, "salt": salt})[:-1] + HISTORY_OPENS


def parse_header(line: bytes) -> JsonObject:
    """Return the JSON of a header line.

    Raises:
        Damage: The line is not a header.
        NewerFormat: It names a newer version of the format.
    """
    if not line.endswith(HISTORY_OPENS):
        raise Damage("its first line is not the header of a session")
    try:
        header = decode_json(line[: -len(HISTORY_OPENS)] + b"}")
    except ValueError as error:
        raise Damage(f"its header is {error}") from None
    checked = check_format(header)
    salt_of(checked)
    return checked


def check_format(document: object) -> JsonObject:
    """Return a document or header if it is of our format, in a version that this code reads.

    Raises:
        Damage: It names another format, or none.
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


def salt_of(header: JsonObject) -> int:
    """Return the number that seeds the checksums of a file's lines. No line of a file with another salt passes.

    Raises:
        Damage: The header has no salt.
    """
    try:
        return int(str(header["salt"]), 16) & 0xFFFFFFFF
    except (KeyError, ValueError):
        raise Damage("its header has no salt") from None


def codec_of(header: JsonObject, codec: Codec) -> SessionCodec:
    """Return the codec of a session, given its header and the codec of its store.

    Raises:
        SessionVersionError: Another codec wrote the file.
    """
    if codec is PLAIN and "codec" not in header:
        return PLAIN_SESSION
    key = SessionKey(str(header.get("agent_id")), str(header.get("id")))
    return codec.open(key, cast("JsonObject | None", header.get("codec")))


def renewed_codec_of(header: JsonObject, codec: Codec) -> SessionCodec | None:
    """Return the codec of a session with its key renewed, or None if there is nothing to renew; see `Codec`."""
    key = SessionKey(str(header.get("agent_id")), str(header.get("id")))
    return codec.renewed(key, cast("JsonObject | None", header.get("codec")))


def facts_of(header: JsonObject) -> JsonObject:
    """Return the facts of a header: everything except what belongs to the format."""
    return {name: value for name, value in header.items() if name not in _STRUCTURE}
