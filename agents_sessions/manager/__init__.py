"""Sessions for many users, agents and processes: what users call.

`SessionManager` (in `manager`) is put together from three façades: `sessions`, `turns` and `history`. They hold
signatures, docstrings and a few lines each; what they do is done by the store, the lookup and `agents_sessions.turns`.
"""

from agents_sessions.manager.manager import SessionManager

__all__ = ["SessionManager"]
