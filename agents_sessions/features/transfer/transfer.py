"""`manager.transfer`: conversations go out and come in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.statistics.markdown import dollars
from agents_sessions.features.transfer.bundle import export_bundle
from agents_sessions.features.transfer.document import make_info
from agents_sessions.features.transfer.exporting import Outgoing, Tally, export_file, export_text
from agents_sessions.features.transfer.files import place_of
from agents_sessions.features.transfer.importing import Importer, ImportOptions, source_of_text
from agents_sessions.features.transfer.incoming import Naming
from agents_sessions.features.transfer.migrate import incoming_of
from agents_sessions.features.transfer.placing import Placing, check_on_conflict
from agents_sessions.features.transfer.sources import FileSource, TextSource
from agents_sessions.features.transfer.values import (
    ExportFormat,
    ExportOptions,
    ExportReport,
    ImportFormat,
    ImportLimits,
    ImportReport,
    Mask,
    OnConflict,
    OnProgress,
)
from agents_sessions.features.transfer.writers import format_of, writer_of
from agents_sessions.keys import SessionKey
from agents_sessions.model.ids import check_id
from agents_sessions.model.query import MAX_LIMIT, SessionQuery

if TYPE_CHECKING:
    import os

    from agents.memory import Session

    from agents_sessions.features.statistics.statistics import Statistics
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore


class Transfer:
    """Exports conversations, imports them, and takes over those of other sessions.

    What is exported as `json`, `jsonl` or an archive comes back equal. The other formats are for people.
    """

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        lock_timeout: float | None = 300.0,
        statistics: Statistics | None = None,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._lock_timeout = lock_timeout
        self._statistics = statistics

    # --- out ---

    async def export(
        self,
        session_id: str,
        format: ExportFormat = "json",  # noqa: A002 -- the word that everyone looks for
        *,
        agent_id: str | None = None,
        include_metadata: bool = True,
        include_tool_calls: bool = True,
        include_usage: bool = True,
        include_run_state: bool = False,
        mask: Mask | None = None,
        mask_emails: bool = False,
    ) -> str:
        """Return a session as a text. For a long one, `export_to_file` needs less memory.

        Args:
            session_id: The session.
            format: `json` and `jsonl` lose nothing; `markdown` and `html` are for reading, `yaml` for both.
            agent_id: Needed only if several agents have a session of this id.
            include_metadata: Whether the `metadata` goes along.
            include_tool_calls: Whether calls of tools, their outputs, and the reasoning before them go along.
            include_usage: Whether tokens go along.
            include_run_state: Whether the state of a run that awaits approval goes along. It may hold secrets, and
                without it the approval cannot be given where the session is imported.
            mask: `secrets` hides what looks like a secret; `all` hides every text, for a bug report.
            mask_emails: Whether `secrets` includes e-mail addresses.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: There is no such format, or an option does not fit.
            MissingExtraError: The format needs a package that is not installed.
            SessionChangedError: The session was rewritten while it was read.
        """
        options = ExportOptions(
            include_metadata=include_metadata,
            include_tool_calls=include_tool_calls,
            include_usage=include_usage,
            include_run_state=include_run_state,
            mask=mask,
            mask_emails=mask_emails,
        )
        writer_of(format)
        key = await self._lookup.key(session_id, agent_id)
        return await export_text(Outgoing(self._store, options, Tally(), self._money_of), key, format)

    async def export_to_file(
        self,
        session_id: str,
        path: str | os.PathLike[str],
        format: ExportFormat | None = None,  # noqa: A002
        *,
        agent_id: str | None = None,
        options: ExportOptions | None = None,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ExportReport:
        """Write a session to a file, which appears whole or not at all. Memory does not grow with the history.

        Args:
            session_id: The session.
            path: The file. Only its owner can read it.
            format: By default, what the name of the file ends in: .json, .jsonl, .md, .yaml, .html.
            agent_id: Needed only if several agents have a session of this id.
            options: What goes along and what is masked, as for `export`.
            overwrite: Whether a file that is there may be replaced.
            on_progress: Called as it goes on.

        Raises:
            FileInTheWayError: There is such a file, and it was not to be overwritten.
            SessionNotFoundError, InvalidValueError, MissingExtraError, SessionChangedError: See `export`.
            OSError: The file cannot be written.
        """
        path = place_of(path)
        format_name = format_of(path) if format is None else format
        writer_of(format_name)
        key = await self._lookup.key(session_id, agent_id)
        outgoing = Outgoing(self._store, options or ExportOptions(), Tally(on_progress, 1), self._money_of)
        return await export_file(outgoing, key, path, format_name, overwrite=overwrite)

    async def export_many(
        self,
        sessions: Iterable[str | SessionKey] | SessionQuery,
        path: str | os.PathLike[str],
        format: ExportFormat = "jsonl",  # noqa: A002
        *,
        options: ExportOptions | None = None,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ExportReport:
        """Write sessions to one zip, with a manifest that has the SHA-256 of each. It appears whole or not at all.

        Args:
            sessions: Their ids, or a query: all sessions that match it, whatever its limit is.
            path: The zip. Only its owner can read it.
            format: The format of each session in it; `json` and `jsonl` can be imported again.
            options: What goes along and what is masked, as for `export`.
            overwrite: Whether a file that is there may be replaced.
            on_progress: Called as it goes on.

        Raises:
            SessionNotFoundError: There is no session of one of the ids; nothing was written.
            FileInTheWayError, InvalidValueError, MissingExtraError, SessionChangedError, OSError: See `export_to_file`.
        """
        writer_of(format)
        keys = await self._keys(sessions)
        outgoing = Outgoing(self._store, options or ExportOptions(), Tally(on_progress, len(keys)), self._money_of)
        return await export_bundle(outgoing, keys, place_of(path), format, overwrite=overwrite)

    async def find_secrets(
        self, session_id: str, *, agent_id: str | None = None, emails: bool = False
    ) -> dict[str, int]:
        """Return what `mask="secrets"` would hide in a session: how often each kind is found.

        Raises:
            SessionNotFoundError: There is none.
        """
        key = await self._lookup.key(session_id, agent_id)
        options = ExportOptions(include_run_state=True, mask="secrets", mask_emails=emails)
        outgoing = Outgoing(self._store, options, Tally())
        async for _ in outgoing.pieces(key, "jsonl"):
            pass
        return {} if outgoing.masking is None else dict(sorted(outgoing.masking.found.items()))

    # --- in ---

    async def import_session(
        self,
        text: str | bytes,
        *,
        format: ImportFormat | None = None,  # noqa: A002
        session_id: str | None = None,
        agent_id: str | None = None,
        on_conflict: OnConflict = "error",
        limits: ImportLimits | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Import a session from a text: an export, or a list of messages or items of OpenAI's APIs.

        Args:
            text: The text.
            format: What it must be; by default, what it looks like.
            session_id: The id that it gets; by default its own, and a new one where it has none.
            agent_id: The agent that it gets; by default its own, and `default` where it has none.
            on_conflict: If the id is taken: an `error`, `rename` to the next free one, or `replace` that session.
            limits: What is taken at most.
            on_progress: Called as it goes on.

        Raises:
            ImportRefusedError: It is not what it should be. The error says where, and nothing was imported.
            SessionExistsError: The id is taken.
            InvalidValueError, SessionIdError: An argument does not fit.
        """
        limits = limits or ImportLimits()
        source = source_of_text(text, lambda data: TextSource(data, limits))
        options = self._options(format, session_id, agent_id, None)
        return await Importer(self._placing(on_conflict, on_progress), options).run(source)

    async def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        format: ImportFormat | None = None,  # noqa: A002
        session_id: str | None = None,
        agent_id: str | None = None,
        only: Collection[str] | None = None,
        on_conflict: OnConflict = "error",
        limits: ImportLimits | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Import what is in a file: a session, an archive of many, or a database of the SDK's sessions.

        All of it comes in, or nothing. Memory does not grow with the history of a session.

        Args:
            path: The file.
            format: What it must be; by default, what it looks like. Its name does not matter.
            session_id: The id that its one session gets.
            agent_id: The agent that its sessions get; by default their own, and `default` where they have none.
            only: The ids of the sessions to import; by default all.
            on_conflict: If an id is taken: an `error`, `rename` to the next free one, or `replace` that session.
            limits: What is taken at most.
            on_progress: Called as it goes on.

        Raises:
            ImportRefusedError: It is not what it should be. The error says where, and nothing was imported.
            SessionExistsError: An id is taken.
            InvalidValueError, SessionIdError: An argument does not fit.
            OSError: There is no such file, or it cannot be read.
        """
        source = FileSource(place_of(path), limits or ImportLimits())
        options = self._options(format, session_id, agent_id, only)
        return await Importer(self._placing(on_conflict, on_progress), options).run(source)

    async def import_many(
        self,
        path: str | os.PathLike[str],
        *,
        only: Collection[str] | None = None,
        agent_id: str | None = None,
        on_conflict: OnConflict = "error",
        limits: ImportLimits | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Import the sessions of an archive or a database: all of them, or none. See `import_file`."""
        return await self.import_file(
            path, agent_id=agent_id, only=only, on_conflict=on_conflict, limits=limits, on_progress=on_progress
        )

    async def migrate(
        self,
        session: Session,
        *,
        session_id: str | None = None,
        agent_id: str | None = None,
        on_conflict: OnConflict = "error",
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Copy the conversation of any live session of the SDK. The session is not changed.

        A session of this package comes whole, with its facts and statistics; any other one gives its items alone.

        Args:
            session: The session to copy.
            session_id: The id of the copy; by default that of the session.
            agent_id: The agent of the copy; by default that of a session of ours, and `default` for any other one.
            on_conflict: If the id is taken: an `error`, `rename` to the next free one, or `replace` that session.
            on_progress: Called as it goes on.

        Raises:
            SessionExistsError: The id is taken.
            ImportRefusedError: What the session gives is no list of items, or cannot be stored.
            InvalidValueError, SessionIdError: An argument does not fit.
        """
        options = self._options(None, session_id, agent_id, None)
        own = getattr(session, "key", None)
        agent = own.agent_id if isinstance(own, SessionKey) else "default"
        facts = {"id": session_id or session.session_id, "agent_id": agent_id or agent}
        info = make_info(facts, type(session).__name__)
        incoming = await incoming_of(session, info, ImportLimits())
        return await Importer(self._placing(on_conflict, on_progress), options).take(incoming)

    async def _money_of(self, key: SessionKey) -> str:
        if self._statistics is None:
            return ""
        found = await self._statistics.of(key.session_id, agent_id=key.agent_id)
        part = (
            ""
            if found.cost.coverage == 100 or found.cost.usd is None
            else f" for {found.cost.coverage} % of the tokens"
        )
        return f"{dollars(found.cost)}{part}" if found.usage.requests else ""

    # --- arguments ---

    async def _keys(self, sessions: Iterable[str | SessionKey] | SessionQuery) -> list[SessionKey]:
        if isinstance(sessions, SessionQuery):
            return [info.key async for info in self._matching(sessions)]
        if isinstance(sessions, str):
            raise InvalidValueError({"sessions": "must be a list of ids or a SessionQuery, not one string"})
        found = [one if isinstance(one, SessionKey) else await self._lookup.key(one) for one in sessions]
        for key in found:
            await self._store.existing(key)
        return list(dict.fromkeys(found))

    async def _matching(self, query: SessionQuery) -> AsyncIterator[SessionInfo]:
        query = replace(query, limit=MAX_LIMIT)
        while True:
            page = await self._store.query(query)
            for info in page:
                yield info
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)

    def _options(
        self,
        format_name: ImportFormat | None,
        session_id: str | None,
        agent_id: str | None,
        only: Collection[str] | None,
    ) -> ImportOptions:
        if format_name is not None and format_name not in get_args(ImportFormat):
            known = ", ".join(map(repr, get_args(ImportFormat)))
            raise InvalidValueError({"format": f"must be one of {known}, not {format_name!r:.80}"})
        if isinstance(only, str):
            raise InvalidValueError({"only": "must be a list of ids, not one string"})
        if session_id is not None:
            check_id(session_id)
        if agent_id is not None:
            check_id(agent_id, what="agent_id")
        return ImportOptions(format=format_name, naming=Naming(session_id, agent_id), only=only)

    def _placing(self, on_conflict: OnConflict, on_progress: OnProgress | None) -> Placing:
        check_on_conflict(on_conflict)
        return Placing(self._store, self._lookup, on_conflict, self._lock_timeout, on_progress)
