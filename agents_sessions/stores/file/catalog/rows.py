"""The tables of a catalog, and how values become columns. Pure.

Texts are stored as UTF-8 in blobs: they order as Python orders them, and a lone surrogate, which no text of SQLite can
have, may stand in an id. Times are milliseconds to the end of time, so that the newest comes first in each index.
"""

import hashlib
from typing import Any

from agents_sessions.model import spend
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import encode_json
from agents_sessions.model.query import newest_first
from agents_sessions.model.words import RULES

VERSION = f"3/{RULES}/{spend.VERSION}"
"""A catalog of another version is made anew."""

TABLES = """
CREATE TABLE about (version TEXT, epoch TEXT);
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    folder BLOB NOT NULL, name BLOB NOT NULL,
    changed INTEGER NOT NULL, size INTEGER NOT NULL, inode INTEGER NOT NULL,
    header INTEGER, history INTEGER, end INTEGER, seq INTEGER,
    UNIQUE (folder, name)
);
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    agent_id BLOB NOT NULL, session_id BLOB NOT NULL,
    user_id BLOB, status BLOB, mode BLOB, session_type BLOB, working_dir BLOB, parent_id BLOB, name BLOB,
    pinned INTEGER NOT NULL, last_active INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    last_used INTEGER NOT NULL, ttl INTEGER
);
CREATE INDEX session_by_id ON session (session_id, agent_id);
CREATE INDEX session_by_activity ON session (last_active, agent_id, session_id);
CREATE INDEX session_by_user ON session (user_id, last_active, agent_id, session_id);
CREATE TABLE detail (id INTEGER PRIMARY KEY, facts BLOB, standing BLOB, spend BLOB);
CREATE TABLE label (name BLOB, value INTEGER, session INTEGER, PRIMARY KEY (name, value, session)) WITHOUT ROWID;
CREATE INDEX label_by_session ON label (session);
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, age INTEGER NOT NULL,
    role TEXT, agent BLOB, text TEXT NOT NULL
);
CREATE INDEX message_by_session ON message (session);
CREATE VIRTUAL TABLE word USING fts5 (
    owner, name, message, tool_call, tool_output, content = '', columnsize = 0, tokenize = 'ascii'
);
"""
"""`word` keeps no text and finds the rows of `message`, each in the column of its kind. Its tokenizer only splits: what
a word is was decided before, by `model.words`. `owner` says whose it is."""


def blob(text: str | None) -> bytes | None:
    """Return a text as a column."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def text_of(column: bytes) -> str:
    """Return the text in a column."""
    return column.decode("utf-8", "surrogatepass")


def session_row(number: int, info: SessionInfo) -> tuple[Any, ...]:
    """Return the row of a session in `session`."""
    texts = (info.agent_id, info.id, info.user_id, info.status, info.mode, info.session_type, info.working_dir)
    times = (info.last_active_at, info.created_at, info.updated_at, info.last_used_at)
    return (
        number,
        *map(blob, (*texts, info.parent_id, info.name)),
        info.pinned,
        *map(newest_first, times),
        milliseconds(info.ttl),
    )


def milliseconds(ttl: float | None) -> int | None:
    """Return a time to live as a column."""
    return None if ttl is None else round(ttl * 1000)


def labels_of(info: SessionInfo) -> set[tuple[bytes, int]]:
    """Return what a session is found by in `label`: its tags, and each key of its metadata with its value."""
    return {tag_label(tag) for tag in info.tags} | {metadata_label(*pair) for pair in info.metadata.items()}


def tag_label(tag: str) -> tuple[bytes, int]:
    """Return the label of a tag."""
    return b"tag", _number(tag)


def metadata_label(key: str, value: object) -> tuple[bytes, int]:
    """Return the label of a key of metadata with a value: values that Python takes for equal have the same."""
    return b"metadata:" + key.encode("utf-8", "surrogatepass"), _number(value)


def owner_words(agent_id: str | None, user_id: str | None) -> list[str]:
    """Return the words in `owner`: one for the agent, one for the user. None has none."""
    owners = (("a", agent_id), ("u", user_id))
    return [f"{letter}{_number(owner) & _WORD:x}" for letter, owner in owners if owner is not None]


_WORD = (1 << 40) - 1


def _number(value: object) -> int:
    data = encode_json(_alike(value))
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def _alike(value: Any) -> Any:
    """Return one value for all that are equal: to Python, True is 1 and 1.0 is 1, and a dict has no order."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return list(map(_alike, value))
    if isinstance(value, dict):
        return [[key, _alike(value[key])] for key in sorted(value)]
    return value
