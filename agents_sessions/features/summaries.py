"""What to tell a person, or a model, who comes back to a conversation: `manager.summaries`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from agents_sessions.errors import InvalidValueError, SessionCorruptedError
from agents_sessions.model.entries import now, record_entry
from agents_sessions.model.history import invalid_fields
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json
from agents_sessions.model.transcript import composed_summary, open_questions
from agents_sessions.model.view import kept
from agents_sessions.turns.approvals import load_awaiting
from agents_sessions.turns.compacting import Compactor, Shortened
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.summarising import Summarisers

SUMMARY = "summary.json"
"""The sidecar of a saved summary."""


class Summary(BaseModel):
    """A summary of a conversation, as it was saved."""

    model_config = ConfigDict(frozen=True)

    text: str
    seq: int
    """The newest entry that it knows of."""
    at: datetime
    """When it was saved, UTC."""


class Summaries:
    """Save, load and make summaries, and shorten what the model sees to one."""

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        lock_timeout: float | None,
        summarisers: Summarisers,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._lock_timeout = lock_timeout
        self._summarisers = summarisers

    async def save(self, session_id: str, text: str, *, agent_id: str | None = None) -> Summary:
        """Keep a summary of the conversation so far. It replaces the one before; the history is not touched.

        Raises:
            InvalidValueError: It is no text, or empty.
            SessionLimitError: It is larger than the store allows.
            SessionBusyError: A turn runs on the session and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        if not isinstance(text, str) or not text.strip():
            raise InvalidValueError({"text": "must be a text, and not empty"})
        try:
            check_json(text)
        except ValueError as error:
            raise InvalidValueError({"text": str(error)}) from None
        key = await self._lookup.key(session_id, agent_id)
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return await self._save(lock, text, (await self._store.existing(key)).seq)

    async def load(self, session_id: str, *, agent_id: str | None = None) -> Summary | None:
        """Return the summary that was saved, or None.

        Raises:
            SessionCorruptedError: What is kept there is no summary.
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        await self._store.existing(key)
        return await self._load(key)

    async def summarise(self, session_id: str, *, agent: object = None, agent_id: str | None = None) -> Summary:
        """Let someone sum up the conversation, save that, and return it. What it costs counts for the session.

        Args:
            session_id: The session.
            agent: Any `Agent`, the name of one of the manager's, or a function that is called with the items and
                returns a text, async or not. None composes a summary without a model.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            SummariserError: It failed, or said nothing. The cause is chained.
            InvalidValueError: It is no summariser.
            SessionBusyError: A turn runs on the session and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        self._summarisers.check(agent)
        key = await self._lookup.key(session_id, agent_id)
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            info = await self._store.existing(key)
            made = await self._summarisers.ask(agent, info, kept(await self._store.entries(key)))
            if made.requests:
                spent = record_entry({"type": "usage", "requests": made.requests})
                await self._store.append(key, [spent], turn=lock)
            return await self._save(lock, made.text, info.seq)

    async def resume_message(self, session_id: str, *, agent_id: str | None = None) -> str:
        """Return what someone should know who comes back to this conversation. No model is asked.

        It says what happened (from the saved summary and what came since, or from the history alone), what was asked
        and not answered, how the last turn ended, who has the conversation, and what waits for approval.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        info = await self._store.existing(key)
        saved = await self._load(key)
        entries = kept(await self._store.entries(key))
        parts = [_title(info), *_what_happened(saved, entries)]
        parts += _listed("Not answered yet", open_questions(entries))
        if info.context.last_agent is not None:
            parts.append(f"The conversation is with {info.context.last_agent}.")
        if info.context.last_status not in (None, "completed", "awaiting_approval"):
            parts.append(f"The last turn did not complete: {info.context.last_status}.")
        awaiting = await load_awaiting(self._store, info)
        asked = [] if awaiting is None else awaiting.approvals
        parts += _listed("Waits for approval", [f"{each.tool} {each.arguments} ({each.agent})" for each in asked])
        return "\n\n".join(parts)

    async def compact(
        self, session_id: str, *, keep_turns: int = 4, summariser: object = None, agent_id: str | None = None
    ) -> Shortened | None:
        """Let the model see a summary in the place of all but the newest turns; None if there is nothing to sum up.

        The originals stay in the history: people, searches and exports go on seeing them, and `get_history` has both.

        Args:
            session_id: The session.
            keep_turns: How many turns the model goes on seeing word for word. One that awaits approval always is.
            summariser: As `agent` of `summarise`.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            SummariserError, InvalidValueError, SessionBusyError, SessionNotFoundError: See `summarise`.
        """
        if type(keep_turns) is not int or keep_turns < 0:
            raise InvalidValueError({"keep_turns": f"must be a number of turns from 0 on, not {keep_turns!r:.80}"})
        self._summarisers.check(summariser)
        key = await self._lookup.key(session_id, agent_id)
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            compactor = Compactor(self._store, lock, self._summarisers)
            return await compactor.compact(await self._store.existing(key), keep_turns, summariser)

    async def _save(self, lock: TurnLock, text: str, seq: int) -> Summary:
        summary = Summary(text=text, seq=seq, at=now())
        await self._store.write_sidecar(lock.key, SUMMARY, encode_json(summary.model_dump(mode="json")), turn=lock)
        return summary

    async def _load(self, key: SessionKey) -> Summary | None:
        data = await self._store.read_sidecar(key, SUMMARY)
        if data is None:
            return None
        try:
            return Summary.model_validate(decode_json(data))
        except ValidationError as error:
            reason = f"invalid value of {invalid_fields(error)}"
        except ValueError as error:
            reason = str(error)
        raise SessionCorruptedError(key, SUMMARY, f"the saved summary cannot be used ({reason}); save another one")


def _title(info: SessionInfo) -> str:
    name = "" if info.name is None else f" {info.name!r}"
    return f"Conversation{name} ({info.id}), last active {info.last_active_at:%Y-%m-%d %H:%M} UTC."


def _what_happened(saved: Summary | None, entries: list[Entry]) -> list[str]:
    if saved is None:
        return [f"What happened:\n{composed_summary(entries) or 'Nothing was said.'}"]
    since = composed_summary([entry for entry in entries if entry["seq"] > saved.seq])
    return [f"What happened:\n{saved.text}", *([f"Since then:\n{since}"] if since else [])]


def _listed(heading: str, lines: list[str]) -> list[str]:
    return ["\n".join([f"{heading}:", *(f"- {line}" for line in lines)])] if lines else []
