"""Sessions for many users, agents and processes: what users call.

    checks                       arguments, refused where they are given
    sessions, finding, turns, history     façades: signatures, docstrings and a few lines each
    bulk                         what is done to many sessions at once
    features                     the nouns: `manager.branches` and so on
    manager                      `SessionManager`, put together from them

What they do is done by the store, the lookup and `agents_sessions.turns`.
"""

from agents_sessions.manager.manager import SessionManager

__all__ = ["SessionManager"]
