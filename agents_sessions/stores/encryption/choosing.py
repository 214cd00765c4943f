"""Which codec a store has, given what its user asked for. Nothing of the encryption is imported before it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_sessions.errors import InvalidValueError
from agents_sessions.stores.codec import PLAIN, Codec

if TYPE_CHECKING:
    from agents_sessions.stores.encryption.keyring import KeyProvider


def codec_for(codec: Codec, encryption: KeyProvider | None) -> Codec:
    """Return the codec of a store that was given a codec, keys, or neither.

    Raises:
        InvalidValueError: Both were given, or what was given as keys is no `KeyProvider`.
        MissingExtraError: The package that encrypts is not installed.
    """
    if encryption is None:
        return codec
    from agents_sessions.stores.encryption.keyring import KeyProvider
    from agents_sessions.stores.encryption.sealing import SealingCodec

    if codec is not PLAIN:
        raise InvalidValueError({"encryption": "must be None where there is a codec: it is one itself"})
    if not isinstance(encryption, KeyProvider):
        raise InvalidValueError({"encryption": "must be a KeyRing, or have the methods of a KeyProvider"})
    return SealingCodec(encryption)
