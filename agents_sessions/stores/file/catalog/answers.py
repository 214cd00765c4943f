"""What a catalog answers once it is up to date."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from agents_sessions.model.entries import parse_time
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.model.query import Page, SessionQuery, moment_of
from agents_sessions.model.search import Found, Place, SearchHit, SearchKind, SearchQuery, Text, hit, rank_of
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.base import Standing
from agents_sessions.stores.codec import info_of
from agents_sessions.stores.file.catalog import questions
from agents_sessions.stores.file.catalog.database import Database
from agents_sessions.stores.file.catalog.questions import WINDOW, TextRow
from agents_sessions.stores.file.catalog.rows import text_of


class _Ranked(NamedTuple):
    place: Place
    row: TextRow


class Answers:
    """The answers of a catalog.

    Args:
        database: Its database, up to date.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def query(self, query: SessionQuery) -> Page[SessionInfo]:
        """Return a page of sessions."""
        found: list[SessionInfo] = []
        rows = self._database.connection.execute(*questions.page(query))
        for row in rows:
            info = _info(*row)
            if query.matches(info):
                found.append(info)
                if len(found) > query.limit:
                    break
        rows.close()  # one that is left open would keep the log of changes from being cut
        return query.page(found)

    def count(self, query: SessionQuery) -> int:
        """Return how many sessions there are."""
        (number,) = self._database.connection.execute(*questions.count(query)).fetchone()
        return int(number)

    def search(self, query: SearchQuery) -> Page[SearchHit]:
        """Return a page of what is found, out of one window of texts after the other."""
        if not query.phrases:
            return Page(())
        epoch = self._database.epoch
        newest, behind = self._position(query)
        while True:
            hits = [TextRow(*row) for row in self._database.connection.execute(*questions.hits(query, newest))]
            oldest = hits[-1].number - 1 if len(hits) == WINDOW else None
            below = None if oldest is None else f"{epoch}:{oldest}"
            page = query.page_of(_ranked(hits, query), behind, f"{epoch}:{newest}", below)
            if page or oldest is None:
                return Page(self._hits(page, query), page.next_cursor)
            newest, behind = oldest, None

    def scrub(self) -> None:
        """Overwrite what was deleted."""
        self._database.scrub()

    def _position(self, query: SearchQuery) -> tuple[int, Place | None]:
        """Return the newest text that the search looks at, none that came after its first page; and where to go on."""
        window, behind = query.position()
        epoch, _, number = (window or "").partition(":")
        if epoch == self._database.epoch and number.isdecimal():
            return int(number), behind
        (last,) = self._database.connection.execute("SELECT ifnull(max(id), 0) FROM message").fetchone()
        return int(last), behind

    def _hits(self, page: Iterable[_Ranked], query: SearchQuery) -> Iterator[SearchHit]:
        execute = self._database.connection.execute
        for _, row in page:
            info = _info(*execute("SELECT facts, standing FROM detail WHERE id = ?", (row.session,)).fetchone())
            text = row.head
            if len(text) == questions.HEAD:
                (text,) = execute("SELECT text FROM message WHERE id = ?", (row.number,)).fetchone()
            agent = None if row.agent is None else text_of(row.agent)
            whole = Text(cast("SearchKind", row.kind), row.seq, moment_of(row.age), text, row.role, agent)
            yield hit(Found(whole.place(info.key, query.phrases), info, whole), query.phrases)


def _ranked(hits: Iterable[TextRow], query: SearchQuery) -> Iterator[_Ranked]:
    phrases = query.phrases
    for row in hits:
        rank = rank_of(row.kind, row.head, phrases)
        place = Place(rank, row.age, text_of(row.agent_id), text_of(row.session_id), row.seq, row.kind)
        yield _Ranked(place, row)


def _info(facts: bytes, standing: bytes) -> SessionInfo:
    seq, updated_at, context = decode_json(standing)
    return info_of(decode_json(facts), Standing(seq, parse_time(updated_at), ContextStats.from_json(context)))
