"""How the parts of a session become the bytes that a backend stores, and come back.

A codec works below the totals: they are folded from plain entries, so it may hide every body from the disk. It is
called when the numbers of an entry are known, so that it can bind what it writes to its place.

A `Codec` belongs to a store. It opens a `SessionCodec` for each session, which may keep two small things with it:
`kept` in the header, and a `state` behind the newest entry, which every batch moves on. The ones here are plain: they
change nothing and keep nothing.
"""

from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from agents_sessions.errors import SessionVersionError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry
from agents_sessions.model.history import invalid_fields
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.stores.base import Standing

BODIES = ("item", "record")
"""The two names of an entry's body. All other names are its envelope, which stays readable."""


class Place(NamedTuple):
    """Where an entry stands: its number, and its place in a batch of `n`."""

    seq: int
    k: int = 1
    n: int = 1


class SessionCodec:
    """The codec of one session. This one is plain: it changes nothing and keeps nothing."""

    kept: "JsonObject | None" = None
    """What it keeps in the session's header."""

    editable = True
    """Whether what a person writes into the session by hand is a part of it. Elsewhere it is damage."""

    chained = False
    """Whether `advance` goes line by line, so that a read of all lines can prove the state behind them."""

    def encode_body(self, body: bytes, place: Place) -> bytes:
        """Return the body of an entry as members of a JSON object, such as `"item":{…}`."""
        del place
        return body

    def decode_entry(self, entry: Entry) -> Entry:
        """Return an entry with its plain body."""
        return entry

    def encode_facts(self, facts: JsonObject) -> JsonObject:
        """Return the facts of a session as they are stored. Its ids and times must stay as they are."""
        return facts

    def decode_facts(self, facts: JsonObject) -> JsonObject:
        """Return plain facts."""
        return facts

    def encode_sidecar(self, name: str, data: bytes) -> bytes:
        """Return a sidecar as it is stored."""
        del name
        return data

    def decode_sidecar(self, name: str, data: bytes) -> bytes:
        """Return a plain sidecar."""
        del name
        return data

    def advance(self, state: str | None, batch: bytes) -> str | None:
        """Return the state behind a batch, given the one before it and the batch as it is stored."""
        del batch
        return state


class Codec:
    """The codec of a store. This one is plain."""

    def begin(self, key: SessionKey) -> SessionCodec:
        """Return the codec of a session that is created."""
        del key
        return PLAIN_SESSION

    def open(self, key: SessionKey, kept: "JsonObject | None") -> SessionCodec:
        """Return the codec of a session, given what it keeps in the header.

        Raises:
            SessionVersionError: Another codec wrote the session.
        """
        if kept is not None:
            raise SessionVersionError(
                key,
                "its header",
                "it was written through a codec that this store does not have; if it is encrypted, give the store"
                " encryption=KeyRing(…)",
            )
        return PLAIN_SESSION

    def renewed(self, key: SessionKey, kept: "JsonObject | None") -> SessionCodec | None:
        """Return what `open` does, with its key under the newest master key; None if there is nothing to renew.

        It differs from what `open` returns in what it keeps only.
        """
        del key, kept
        return None


PLAIN_SESSION = SessionCodec()
PLAIN = Codec()


# --- the stored form, for backends that keep one row per entry -----------------------------------------------------


def encode_entry(entry: Entry, place: Place, codec: SessionCodec = PLAIN_SESSION) -> bytes:
    """Return an entry as one JSON object. It must have its number and its time."""
    name = "item" if "item" in entry else "record"
    envelope = encode_json({key: value for key, value in entry.items() if key not in BODIES})
    body = codec.encode_body(encode_json({name: entry[name]})[1:-1], place)  # type: ignore[literal-required]
    return b"%s,%s}" % (envelope[:-1], body)


def decode_entry(data: bytes, codec: SessionCodec = PLAIN_SESSION) -> Entry:
    """Return an entry that `encode_entry` encoded."""
    return codec.decode_entry(cast("Entry", decode_json(data)))


def encode_facts(info: SessionInfo, codec: SessionCodec = PLAIN_SESSION) -> bytes:
    """Return the facts of a session as one JSON object, with what its codec keeps."""
    kept = {} if codec.kept is None else {"codec": codec.kept}
    return encode_json({**codec.encode_facts(info.header()), **kept})


def open_facts(key: SessionKey, facts: JsonObject, codec: Codec = PLAIN) -> tuple[JsonObject, SessionCodec]:
    """Return plain facts, and the codec of their session, given the facts as they are stored."""
    kept = facts.get("codec")
    opened = codec.open(key, cast("JsonObject | None", kept))
    return opened.decode_facts({name: value for name, value in facts.items() if name != "codec"}), opened


def info_of(facts: JsonObject, standing: Standing) -> SessionInfo:
    """Return a session, given its plain facts and where it stands.

    Raises:
        ValueError: A fact does not fit its field. The message names fields and shows no value.
    """
    values: dict[str, Any] = {**facts, **standing._asdict()}
    try:
        return SessionInfo.model_validate(values)
    except ValidationError as error:
        reason = f"its header has an invalid value: {invalid_fields(error)}"
    # Raise outside the handler: the caught error quotes the values.
    raise ValueError(reason)
