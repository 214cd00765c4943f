"""What a catalog answers once it is up to date."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.model.query import Page, SessionQuery, moment_of
from agents_sessions.model.search import Found, Place, SearchHit, SearchKind, SearchQuery, Text, hit, rank_of
from agents_sessions.model.spend import SessionSpend, Spend
from agents_sessions.model.titles import shortened
from agents_sessions.model.totals import ContextStats
from agents_sessions.model.words import Phrase
from agents_sessions.stores.base import Standing
from agents_sessions.stores.codec import info_of
from agents_sessions.stores.file.catalog import questions
from agents_sessions.stores.file.catalog.database import Database
from agents_sessions.stores.file.catalog.questions import PlacedRow
from agents_sessions.stores.file.catalog.rows import blob, text_of
from agents_sessions.stores.file.layout import SessionNames, key_of


class SpendRow(NamedTuple):
    """What a session has spent, just as it is kept: ten thousand of them are decoded one by one."""

    agent_id: bytes
    session_id: bytes
    user_id: bytes | None
    name: bytes | None
    spend: bytes | None

    def decoded(self) -> SessionSpend:
        """Return the same as a value."""
        agent_id, session_id, user_id, name, spend = self
        return SessionSpend(
            SessionKey(text_of(agent_id), text_of(session_id)),
            None if user_id is None else text_of(user_id),
            None if name is None else text_of(name),
            None if spend is None else Spend.decode(spend),
        )


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
        for number, *row in rows:
            info = _info(*row)
            if query.matches(info):
                found.append(self._titled(number, info))
                if len(found) > query.limit:
                    break
        rows.close()  # one that is left open would keep the log of changes from being cut
        return query.page(found)

    def every(self, query: SessionQuery) -> list[SessionInfo]:
        """Return all sessions, from the first place on."""
        rows = self._database.connection.execute(*questions.page(replace(query, sort="id", cursor=None)))
        return [info for _, *row in rows if query.matches(info := _info(*row))]

    def _titled(self, number: int, info: SessionInfo) -> SessionInfo:
        """Return a session with its title, if it has no name and its text is known here."""
        if info.name is not None or not info.context.user_messages:
            return info
        row = self._database.connection.execute(questions.FIRST_MESSAGE, (number,)).fetchone()
        return info if row is None else info.with_title(shortened(row[0]) or None)

    def spends(self, query: SessionQuery) -> list[SpendRow]:
        """Return what each session has spent, not decoded yet.

        Of files from which no session can be read it is not known what else they are, so they are among the answers
        only where all sessions are asked for, or all of an agent.
        """
        found = list(map(SpendRow._make, self._database.connection.execute(*questions.spends(query))))
        if query.digest() == SessionQuery(agent_id=query.agent_id, sort=query.sort).digest():
            found += self._unreadable(query.agent_id)
        return found

    def _unreadable(self, agent_id: str | None) -> Iterator[SpendRow]:
        for folder, name in self._database.connection.execute(questions.UNREADABLE):
            key = key_of(SessionNames(text_of(folder), text_of(name)))
            if agent_id in (None, key.agent_id):
                agent, session = map(blob, key)
                yield SpendRow(agent or b"", session or b"", None, None, None)

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
            found = self._database.connection.execute(*questions.texts(query, newest)).fetchall()
            oldest = found[-1][0] - 1 if len(found) == questions.WINDOW else None
            below = None if oldest is None else f"{epoch}:{oldest}"
            best = self._placed(_best(found, query, behind), query.phrases)
            page = query.page_of(best, behind, f"{epoch}:{newest}", below)
            if page or oldest is None:
                return Page((hit(one, query.phrases) for one in page), page.next_cursor)
            newest, behind = oldest, None

    def _placed(self, best: Iterable[tuple[int, int, int]], phrases: Sequence[Phrase]) -> Iterator[Found]:
        for rank, age, number in best:
            row = PlacedRow(*self._database.connection.execute(questions.PLACED, (number,)).fetchone())
            kind, agent = cast("SearchKind", row.kind), None if row.agent is None else text_of(row.agent)
            place = Place(rank, age, text_of(row.agent_id), text_of(row.session_id), row.seq, kind)
            yield Found(
                place, _info(row.facts, row.standing), Text(kind, row.seq, moment_of(age), row.text, row.role, agent)
            )

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


def _best(
    found: Iterable[tuple[int, str, int, str]], query: SearchQuery, behind: Place | None
) -> list[tuple[int, int, int]]:
    """Return rank, age and number of the texts of which a page is made, and of all that are as good as its last one."""
    phrases = query.phrases
    ranked = [(rank_of(kind, head, phrases), age, number) for number, kind, age, head in found]
    if behind is not None:
        ranked = [one for one in ranked if one[:2] >= behind[:2]]
    ranked.sort()
    count = query.limit + 1 + sum(behind is not None and one[:2] == behind[:2] for one in ranked)
    while 0 < count < len(ranked) and ranked[count][:2] == ranked[count - 1][:2]:
        count += 1
    return ranked[:count]


def _info(facts: bytes, standing: bytes) -> SessionInfo:
    seq, updated_at, context = decode_json(standing)
    return info_of(decode_json(facts), Standing(seq, parse_time(updated_at), ContextStats.from_json(context)))
