"""Put down in a catalog what was read of a file, in the place of what it knew."""

import sqlite3
from collections.abc import Iterable

from agents_sessions.model.entries import timestamp
from agents_sessions.model.lossless_json import encode_json
from agents_sessions.model.query import newest_first
from agents_sessions.model.search import Text
from agents_sessions.model.words import indexable
from agents_sessions.stores.file.catalog.reading import Content, Reading
from agents_sessions.stores.file.catalog.rows import blob, labels_of, owner_words, session_row, text_of
from agents_sessions.stores.file.disk.listing import FileState
from agents_sessions.stores.file.layout import SessionNames

NO_STATE = FileState(-1, -1, -1)
"""What no file has: one that is put down with it is read again at the next look."""

_SESSION = "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GROWN = "UPDATE detail SET standing = ?, spend = ? WHERE id = ?"
_FILE = """
    INSERT INTO file (id, folder, name, changed, size, inode, header, history, end, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, size = excluded.size, inode = excluded.inode,
    header = excluded.header, history = excluded.history, end = excluded.end, seq = excluded.seq
"""


def kept_state(reading: Reading) -> FileState:
    """Return the state by which a file is known from now on. A young one is looked at again."""
    return reading.state._replace(changed=-1) if reading.state.is_young else reading.state


def write(connection: sqlite3.Connection, name: SessionNames, number: int | None, reading: Reading | None) -> None:
    """Put down what a file holds, which has a number if it is known; None says that it has gone."""
    if number is not None and (reading is None or reading.content is None or not reading.content.is_rest):
        _forget(connection, number)
    if reading is None:
        connection.execute("DELETE FROM file WHERE id = ?", (number,))
        return
    number = _put_file(connection, name, number, reading)
    if reading.content is not None:
        _put_session(connection, number, reading.content)


def _forget(connection: sqlite3.Connection, number: int) -> None:
    """Remove all that is known of the session in a file."""
    row = connection.execute("SELECT agent_id, user_id FROM session WHERE id = ?", (number,)).fetchone()
    if row is None:
        return
    owner = " ".join(owner_words(*(None if column is None else text_of(column) for column in row)))
    texts = connection.execute("SELECT kind, id, text FROM message WHERE session = ?", (number,)).fetchall()
    for kind, place, text in texts:
        command = f"INSERT INTO word (word, rowid, owner, {kind}) VALUES ('delete', ?, ?, ?)"  # noqa: S608 -- four kinds
        connection.execute(command, (place, owner, indexable(text)))
    for table, column in (("message", "session"), ("label", "session"), ("detail", "id"), ("session", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608 -- constants


def _put_file(connection: sqlite3.Connection, name: SessionNames, number: int | None, reading: Reading) -> int:
    stand = None if reading.content is None else reading.content.stand
    values = (*map(blob, name), *kept_state(reading), *((None,) * 4 if stand is None else stand[1:5]))
    made = connection.execute(_FILE, (number, *values)).lastrowid
    return number or made or 0


def _put_session(connection: sqlite3.Connection, number: int, content: Content) -> None:
    info = content.info
    standing = encode_json([info.seq, timestamp(info.updated_at), info.context.to_json()])
    connection.execute(_SESSION, session_row(number, info))
    if content.is_rest:
        connection.execute(_GROWN, (standing, content.spend, number))
    else:
        facts = encode_json(info.header())
        connection.execute("INSERT INTO detail VALUES (?, ?, ?, ?)", (number, facts, standing, content.spend))
        connection.executemany(
            "INSERT INTO label (name, value, session) VALUES (?, ?, ?)", [(*label, number) for label in labels_of(info)]
        )
    _put_texts(connection, number, " ".join(owner_words(info.agent_id, info.user_id)), content.texts)


def _put_texts(connection: sqlite3.Connection, number: int, owner: str, texts: Iterable[Text]) -> None:
    message = "INSERT INTO message (session, seq, kind, age, role, agent, text) VALUES (?, ?, ?, ?, ?, ?, ?)"
    for text in texts:
        row = (number, text.seq, text.kind, newest_first(text.at), text.role, blob(text.agent), text.text)
        place = connection.execute(message, row).lastrowid
        command = f"INSERT INTO word (rowid, owner, {text.kind}) VALUES (?, ?, ?)"  # noqa: S608 -- one of four kinds
        connection.execute(command, (place, owner, indexable(text.text)))
