"""What the id of a session or an agent may be, and what a sidecar may be called, on every store."""

from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.model.lossless_json import holds_halves

MAX_SIDECAR_BYTES = 60
"""Longest part of a sidecar's name, in bytes of UTF-8. A file name of any encoding has room for it."""


def check_id(identifier: str, *, what: str = "session_id") -> None:
    """Refuse an id that some store could not keep apart from every other one.

    Raises:
        SessionIdError: It is empty, not a string, or holds a NUL character or two surrogates that spell one character.
    """
    if not isinstance(identifier, str) or not identifier or "\0" in identifier or holds_halves(identifier):
        raise SessionIdError(what, _shown(identifier, what))


def _shown(identifier: object, what: str) -> str:
    """Return an id that is refused, or the type of a value that is not text; its content is never shown."""
    if isinstance(identifier, str):
        return repr(identifier)
    attribute = "name" if what == "agent_id" else "id"
    advice = f"; pass its .{attribute}" if isinstance(getattr(identifier, attribute, None), str) else ""
    return f"a {type(identifier).__name__!r}{advice}"


def check_key(key: SessionKey) -> None:
    """Refuse a key with an invalid id; see `check_id`."""
    check_id(key.agent_id, what="agent_id")
    check_id(key.session_id)


def check_sidecar_name(name: str) -> None:
    """Refuse what is neither `name` nor `folder/name`, each an id of at most `MAX_SIDECAR_BYTES`.

    Raises:
        SessionIdError: A part is an invalid id.
        ValueError: There are more than two parts, or one is too long.
    """
    parts = name.split("/")
    for part in parts:
        check_id(part, what="sidecar name")
    if len(parts) > 2 or any(len(part.encode("utf-8", "surrogatepass")) > MAX_SIDECAR_BYTES for part in parts):
        raise ValueError(
            f"a sidecar name is `name` or `folder/name`, each of at most {MAX_SIDECAR_BYTES} bytes, not {name!r:.200}"
        )
