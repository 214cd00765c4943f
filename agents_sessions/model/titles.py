"""What a session without a name is called: the beginning of the first thing that its user said. Pure."""

from collections.abc import Iterable

from agents_sessions.model.entries import Entry
from agents_sessions.model.history import messages
from agents_sessions.model.search import readable

MAX_TITLE = 60
"""The most characters of a title."""


def title_of(entries: Iterable[Entry]) -> str | None:
    """Return a title from the first message of a user among some entries that says something, or None."""
    for message in messages(entries):
        if message.role == "user" and (title := shortened(message.text)):
            return title
    return None


def shortened(text: str) -> str:
    """Return the beginning of a text in one line, to the last whole word if it has words."""
    text = " ".join(readable(text).split())
    if len(text) <= MAX_TITLE:
        return text
    words = text[:MAX_TITLE].rpartition(" ")[0]
    return f"{words if len(words) > MAX_TITLE // 2 else text[: MAX_TITLE - 1]}…"
