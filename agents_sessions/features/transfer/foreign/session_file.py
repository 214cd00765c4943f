"""The file of a session, as a `FileStore` has it, from another machine. Pure.

It is read as a person's text is: what it says is taken, its checksums are not looked at. So one that was cut in the
middle is refused; put such a file into the folder of a `FileStore`, which mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents_sessions.errors import ImportRefusedError, ImportVersionError
from agents_sessions.features.transfer.document import Header, entry_of, make_info
from agents_sessions.stores.file.format.header import FORMAT_NAME, FORMAT_VERSION, facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents_sessions.model.entries import Entry

_OF_THE_FILE = ("crc", "k", "n")


def session_of(document: Mapping[str, Any], source: str) -> tuple[Header, list[Entry]]:
    """Return the session of a file.

    Raises:
        ImportVersionError: A newer version wrote it.
        ImportRefusedError: It is damaged, or encrypted.
    """
    _check(document, source)
    history = document.get("history")
    if not isinstance(history, list):
        raise ImportRefusedError(source, "is missing or no list", field="history")
    entries = [_without_marks(entry_of(entry, source)) for entry in history]
    seal = document.get("seal")
    numbers = [document.get("seq"), seal.get("seq") if isinstance(seal, dict) else 0]
    facts = {**facts_of(dict(document)), "seq": max(number for number in (*numbers, 0) if isinstance(number, int))}
    if "updated_at" in document:
        facts["updated_at"] = document["updated_at"]
    return Header(make_info(facts, source), {}), entries


def _check(document: Mapping[str, Any], source: str) -> None:
    name, _, version = str(document["format"]).partition("/")
    if name != FORMAT_NAME or not version.isdecimal():
        raise ImportRefusedError(source, "is not the format of a session file", field="format")
    if int(version[:9]) > FORMAT_VERSION:
        raise ImportVersionError(source, "it is of a newer version: update agents-sessions", field="format")
    if "codec" in document:
        raise ImportRefusedError(
            source, "is written through a codec: export it with the store that has it", field="codec"
        )


def _without_marks(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name not in _OF_THE_FILE}  # type: ignore[return-value]
