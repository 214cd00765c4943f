r"""Ids and facts as text that every database takes.

An id may hold a lone surrogate, which is no UTF-8, and a name may hold NUL, which PostgreSQL refuses. Both are written
as `\uXXXX`, and a backslash as two. The order of texts stays as it is, but for those two.
"""

import re

_ODD = re.compile("[\0\\\\\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(\\|u[0-9a-f]{4})")


def escaped(text: str) -> str:
    """Return a text without NUL and surrogates. Different texts stay different."""
    return text if _ODD.search(text) is None else _ODD.sub(_escape, text)


def unescaped(text: str) -> str:
    """Return the text that `escaped` was given."""
    return text if "\\" not in text else _ESCAPED.sub(_unescape, text)


def _escape(odd: re.Match[str]) -> str:
    return "\\\\" if odd[0] == "\\" else f"\\u{ord(odd[0]):04x}"


def _unescape(escape: re.Match[str]) -> str:
    return "\\" if escape[1] == "\\" else chr(int(escape[1][1:], 16))
