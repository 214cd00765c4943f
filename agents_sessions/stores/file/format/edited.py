"""A file that a person edited: JSON of our format whose seal does not hold.

The person's text is taken as it stands. An entry without a number or a time gets one, and the totals are counted again.
A handoff that was removed is in force no more, although the end of its turn names the agent that it led to.
An entry that could never be shown or written again is damage, and the message says where it is.
"""

from typing import Any, cast

from agents_sessions.model.entries import Entry, envelope_of
from agents_sessions.model.history import flaw_of
from agents_sessions.model.lossless_json import JsonObject, check_json
from agents_sessions.model.undo import without_lost_speakers
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.format.computed import count_totals, seq_of, time_or_now
from agents_sessions.stores.file.format.document import Document, newest_seq
from agents_sessions.stores.file.format.header import Damage, facts_of
from agents_sessions.stores.file.format.lines import has_text_labels
from agents_sessions.stores.transitions import numbered


def decode_edited(document: JsonObject, codec: SessionCodec = PLAIN_SESSION) -> Document:
    """Return the session in a JSON document whose format was checked.

    Raises:
        Damage: The history is not a list of entries, or holds what we could not write again.
    """
    history = document.get("history")
    if not isinstance(history, list):
        raise Damage("its history is not a list")
    facts = codec.decode_facts(facts_of(document))
    _refuse_lossy(facts, "its header")
    updated_at = time_or_now(document.get("updated_at"))
    accepted = [_accept_entry(value, place, updated_at, codec) for place, value in enumerate(history, 1)]
    # Every number in the file counts as given, also one that the person has put out of order.
    given = max(seq_of(part) for part in (document, document.get("seal"), *accepted))
    entries = without_lost_speakers(list(numbered(accepted, updated_at, given)))
    seq = max(given, newest_seq(entries))
    return Document(facts, entries, seq, count_totals(entries), updated_at, "edited", codec)


def _refuse_lossy(value: object, what: str) -> None:
    try:
        check_json(value)
    except ValueError as error:  # 1e400, for one, reads as infinity, which JSON cannot hold
        raise Damage(f"{what} {error}") from None


def _accept_entry(value: object, place: int, updated_at: str, codec: SessionCodec) -> Entry:
    if isinstance(value, dict) and codec is not PLAIN_SESSION:
        value = codec.decode_entry(cast("Entry", value))
    bodies = [value[name] for name in ("item", "record") if name in value] if isinstance(value, dict) else []
    if len(bodies) != 1 or not isinstance(bodies[0], dict):
        raise Damage(f"entry {place} of its history has neither an item nor a record")
    entry = cast("Entry", {k: v for k, v in cast("dict[str, Any]", value).items() if k not in ("k", "n", "crc")})
    for part in (bodies[0], envelope_of(entry)):
        _refuse_lossy(part, f"entry {place} of its history")
    entry["seq"] = seq_of(entry)
    entry.setdefault("at", updated_at)
    if not has_text_labels(entry):
        raise Damage(f"entry {place} of its history has an `at`, `agent` or `turn` that is not text")
    if flaw := flaw_of(entry):
        raise Damage(f"entry {place} of its history has {flaw}")
    return entry
