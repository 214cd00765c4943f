"""What a catalog has to know of one file: all that it holds, or only what is new in it."""

from collections.abc import Iterable, Sequence
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
    spend: bytes | None
    """What the session had spent up to there; None if that cannot be told."""


class Content(NamedTuple):
    """What was found in a file."""

    info: SessionInfo
    texts: list[Text]
    """What can be searched through: all of it, or what is new."""
    spend: bytes | None
    """What the session has spent, all of it."""
    stand: Stand | None
    """None for a file that a person has edited or that was torn: it is read whole whenever it changes."""
    is_rest: bool = False
    """Whether the texts come behind those that are known."""


class Reading(NamedTuple):
    """What became of the reading of a file."""

    state: FileState
    """What it was before it was read."""
    content: Content | None
    """None if no session can be read from it."""
    error: Exception | None = None


def read_file(reader: FileReader, folder: str, name: str, known: Stand | None) -> Reading:
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
                return Reading(state, Content(info, _texts(info, (), codec), None, None))
    finally:
        io.close(fd)
    whole = reader.read_whole(SessionKey(folder, name), folder, name)
    info = info_of(whole)
    spend = _spent(Spend(origin=Origin.of(info)), whole.entries) if whole.codec is PLAIN_SESSION else None
    return Reading(state, Content(info, _texts(info, whole.entries, whole.codec), spend, None))


def check_place(content: Content, folder: str, name: str) -> None:
    """Refuse a file that holds the session of another name.

    Raises:
        Damage: It does.
    """
    if names_of(content.info.key) != (folder, name):
        raise Damage("it holds the session of another name")


def _of_sealed(read: Read, sealed: Sealed, codec: SessionCodec, state: FileState, known: Stand | None) -> Content:
    tail, header = sealed.tail, crc32(sealed.line)
    info = INFO_QUERY.of_sealed(read, sealed, codec)
    if known is not None and known[:2] == (state.inode, header) and tail.body <= known.end <= tail.end:
        history = _checksum(read, known.end, tail.end, known.history)
        if known.end < tail.end:
            new = read_oldest(read, tail, tail.seq, known.end, codec) if codec is PLAIN_SESSION else []
            spend = None if known.spend is None else _spent(Spend.decode(known.spend), new)
            stand = Stand(state.inode, header, history, tail.end, tail.seq, spend)
            texts = list(texts_of(info, new)) if _is_open(info, codec) else []
            return Content(info, texts, spend, stand, is_rest=True)
        if _checksum(read, tail.body, tail.end) == history:
            stand = Stand(state.inode, header, history, tail.end, tail.seq, known.spend)
            return Content(info, [], known.spend, stand, is_rest=True)
    entries = read_entries(read, tail, codec) if codec is PLAIN_SESSION else []
    spend = _spent(Spend(origin=Origin.of(info)), entries) if codec is PLAIN_SESSION else None
    stand = Stand(state.inode, header, _checksum(read, tail.body, tail.end), tail.end, tail.seq, spend)
    return Content(info, _texts(info, entries, codec), spend, stand)


def _spent(before: Spend | None, entries: Sequence[Entry]) -> bytes | None:
    """Return what was spent after some more entries. A record that a person has written wrongly hides no session."""
    try:
        return None if before is None else fold_spend(before, entries).encode()
    except InvalidItemError:
        return None


def _checksum(read: Read, begin: int, end: int, before: int = 0) -> int:
    for offset in range(begin, end, _CHUNK):
        before = crc32(read(offset, min(_CHUNK, end - offset)), before)
    return before


def _is_open(info: SessionInfo, codec: SessionCodec) -> bool:
    """Tell whether texts may be searched through: what is stored so that no one can read it is no one's to index."""
    return info.indexed and codec is PLAIN_SESSION


def _texts(info: SessionInfo, entries: Iterable[Entry], codec: SessionCodec) -> list[Text]:
    return [*name_of(info), *texts_of(info, entries)] if _is_open(info, codec) else []
