"""A whole session, decoded, and the file that it makes."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import JsonObject, encode_json
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.header import FORMAT_NAME, FORMAT_VERSION, HISTORY_OPENS, facts_of
from agents_sessions.stores.file.format.lines import encode_batch, encode_entry
from agents_sessions.stores.file.format.tail import encode_tail


@dataclass(slots=True)
class Document:
    """A whole file, decoded."""

    header: JsonObject
    entries: list[Entry]
    seq: int
    context: ContextStats
    updated_at: str
    shape: Literal["sealed", "edited", "torn"] = "sealed"


def encode_document(document: Document) -> bytearray:
    """Return the whole file, with a new salt. Every entry keeps its number and becomes a batch of its own."""
    salt = secrets.token_hex(4)
    facts = {"format": f"{FORMAT_NAME}/{FORMAT_VERSION}", **facts_of(document.header)}
    if document.seq > newest_seq(document.entries):
        # The newest entry was removed. Without this, a torn append could make its number be given again.
        facts["seq"] = document.seq
    header = encode_json({**facts, "salt": salt})[:-1] + HISTORY_OPENS
    data = bytearray(header)  # grown line by line: a list of them would be the file once more
    for entry in document.entries:
        encoded = encode_entry(entry, document.updated_at)
        opens = len(data) == len(header)
        data += encode_batch([encoded], first_seq=entry["seq"], salt=int(salt, 16), opens=opens)
    data += encode_tail(
        header,
        b"",
        end=len(data),
        seq=document.seq,
        context=document.context,
        updated_at=document.updated_at,
    )
    return data


def newest_seq(entries: Sequence[Entry]) -> int:
    """Return the number of the last entry, 0 if there is none."""
    return entries[-1]["seq"] if entries else 0
