"""Sessions for many users, agents and processes: what users call.

    checks                       arguments, refused where they are given
    sessions, finding, turns, history     façades: signatures, docstrings and a few lines each
    bulk                         what is done to many sessions at once
    features                     the nouns: `manager.branches` and so on
    manager                      `SessionManager`, put together from them

What they do is done by the store, the lookup and `agents_sessions.turns`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.manager.manager import SessionManager

__all__ = ["SessionManager"]


def __getattr__(name: str) -> object:
    """Import the manager when it is asked for: it brings the SDK, which some of its parts do without."""
    if name == "SessionManager":
        from agents_sessions.manager.manager import SessionManager

        return SessionManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
