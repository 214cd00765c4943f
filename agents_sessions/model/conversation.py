"""A session with what was said in it last."""

from typing import Any

from agents_sessions.model.history import Message
from agents_sessions.model.info import SessionInfo


class Conversation(SessionInfo):
    """A session's facts and totals, with its newest messages."""

    messages: tuple[Message, ...] = ()
    """The newest messages of user and assistant, oldest first."""

    def header(self) -> dict[str, Any]:
        """Return the facts alone."""
        return {name: value for name, value in super().header().items() if name != "messages"}
