"""What a catalog has to know of one file: all that it holds, or only what is new in it."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from zlib import crc32

from agents_sessions.errors import InvalidItemError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.search import Text, name_of, texts_of
from agents_sessions.model.spend import Origin, Spend, fold_spend
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.disk.listing import FileState, open_with_state
from agents_sessions.stores.file.format.header import Damage, codec_of
from agents_sessions.stores.file.format.sealed import Sealed, read_entries, read_oldest, read_sealed
from agents_sessions.stores.file.format.tail import Read
from agents_sessions.stores.file.layout import names_of
from agents_sessions.stores.file.queries import INFO_QUERY, info_of
from agents_sessions.stores.file.reader import FileReader

_CHUNK = 1 << 20


class Stand(NamedTuple):
    """How far a file was read: all lines above `end`."""

    inode: int
    header: int
    """A checksum of the header line, which no append changes ..."""
    history: int
    """... and one of all lines of the history."""
    end: int
    seq: int


class Content(NamedTuple):
    """What was found in a file."""

    info: SessionInfo
    texts: list[Text]
    """What can be searched through: all of it, or what is new."""
    spend: Spend | None
    """What all of its entries have done and spent; None if that cannot be told, or may not be stored."""
    stand: Stand | None
    """None for a file that a person has edited or that was torn: it is read whole whenever it changes."""
    is_rest: bool = False
    """Whether the texts come behind those that are known."""


class Known(NamedTuple):
    """What the catalog has of a file."""

    number: int
    stand: Stand | None
    spend: Spend | None


class Reading(NamedTuple):
    """What became of the reading of a file."""

    state: FileState
    """What it was before it was read."""
    content: Content | None
    """None if no session can be read from it."""
    error: Exception | None = None


def read_file(reader: FileReader, folder: str, name: str, known: Known | None) -> Reading:
    """Read a file, from where it was read last if it has only grown since.

    Raises:
        FileNotFoundError: It has gone.
        BlockingIOError: Someone writes to it at this moment.
        NotRegular, Damage, NewerFormat, SessionError, OSError: It cannot be read.
    """
    with io.directory(reader.root_name, folder) as agent:
        fd, state = open_with_state(agent, name)
    try:
        read = partial(io.read_range, fd)
        sealed = read_sealed(read, state.size)
        if sealed is not None:
            codec = codec_of(sealed.header, reader.codec)
            try:
                return Reading(state, _of_sealed(read, sealed, codec, state, known))
            except Damage:  # in the middle of its history: its facts and totals are as sound as ever
                info = INFO_QUERY.of_sealed(read, sealed, codec)
                names = name_of(info) if codec is PLAIN_SESSION and info.indexed else ()
                return Reading(state, Content(info, list(names), None, None))
    finally:
        io.close(fd)
    whole = reader.read_whole(SessionKey(folder, name), folder, name)
    info = info_of(whole)
    return Reading(state, _whole(info, whole.entries, whole.codec, None))


def check_place(content: Content, folder: str, name: str) -> None:
    """Refuse a file that holds the session of another name.

    Raises:
        Damage: It does.
    """
    if names_of(content.info.key) != (folder, name):
        raise Damage("it holds the session of another name")


def _of_sealed(read: Read, sealed: Sealed, codec: SessionCodec, state: FileState, known: Known | None) -> Content:
    tail, header = sealed.tail, crc32(sealed.line)
    info = INFO_QUERY.of_sealed(read, sealed, codec)
    before = None if known is None else known.stand
    if before is not None and before[:2] == (state.inode, header) and tail.body <= before.end <= tail.end:
        history = _checksum(read, before.end, tail.end, before.history)
        stand = Stand(state.inode, header, history, tail.end, tail.seq)
        spend = None if known is None else known.spend
        if before.end < tail.end:
            new = read_oldest(read, tail, tail.seq, before.end, codec) if codec is PLAIN_SESSION else []
            texts = list(texts_of(info, new)) if info.indexed else []
            return Content(info, texts, None if spend is None else _spent(spend, new), stand, is_rest=True)
        if _checksum(read, tail.body, tail.end) == history:
            return Content(info, [], spend, stand, is_rest=True)
    stand = Stand(state.inode, header, _checksum(read, tail.body, tail.end), tail.end, tail.seq)
    return _whole(info, read_entries(read, tail, codec) if codec is PLAIN_SESSION else [], codec, stand)


def _whole(info: SessionInfo, entries: Sequence[Entry], codec: SessionCodec, stand: Stand | None) -> Content:
    if codec is not PLAIN_SESSION:  # what is stored so that no one can read it is no one's to index
        return Content(info, [], None, stand)
    texts = [*name_of(info), *texts_of(info, entries)] if info.indexed else []
    return Content(info, texts, _spent(Spend(origin=Origin.of(info)), entries), stand)


def _spent(before: Spend, entries: Sequence[Entry]) -> Spend | None:
    try:
        return fold_spend(before, entries)
    except InvalidItemError:  # a person has written a record that is none
        return None


def _checksum(read: Read, begin: int, end: int, before: int = 0) -> int:
    for offset in range(begin, end, _CHUNK):
        before = crc32(read(offset, min(_CHUNK, end - offset)), before)
    return before
