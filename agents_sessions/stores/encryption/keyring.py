"""Master keys, and where they come from.

A master key encrypts nothing but the data keys of sessions, each of which is random and used by one session. No key is
part of a message, a `repr` or a pickle.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from agents_sessions.errors import InvalidValueError, MissingExtraError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:  # pragma: no cover -- the suite has it
    raise MissingExtraError("encryption", "encrypt") from None

KEY_BYTES = 32
NONCE_BYTES = 12

_CHECK_BYTES = 8
_CHECK_LABEL = b"agents-sessions/1 key check"
_PASSPHRASE_BYTES = 12
_SALT_BYTES = 16
_PASSES, _LANES, _KIBIBYTES = 3, 4, 1 << 16
"""The second recommended choice of RFC 9106 for Argon2id: three passes over 64 MiB."""


class NotTheKeyError(ValueError):
    """A wrapped data key was wrapped by another master key than the one that has its id."""


@runtime_checkable
class KeyProvider(Protocol):
    """Who holds the master keys: a `KeyRing`, or a key service of yours that never gives them away.

    It is asked once for each session that is created, and once for each that is opened and was not lately. A call
    blocks the thread that it is made in.
    """

    def current(self) -> str:
        """Return the id of the key that new sessions are encrypted under."""

    def wrap(self, key_id: str, data_key: bytes, context: bytes) -> bytes:
        """Return a data key, encrypted under a master key and bound to `context`."""

    def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key that `wrap` encrypted.

        Raises:
            LookupError: There is no master key of that id.
            NotTheKeyError: Another master key wrapped it.
            ValueError: It was damaged, or bound to something else.
        """


