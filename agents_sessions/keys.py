"""What names a session."""

from typing import NamedTuple


class SessionKey(NamedTuple):
    """The full name of a session in a store."""

    agent_id: str
    session_id: str
