"""A whole session, decoded, and the file that is written for it: at its creation, and by each change but an append."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.header import encode_header, facts_of
from agents_sessions.stores.file.format.lines import encode_batch, encode_entry
from agents_sessions.stores.file.format.tail import encode_tail


@dataclass(slots=True)
class Document:
    """A whole file, decoded."""

    header: JsonObject
    """The facts of the session. The format's own keys are ignored when it is written."""
    entries: list[Entry]
    seq: int
    """The newest number that was given, which may be that of a removed entry."""
    context: ContextStats
    updated_at: str
    shape: Literal["sealed", "edited", "torn"] = "sealed"
    """Whether the seal held, a person had edited the file, or its last append was torn and is left out."""


def encode_document(document: Document) -> bytearray:
    """Return the whole file, with a new salt. Every entry keeps its number and becomes a batch of its own."""
    salt = secrets.token_hex(4)
    facts = facts_of(document.header)
    if document.seq > newest_seq(document.entries):
        # The newest entry was removed, and no line shows its number. A torn append destroys the tail, which has it too:
        # without this, the number would then be given a second time.
        facts["seq"] = document.seq
    header = encode_header(facts, salt)
    data = bytearray(header)  # grown line by line, since a list of lines would hold the file a second time
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
