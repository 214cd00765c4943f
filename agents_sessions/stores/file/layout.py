"""Where things are below a root: which folder and which file, for each session and each sidecar. Pure."""

from functools import lru_cache
from typing import NamedTuple

from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.model.ids import check_sidecar_name
from agents_sessions.stores.file.names import decode_name, encode_name

SUFFIX = ".json"


class SessionNames(NamedTuple):
    """Where a session's file is, below the root."""

    folder: str
    file: str


class SidecarNames(NamedTuple):
    """Where a sidecar is, below the root."""

    folders: tuple[str, ...]
    file: str


@lru_cache(maxsize=4096)
def names_of(key: SessionKey) -> SessionNames:
    """Return the names of a session's folder and file."""
    return SessionNames(encode_name(key.agent_id, what="agent_id"), encode_name(key.session_id) + SUFFIX)


def key_of(names: SessionNames) -> SessionKey:
    """Return the key that the names of a folder and a file say. Of those that someone else has made, the names."""
    folder, file = names.folder, names.file.removesuffix(SUFFIX)
    try:
        return SessionKey(decode_name(folder), decode_name(file))
    except (ValueError, SessionIdError):
        return SessionKey(folder, file)


def beside(file: str) -> str:
    """Return the name of the folder of sidecars that goes with the file of a session."""
    return file.removesuffix(SUFFIX)


def sidecar_of(key: SessionKey, name: str) -> SidecarNames:
    """Return the folders and the file of a sidecar.

    Raises:
        ValueError: No sidecar can have this name.
    """
    check_sidecar_name(name)
    parts = [encode_name(part, what="sidecar name", extension=True) for part in name.split("/")]
    folder, file = names_of(key)
    return SidecarNames((folder, beside(file), *parts[:-1]), parts[-1])


def is_sidecar(name: str) -> bool:
    """Tell whether a sidecar can have this file name, which someone else may have put there."""
    try:
        return all(encode_name(decode_name(part), extension=True) == part for part in name.split("/"))
    except (UnicodeError, SessionIdError):
        return False
