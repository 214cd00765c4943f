"""What three or more files of tests build in the same way."""

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.model.info import SessionInfo

KEY = SessionKey("support", "order-42")


def said(text, **more):
    """Return a user's message as a new entry."""
    return item_entry({"role": "user", "content": text, **more})


def info_of(key=KEY, **facts):
    """Return a new session of a key."""
    return SessionInfo(id=key.session_id, agent_id=key.agent_id, **facts)
