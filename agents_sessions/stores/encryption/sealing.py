"""The codec that seals what a session says, and binds each part to its place.

Every session has a random data key, which is in its header as the master key encrypts it: a file is one session, and no
copy, move or backup parts it from its key. A body, the facts and a sidecar are sealed by AES-256-GCM, each bound to
the session and to what it is. A chain of HMACs over the lines, whose newest link stands in the seal, shows a full
read whether a line was removed, added or moved.

Readable stay the ids and times, the labels of entries (agent, turn) and the totals.
"""

import base64
import binascii
import hashlib
import hmac
import os
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import (
    KeyDestroyedError,
    MissingKeyError,
    NotEncryptedError,
    PlaintextError,
    SessionCorruptedError,
    SessionVersionError,
    WrongKeyError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.stores.codec import Codec, Place, SessionCodec
from agents_sessions.stores.encryption.keyring import KEY_BYTES, NONCE_BYTES, KeyProvider, NotTheKeyError

CIPHER = "aes-256-gcm"
SEALED_FILE = b"agents-sessions sealed/1\n"
"""How a sealed sidecar begins."""

_READABLE = ("id", "agent_id", "created_at")
_LINK_BYTES = 16
_CACHED_KEYS = 1024


class SealedSession(SessionCodec):
    """The codec of one encrypted session.

    Args:
        key: Its agent and its id.
        data_key: Its own key, 32 bytes.
        kept: What its header keeps: the data key, wrapped.
    """

    editable = False
    chained = True

    def __init__(self, key: SessionKey, data_key: bytes, kept: JsonObject) -> None:
        self.kept = kept
        self._key = key
        self._cipher = AESGCM(hmac.digest(data_key, b"agents-sessions/1 seal", hashlib.sha256))
        self._decrypt = self._cipher.decrypt
        self._chain = hmac.digest(data_key, b"agents-sessions/1 chain", hashlib.sha256)
        self._bound = encode_json(["agents-sessions/1", *key])

    def __repr__(self) -> str:
        return f"SealedSession({self._key!r})"

    def encode_body(self, body: bytes, place: Place) -> bytes:
        """Return a body, sealed and bound to its number. The chain binds the line, and so the place in the batch."""
        return b'"sealed":"%s"' % binascii.b2a_base64(self._seal(body, b"entry %d" % place.seq), newline=False)

    def decode_entry(self, entry: Entry) -> Entry:
        """Return an entry with its plain body.

        Raises:
            PlaintextError: Its body is not sealed.
            ValueError: It was changed, or stood elsewhere.
        """
        values: dict[str, Any] = cast("JsonObject", entry)  # decoded a moment ago: it is no one else's yet
        if "item" in values or "record" in values or "sealed" not in values:
            raise PlaintextError(self._key, f"its entry {values.get('seq')!r:.20}")
        try:
            sealed, bound = binascii.a2b_base64(values.pop("sealed")), self._bound + b"entry %d" % values["seq"]
            values.update(decode_json(b"{%s}" % self._decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)))
        except (InvalidTag, TypeError, ValueError):  # `binascii.Error` is one
            raise ValueError(f"entry {values['seq']!r:.20} was changed, or is not in its place") from None
        return entry

    def encode_facts(self, facts: JsonObject) -> JsonObject:
        """Return the readable facts, and all others sealed and bound to them."""
        readable = {name: facts[name] for name in _READABLE}
        hidden = {name: value for name, value in facts.items() if name not in _READABLE}
        sealed = self._seal(encode_json(hidden), b"facts " + encode_json(readable))
        return {**readable, "sealed": base64.b64encode(sealed).decode()}

    def decode_facts(self, facts: JsonObject) -> JsonObject:
        """Return plain facts.

        Raises:
            PlaintextError: More of them are plain than should be.
            SessionCorruptedError: They were changed.
        """
        if facts.keys() != {*_READABLE, "sealed"}:
            raise PlaintextError(self._key, "a part of its header")
        readable = {name: facts[name] for name in _READABLE}
        try:
            sealed = binascii.a2b_base64(cast("str", facts["sealed"]))
            return {**readable, **decode_json(self._open(sealed, b"facts " + encode_json(readable)))}
        except (TypeError, ValueError):
            raise SessionCorruptedError(self._key, "its header", "its sealed facts were changed") from None

    def encode_sidecar(self, name: str, data: bytes) -> bytes:
        """Return a sidecar, sealed and bound to its name."""
        return SEALED_FILE + self._seal(data, b"sidecar " + encode_json(name))

    def decode_sidecar(self, name: str, data: bytes) -> bytes:
        """Return a plain sidecar.

        Raises:
            PlaintextError: It is not sealed.
            SessionCorruptedError: It was changed, or had another name.
        """
        if not data.startswith(SEALED_FILE):
            raise PlaintextError(self._key, f"its sidecar {name!r:.80}")
        try:
            return self._open(data[len(SEALED_FILE) :], b"sidecar " + encode_json(name))
        except ValueError:
            raise SessionCorruptedError(self._key, f"its sidecar {name!r:.80}", "it was changed") from None

    def advance(self, state: str | None, batch: bytes) -> str | None:
        """Return the link of the chain behind some lines."""
        link = (state or "").encode()
        for line in batch.splitlines(keepends=True):
            link = hmac.digest(self._chain, b"%s %s" % (link, line), "sha256")[:_LINK_BYTES].hex().encode()
        return link.decode() or None

    def _seal(self, data: bytes, what: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, self._bound + what)

    def _open(self, sealed: bytes, what: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            ValueError: It was changed, or was sealed as something else.
        """
        try:
            return self._decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound + what)
        except InvalidTag:
            raise ValueError("it was changed") from None


class SealingCodec(Codec):
    """The codec of a store that encrypts.

    Args:
        keys: Who holds the master keys.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self.keys = keys
        self._opened: Recent[tuple[SessionKey, str, str], SealedSession] = Recent(_CACHED_KEYS)

    def __repr__(self) -> str:
        return f"SealingCodec({self.keys!r})"

    def begin(self, key: SessionKey) -> SessionCodec:
        """Return the codec of a new session, with a new random data key."""
        data_key = os.urandom(KEY_BYTES)
        return SealedSession(key, data_key, self._wrapped(key, data_key))

    def open(self, key: SessionKey, kept: "JsonObject | None") -> SessionCodec:
        """Return the codec of a session.

        Raises:
            NotEncryptedError: The session is plain.
            MissingKeyError, WrongKeyError, KeyDestroyedError: Its key is not to be had.
            SessionCorruptedError: Its wrapped key was damaged.
            SessionVersionError: It is encrypted in a way that this version does not know.
        """
        if kept is None:
            raise NotEncryptedError(key)
        key_id, wrapped = self._parts(key, kept)
        known = self._opened.get((key, key_id, wrapped))
        if known is None:
            known = SealedSession(key, self._unwrap(key, key_id, wrapped), kept)
            self._opened.put((key, key_id, wrapped), known)
        return known

    def renewed(self, key: SessionKey, kept: "JsonObject | None") -> SessionCodec | None:
        """Return the codec of a session whose data key is wrapped by the current master key; None if it is already.

        Raises:
            NotEncryptedError, MissingKeyError, WrongKeyError, KeyDestroyedError, SessionCorruptedError: See `open`.
        """
        self.open(key, kept)
        key_id, wrapped = self._parts(key, kept)
        if key_id == self.keys.current():
            return None
        data_key = self._unwrap(key, key_id, wrapped)
        return SealedSession(key, data_key, self._wrapped(key, data_key))

    def _parts(self, key: SessionKey, kept: object) -> tuple[str, str]:
        if not isinstance(kept, dict) or kept.get("cipher") != CIPHER:
            reason = "it is encrypted in a way that this version does not know; update agents-sessions"
            raise SessionVersionError(key, "its header", reason)
        key_id, wrapped = kept.get("key_id"), kept.get("key")
        if not isinstance(key_id, str) or not isinstance(wrapped, str):
            raise SessionCorruptedError(key, "its header", "its wrapped key is damaged")
        if not wrapped.strip("A"):  # zeros in base64
            raise KeyDestroyedError(key)
        return key_id, wrapped

    def _wrapped(self, key: SessionKey, data_key: bytes) -> JsonObject:
        key_id = self.keys.current()
        wrapped = self.keys.wrap(key_id, data_key, _context(key, key_id))
        return {"cipher": CIPHER, "key_id": key_id, "key": base64.b64encode(wrapped).decode()}

    def _unwrap(self, key: SessionKey, key_id: str, wrapped: str) -> bytes:
        try:
            return self.keys.unwrap(key_id, binascii.a2b_base64(wrapped), _context(key, key_id))
        except LookupError:
            raise MissingKeyError(key, key_id) from None
        except NotTheKeyError:
            raise WrongKeyError(key, key_id) from None
        except ValueError:
            raise SessionCorruptedError(key, "its header", "its wrapped key was changed, or is another's") from None


def _context(key: SessionKey, key_id: str) -> bytes:
    return encode_json(["agents-sessions/1 key", *key, key_id])
