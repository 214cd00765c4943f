"""Turn any id into a safe, portable file name, one name per id.

A typical id (`support`, `order-42`, a UUID) is its own name. Every other id gets an encoding that no other
id has, so that `../x`, `a/b` or `CON` can neither leave their folder nor meet a stranger.
"""

import hashlib
import re
from urllib.parse import unquote_to_bytes

from agents_sessions.model.ids import check_id

MAX_NAME_BYTES = 180
"""Longest encoded name. With `.json`, `.torn-` and temporary suffixes it stays below the 255 bytes of ext4."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.=@-]")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
_SUFFIX = re.compile(r"(?i)\.(?=json(\.|$))")
_READABLE_BYTES = 100


def encode_name(identifier: str, *, what: str = "session_id", extension: bool = False) -> str:
    """Return the file name of an id, without an extension.

    Letters, digits and ``_ . = @ -`` of ASCII stay; every other byte of the UTF-8 form becomes ``%XX``. So do
    a leading ``.`` or ``-``, a trailing ``.`` and the first letter of a name that Windows reserves. A name
    beyond `MAX_NAME_BYTES` becomes a readable prefix, ``~`` and the SHA-256 of the id. Unless the id may have an
    `extension` of its own, the dot of ``.json`` is encoded too.

    Raises:
        SessionIdError: The id is empty, not a string, or holds a NUL character or two halves of one character.
    """
    check_id(identifier, what=what)
    raw = identifier.encode("utf-8", "surrogatepass")
    name = _UNSAFE.sub(_percent, raw).decode("ascii")
    if name[0] in ".-" or _RESERVED.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if name[-1] == ".":
        name = f"{name[:-1]}%2E"
    # Otherwise the sidecar folder of session `x.json` would be called as the file of session `x`.
    name = name if extension else _SUFFIX.sub("%2E", name)
    if len(name) <= MAX_NAME_BYTES:
        return name
    prefix = re.sub(r"%[0-9A-F]?$", "", name[:_READABLE_BYTES])
    return f"{prefix}~{hashlib.sha256(raw).hexdigest()}"


def decode_name(name: str) -> str:
    """Return the id that a name was made of, unless it was shortened: a name with ``~`` comes back as it is."""
    return unquote_to_bytes(name).decode("utf-8", "surrogatepass")


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
