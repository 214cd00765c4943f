"""The first line of a session file: its format, its facts and its salt."""

from typing import cast

from agents_sessions.model.lossless_json import JsonObject, decode_json

FORMAT_NAME = "agents-sessions"
FORMAT_VERSION = 1
HISTORY_OPENS = b',"history":[\n'
_STRUCTURE = ("format", "seq", "salt", "history", "context", "updated_at", "seal")


class Damage(Exception):
    """The bytes are no session file, and no torn append explains it. Holds no content of the file."""


class NewerFormat(Exception):
    """The bytes were written by a newer version of the format."""


def parse_header(line: bytes) -> JsonObject:
    """Return the JSON of a header line.

    Raises:
        Damage: It is none.
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
    """Return a document or header that is of our format, and of a version that this code reads.

    Raises:
        Damage: It is not.
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
    """Return what the checksums of a file's lines begin with, so that no line of another file verifies.

    Raises:
        Damage: There is none.
    """
    try:
        return int(str(header["salt"]), 16) & 0xFFFFFFFF
    except (KeyError, ValueError):
        raise Damage("its header has no salt") from None


def facts_of(header: JsonObject) -> JsonObject:
    """Return the facts of a header: all but what the format itself needs."""
    return {name: value for name, value in header.items() if name not in _STRUCTURE}