class KeyRing:
    """Master keys by their ids. New sessions use the current one; all of them open old sessions.

    Args:
        keys: 32 random bytes each, or the same in base64, as `KeyRing.generate` makes them.
        current: The id of the key for new sessions. It may be left out if there is one key.

    Raises:
        InvalidValueError: A key has another length, or `current` is none of the ids. The message shows no key.
    """

    def __init__(self, keys: Mapping[str, bytes | str], *, current: str | None = None) -> None:
        if not keys:
            raise InvalidValueError({"keys": "must have a key at least"})
        self._keys = {_checked_id(key_id): _key_of(key_id, key) for key_id, key in keys.items()}
        if current is None and len(keys) > 1:
            raise InvalidValueError({"current": f"must be one of {sorted(keys)}, which are more than one"})
        self._current = next(iter(keys)) if current is None else current
        if self._current not in self._keys:
            raise InvalidValueError({"current": f"must be one of {sorted(keys)}, not {current!r:.80}"})

    @staticmethod
    def generate() -> str:
        """Return a new random key in base64. Whoever loses it loses every session that is encrypted under it."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    @classmethod
    def from_env(cls, variable: str = "AGENTS_SESSIONS_KEYS", *, current: str | None = None) -> Self:
        """Return the keys of an environment variable: `id:base64`, several of them separated by blanks.

        The first one is the current one, unless `current` says otherwise.

        Raises:
            InvalidValueError: The variable is not set, or has no keys. The message does not show it.
        """
        text = os.environ.get(variable)
        if not text:
            raise InvalidValueError({variable: "must be set to keys such as k1:BASE64"})
        return cls._parsed(text, variable, current)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, current: str | None = None) -> Self:
        """Return the keys of a file, one `id:base64` a line, which only its owner may read.

        The first one is the current one, unless `current` says otherwise. Lines that begin with `#` are left out.

        Raises:
            OSError: It cannot be read.
            InvalidValueError: Others may read or write it, or it has no keys. The message shows no content.
        """
        place = Path(path).expanduser()
        with place.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise InvalidValueError({"path": f"has mode {mode:04o}, and others can use its keys; chmod 600 it"})
            lines = [line for line in file.read().splitlines() if not line.lstrip().startswith("#")]
        return cls._parsed(" ".join(lines), "path", current)

    @classmethod
    def from_passphrase(cls, passphrase: str, *, salt: bytes, key_id: str = "passphrase") -> Self:
        """Return the key that Argon2id makes of a passphrase. It takes a tenth of a second and 64 MiB.

        Args:
            passphrase: 12 bytes at least.
            salt: 16 random bytes at least, the same ones each time. They are no secret: keep them with the
                configuration, for without them the passphrase opens nothing.
            key_id: The id of the key.

        Raises:
            InvalidValueError: The passphrase or the salt is too short.
            MissingExtraError: The OpenSSL at hand has no Argon2id.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        secret = passphrase.encode()
        if len(secret) < _PASSPHRASE_BYTES:
            raise InvalidValueError({"passphrase": f"must have {_PASSPHRASE_BYTES} bytes at least"})
        if len(salt) < _SALT_BYTES:
            raise InvalidValueError({"salt": f"must have {_SALT_BYTES} bytes at least"})
        try:
            key = Argon2id(
                salt=salt, length=KEY_BYTES, iterations=_PASSES, lanes=_LANES, memory_cost=_KIBIBYTES
            ).derive(secret)
        except UnsupportedAlgorithm:  # pragma: no cover -- with an OpenSSL before 3.2
            raise MissingExtraError("Argon2id, which OpenSSL has from 3.2 on,", "encrypt") from None
        return cls({key_id: key})

    @classmethod
    def _parsed(cls, text: str, what: str, current: str | None) -> Self:
        pairs = [part.partition(":") for part in text.split()]
        keys = {key_id: key for key_id, _, key in pairs}
        if not pairs or len(keys) < len(pairs) or not all(key_id and key for key_id, key in keys.items()):
            raise InvalidValueError({what: "must have keys such as k1:BASE64, each id once"})
        return cls(dict(keys), current=pairs[0][0] if current is None else current)

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self._keys)}, current={self._current!r})"

    def __reduce__(self) -> str:
        raise TypeError("a KeyRing is not pickled, because its keys would be written in plain; make it anew")

    def current(self) -> str:
        """Return the id of the key for new sessions."""
        return self._current

    def wrap(self, key_id: str, data_key: bytes, context: bytes) -> bytes:
        """Return a data key as one of the keys encrypts it; see `KeyProvider`."""
        master, nonce = self._keys[key_id], os.urandom(NONCE_BYTES)
        return _check_value(master) + nonce + AESGCM(master).encrypt(nonce, data_key, context)

    def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key that `wrap` encrypted; see `KeyProvider`."""
        master = self._keys[key_id]
        check, nonce = wrapped[:_CHECK_BYTES], wrapped[_CHECK_BYTES : _CHECK_BYTES + NONCE_BYTES]
        if not hmac.compare_digest(check, _check_value(master)):
            raise NotTheKeyError("another key wrapped it")
        try:
            return AESGCM(master).decrypt(nonce, wrapped[_CHECK_BYTES + NONCE_BYTES :], context)
        except (InvalidTag, ValueError):
            raise ValueError("the wrapped key was damaged, or is that of another session") from None


def _check_value(master: bytes) -> bytes:
    """Return what tells a wrong key from a damaged session. It says nothing about the key itself."""
    return hmac.digest(master, _CHECK_LABEL, hashlib.sha256)[:_CHECK_BYTES]


def _checked_id(key_id: object) -> str:
    if not isinstance(key_id, str) or not key_id or len(key_id) > 80 or not key_id.isprintable() or " " in key_id:
        raise InvalidValueError({"keys": "must have ids of 1 to 80 printable characters without blanks"})
    return key_id


def _key_of(key_id: str, key: object) -> bytes:
    """Return the bytes of a key. Whatever is wrong with it, nothing of it is in the error."""
    data = key
    if isinstance(key, str):
        try:
            data = base64.b64decode(key.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            data = None
    if not isinstance(data, bytes) or len(data) != KEY_BYTES:
        raise InvalidValueError({f"the key {key_id!r}": f"must be {KEY_BYTES} bytes, or the same in base64"})
    return data
