"""Make and remove many sessions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.bulk import Job, SessionOutcome, outcomes
from agents_sessions.manager.finding import FindingFacade
from agents_sessions.manager.sessions import NewSessionFacts, SessionFacade
from agents_sessions.model.ids import check_id

if TYPE_CHECKING:
    from agents_sessions.model.query import SessionFilters


class _Required(NewSessionFacts):
    agent_id: str


class NewSession(_Required, total=False):
    """A session to be made: the arguments of `create_session`, of which `agent_id` must be given."""

    session_id: str | None


class BulkFacade(SessionFacade, FindingFacade):
    """What a manager does with many sessions at once."""

    async def create_sessions(self, sessions: Iterable[NewSession]) -> list[SessionOutcome]:
        """Make sessions, some at a time, and return an outcome for each, in order. One that fails stops no other.

        Args:
            sessions: Dicts with the arguments of `create_session`: ``[{"agent_id": "support", "user_id": "ann"}]``.

        Raises:
            InvalidValueError: One is no dict, lacks its agent, or has an argument that there is not; none was made.
        """
        new = list(sessions)
        known = NewSession.__required_keys__ | NewSession.__optional_keys__
        for number, facts in enumerate(new):
            if not isinstance(facts, Mapping):
                raise InvalidValueError({f"sessions[{number}]": f"must be a dict, not a {type(facts).__name__}"})
            wrong = {name: "is no argument of create_session" for name in facts if name not in known}
            if "agent_id" not in facts:
                wrong["agent_id"] = "must be given"
            if wrong:
                raise InvalidValueError({f"sessions[{number}].{name}": reason for name, reason in wrong.items()})
        create: Any = self.create_session
        return await outcomes(Job(facts.get("session_id"), partial(create, **facts)) for facts in new)

    async def delete_sessions(
        self,
        session_ids: Iterable[str] | None = None,
        *,
        permanently: bool = False,
        **filters: Unpack[SessionFilters],
    ) -> list[SessionOutcome]:
        """Remove sessions, some at a time, and return an outcome for each. One that fails stops no other.

        They go where `delete_session` puts them: to the trash if the manager has one. Each waits for a turn that runs
        on it. To see first what filters ask for, call `list_sessions` with them.

        Args:
            session_ids: Their ids, or None for all that the filters ask for.
            permanently: Remove them for good at once.
            filters: See `list_sessions`; `agent_id` may be given with ids too. Without ids, at least one.

        Raises:
            InvalidValueError: Neither ids nor filters were given, or both, or some that cannot be; nothing was removed.
        """
        if session_ids is None:
            if not any(value is not None for value in filters.values()):
                raise InvalidValueError(
                    {"session_ids": "or a filter must be given: nothing removes all sessions at once"}
                )
            keys = [info.key async for info in self.iter_sessions(**filters)]
            return await outcomes(
                Job(key.session_id, partial(self._delete, key, permanently=permanently)) for key in keys
            )
        agent_id = filters.pop("agent_id", None)
        if filters:
            raise InvalidValueError(dict.fromkeys(filters, "cannot be given with session_ids"))
        if isinstance(session_ids, str):
            raise InvalidValueError({"session_ids": "must be a list of ids, not one"})
        ids = list(dict.fromkeys(session_ids))
        for session_id in ids:
            check_id(session_id)
        delete = partial(self.delete_session, agent_id=agent_id, permanently=permanently)
        return await outcomes(Job(each, partial(delete, each)) for each in ids)
