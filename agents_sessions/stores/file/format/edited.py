"""A file that a person has edited."""

from typing import Any, cast

from agents_sessions.model.entries import Entry, envelope_of
from agents_sessions.model.history import flaw_of
from agents_sessions.model.lossless_json import JsonObject, check_json
from agents_sessions.stores.base import give_numbers
from agents_sessions.stores.file.format.computed import refold, seq_of, time_or_now
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.header import Damage, facts_of
from agents_sessions.stores.file.format.lines import are_texts


def decode_edited(document: JsonObject) -> Document:
    """Return what a person has made of a session.

    Raises:
        Damage: It cannot be taken as it stands.
    """
    history = document.get("history")
    if not isinstance(history, list):
        raise Damage("its history is not a list")
    _refuse_lossy(facts_of(document), "its header")
    updated_at = time_or_now(document.get("updated_at"))
    accepted = [_accept_edited(value, place, updated_at) for place, value in enumerate(history, 1)]
    # All numbers that the file shows were given, also those that a hand has put out of order.
    given = max(seq_of(part) for part in (document, document.get("seal"), *accepted))
    entries, seq = give_numbers(accepted, given)
    return Document(facts_of(document), entries, seq, refold(entries), updated_at, "edited")


def _refuse_lossy(value: object, what: str) -> None:
    try:
        check_json(value)
    except ValueError as error:  # such as 1e400, which reads as infinity and could not be written again
        raise Damage(f"{what} {error}") from None


def _accept_edited(value: object, place: int, updated_at: str) -> Entry:
    bodies = [value[name] for name in ("item", "record") if name in value] if isinstance(value, dict) else []
    if len(bodies) != 1 or not isinstance(bodies[0], dict):
        raise Damage(f"entry {place} of its history has neither an item nor a record")
    entry = cast("Entry", {k: v for k, v in cast("dict[str, Any]", value).items() if k not in ("k", "n", "crc")})
    for part in (bodies[0], envelope_of(entry)):
        _refuse_lossy(part, f"entry {place} of its history")
    entry["seq"] = seq_of(entry)
    entry.setdefault("at", updated_at)
    if not are_texts(entry["at"], entry.get("agent", ""), entry.get("turn", "")):
        raise Damage(f"entry {place} of its history has an `at`, `agent` or `turn` that is no text")
    if flaw := flaw_of(entry):
        raise Damage(f"entry {place} of its history has {flaw}")
    return entry
