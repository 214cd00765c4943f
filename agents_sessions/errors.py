"""Everything that this package raises.

::

    SessionError
    ├── SessionIdError (ValueError)              an id that no session can have
    ├── InvalidItemError (ValueError, TypeError) an item that JSON cannot carry
    ├── InvalidValueError (ValueError)           an argument or a fact that is none of what is allowed
    ├── UnsupportedError (NotImplementedError)   this store cannot do it
    ├── MissingExtraError (ImportError)          a package is not installed that only this feature needs
    ├── FileInTheWayError (FileExistsError)      a file is there already and was not to be overwritten
    ├── ImportRefusedError (ValueError)          what is to be imported is not what it should be
    │   ├── ImportVersionError                   a newer version of this package exported it
    │   └── ImportLimitError                     it is larger, deeper or more than is allowed
    ├── UnknownAgentError (LookupError)          no agent of that name is registered
    ├── AgentAmbiguousError (LookupError)        several agents have that name
    ├── SessionNotFoundError (LookupError)       there is no such session
    ├── SessionExistsError                       there is one already
    ├── SessionAmbiguousError (LookupError)      two agents have a session of that id
    ├── AmbiguousPrefixError (LookupError)       the ids or names of several sessions fit what was typed
    ├── SessionConflictError                     someone else changed it in between
    │   └── SessionChangedError                  someone rewrote it while it was read
    ├── SessionBusyError (TimeoutError)          someone else holds it
    │   ├── SessionReentryError                  the holder is the caller itself
    │   └── SessionDeadlockError                 the holder waits for the caller
    ├── ApprovalPendingError                     a tool waits for approval; decide first
    ├── NothingToResumeError (LookupError)       no tool waits for approval, or others do by now
    ├── InvalidDecisionError (ValueError)        a decision about calls that are not, or not clearly, the ones that wait
    ├── NothingToRetryError (LookupError)        the last turn has not failed
    │   └── MessageNotKeptError                  it has, but its message was too large to be kept: send it again
    ├── NothingToUndoError (LookupError)         no turn is there to be taken back, or none was
    │   └── NothingToRedoError                   nothing was taken back, or something was said since
    ├── PositionNotFoundError (LookupError)      the history has no such turn or entry
    │   └── PositionTakenBackError               it has, but an undo or a rewind has taken it back
    ├── NothingToMergeError (LookupError)        the branch has said nothing that the target does not have
    ├── CheckpointNotFoundError (LookupError)    the session has no checkpoint of that id
    ├── TooManyError                             the session has as many of something as it may have
    ├── SummariserError                          the summariser failed, or said nothing
    ├── TurnNotResumableError                    a turn awaits approval, and its agents or tools have changed
    ├── TurnCancelledError                       a streamed turn was cancelled, and not by its reader
    ├── ReplyNotStoredError                      the answer came, but could not be stored
    ├── TurnLostError                            a turn was taken for dead, and stores nothing any more
    ├── MigrationError                           a session came back changed from the store it was copied to
    ├── ManagerClosedError (RuntimeError)        the manager was closed before the turn began
    ├── SessionLimitError                        an item or a session would be larger than is allowed
    ├── TooManySessionsError                     there would be more sessions than are allowed
    ├── SessionStatusError                       its status forbids the act
    │   ├── SessionPausedError
    │   ├── SessionClosedError
    │   ├── SessionExpiredError                  its time to live is over; refresh it
    │   └── SessionArchivedError                 its history is in the archive; restore it
    ├── NotArchivedError (LookupError)           the archive does not have it
    ├── ArchiveError                             what the archive holds cannot be read, or is not what went in
    ├── StoreError                               a store as a whole cannot be used
    │   ├── SchemaError                          its tables are missing, of a newer version, or not ours
    │   ├── DurabilityError                      its server would lose what it has acknowledged
    │   ├── StoreClosedError (RuntimeError)      it was closed
    │   └── StoreUnavailableError (ConnectionError) its server does not answer; nothing was changed
    │       └── OutcomeUnknownError              it stopped answering in the middle of a change
    └── SessionStorageError                      what lies on the disk is not usable
        ├── EncryptionError                      it is encrypted, and not to be opened as it was asked for
        │   ├── MissingKeyError                  the ring has no key of the id that it names
        │   ├── WrongKeyError                    the ring's key of that id is another one
        │   ├── KeyDestroyedError                its key was destroyed, on purpose and for good
        │   ├── PlaintextError                   a part of it is not encrypted: someone put it there
        │   └── NotEncryptedError                it is plain, and was asked for with `encryption=`
        ├── SessionCorruptedError                damaged, and not by a torn last write
        ├── SessionVersionError                  written by a newer version of the format
        ├── SessionPathError                     not a regular file of ours: link, device, other id
        └── SessionIOError (OSError)             the operating system refused

Every error carries its facts as attributes, makes its message from them, and survives `pickle`. No message
holds the content of a conversation.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from agents_sessions.keys import SessionKey


def printable(path: str) -> str:
    """Return a path as any log can take it: a name on a disk may have bytes that are no text."""
    return path.encode("utf-8", "backslashreplace").decode()


class SessionError(Exception):
    """Base of every error of this package."""

    def __init__(self, *facts: object) -> None:
        # Pickling replays `args`. OSError.__init__ would read them as errno and strerror: it is not called.
        self.args = facts


class SessionIdError(SessionError, ValueError):
    """An id is empty, not a string, or holds a NUL character or two surrogates that spell one character."""

    def __init__(self, what: str, shown: str) -> None:
        super().__init__(what, shown)
        self.what = what
        self.shown = shown

    def __str__(self) -> str:
        return f"{self.what} must be a non-empty string without NUL and split characters, not {self.shown:.80}"


class InvalidItemError(SessionError, ValueError, TypeError):
    """An item cannot be stored as JSON without loss. A `TypeError` too, as it is of the SDK's own sessions."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; nothing was stored"


class InvalidValueError(SessionError, ValueError):
    """An argument, or a fact of a session, has a value that it cannot have. `fields` says what each may be."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__(self.fields)

    def __str__(self) -> str:
        refused = ", ".join(f"{field} {reason}" for field, reason in self.fields.items())
        return f"{refused}; nothing was changed"


class UnsupportedError(SessionError, NotImplementedError):
    """The store at hand cannot do what was asked of it."""

    def __init__(self, store: str, what: str) -> None:
        super().__init__(store, what)
        self.store = store
        self.what = what

    def __str__(self) -> str:
        return f"{self.store} cannot {self.what}"


class MissingExtraError(SessionError, ImportError):
    """A feature needs a package that is not installed, because most users do not need it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)
        self.what = what
        self.extra = extra

    def __str__(self) -> str:
        return f'{self.what} needs a package that is not installed: pip install "agents-sessions[{self.extra}]"'


class FileInTheWayError(SessionError, FileExistsError):
    """There is a file of that name already; it was not touched."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{printable(self.path)} exists already; choose another name, or pass overwrite=True"


class ImportRefusedError(SessionError, ValueError):
    """What is to be imported is not what it should be. Nothing was imported.

    `source` is its file or, within an archive, its member; `line` and `field` say where in it, if that is known.
    """

    def __init__(self, source: str, reason: str, *, line: int | None = None, field: str | None = None) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason
        self.line = line
        self.field = field

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line}"
        field = "" if self.field is None else f", field {self.field!r:.80}"
        return f"{printable(self.source)}{line}{field}: {self.reason}; nothing was imported"


class ImportVersionError(ImportRefusedError):
    """A newer version of this package exported it: update the package."""


class ImportLimitError(ImportRefusedError):
    """It is larger, deeper or more than an import takes. `ImportLimits` changes what is allowed."""


class UnknownAgentError(SessionError, LookupError):
    """A name does not mean any registered agent."""

    def __init__(
        self, name: str, known: tuple[str, ...] = (), reason: str = "", session: SessionKey | None = None
    ) -> None:
        super().__init__(name, known, reason, session)
        self.name = name
        self.known = known
        self.reason = reason
        self.key = session
        """The session whose agent it is, if it is one's."""

    def __str__(self) -> str:
        if self.reason:
            return f"no agent named {self.name!r}: {self.reason}"
        of_session = "" if self.key is None else f", whom session {self.key.session_id!r} needs"
        if not self.known:
            return f"no agent named {self.name!r}{of_session}; known agents: none; give agents= to the manager"
        known = ", ".join(repr(name) for name in self.known)
        ways = f"was it renamed? Keep its old name too, agents={{{self.name!r}: agent, …}}"
        return f"no agent named {self.name!r}{of_session}; known agents: {known}; {ways}{self._other_ways}"

    @property
    def _other_ways(self) -> str:
        if self.key is None:
            return ""
        if self.key.agent_id == self.name:
            return ", send with agent=…, or give the session to another agent: move_session(…, agent_id=…)"
        return ", or send with start='entry' or agent=…"


class AgentAmbiguousError(SessionError, LookupError):
    """A name means several agents, and the history does not say which of them has the conversation."""

    def __init__(self, name: str, count: int, session: SessionKey | None = None) -> None:
        super().__init__(name, count, session)
        self.name = name
        self.count = count
        self.key = session

    def __str__(self) -> str:
        of_session = "" if self.key is None else f", and the history of session {self.key.session_id!r} names none"
        return f"{self.count} agents are named {self.name!r}{of_session}; say which: agent=…, or rename them"


class _OfSession(SessionError):
    """An error about one session: its key or, where no one knows its agent yet, its bare id."""

    def __init__(self, session: SessionKey | str, *facts: object) -> None:
        super().__init__(session, *facts)
        self.key = session if isinstance(session, SessionKey) else None
        self.session_id = session.session_id if isinstance(session, SessionKey) else session
        self.agent_id = None if self.key is None else self.key.agent_id

    @property
    def _who(self) -> str:
        of_agent = "" if self.agent_id is None else f" of agent {self.agent_id!r}"
        return f"session {self.session_id!r}{of_agent}"


class SessionNotFoundError(_OfSession, LookupError):
    """There is no such session."""

    def __init__(
        self, session: SessionKey | str, advice: str = "create it first, or look with list_sessions()"
    ) -> None:
        super().__init__(session, advice)
        self.advice = advice

    def __str__(self) -> str:
        return f"there is no {self._who}; {self.advice}"


class SessionExistsError(_OfSession):
    """A session of that id exists already; it was not touched."""

    def __str__(self) -> str:
        return f"{self._who} exists already; use it, or choose another id"


class SessionAmbiguousError(SessionError, LookupError):
    """More than one agent has a session of that id."""

    def __init__(self, session_id: str, agent_ids: tuple[str, ...]) -> None:
        super().__init__(session_id, agent_ids)
        self.session_id = session_id
        self.agent_ids = agent_ids

    def __str__(self) -> str:
        return f"agents {', '.join(self.agent_ids)} all have a session {self.session_id!r}; name one: agent_id=…"


class AmbiguousPrefixError(SessionError, LookupError):
    """What a person typed fits several sessions."""

    def __init__(self, typed: str, candidates: tuple[SessionKey, ...]) -> None:
        super().__init__(typed, candidates)
        self.typed = typed
        self.candidates = candidates
        """Some of the sessions that it fits."""

    def __str__(self) -> str:
        found = ", ".join(f"{key.session_id!r} of agent {key.agent_id!r}" for key in self.candidates)
        return f"{self.typed!r} may be {found}; give more of the id"


class SessionConflictError(_OfSession):
    """Someone else changed the session since the caller looked."""

    def __init__(self, session: SessionKey | str, expected_seq: int, actual_seq: int) -> None:
        super().__init__(session, expected_seq, actual_seq)
        self.expected_seq = expected_seq
        self.actual_seq = actual_seq

    def __str__(self) -> str:
        return f"{self._who} is at {self.actual_seq}, not {self.expected_seq}: someone wrote; read it again"


class SessionChangedError(SessionConflictError):
    """Someone rewrote the session while it was read, so that what was read may be of two states."""

    def __str__(self) -> str:
        return f"{self._who} was rewritten while it was read; nothing came of it: do it again"


class SessionBusyError(_OfSession, TimeoutError):
    """Someone else held the session for longer than the caller would wait."""

    def __init__(
        self,
        session: SessionKey | str,
        waited: float,
        holder: str = "",
        held_for: timedelta | None = None,
    ) -> None:
        super().__init__(session, waited, holder, held_for)
        self.waited = waited
        self.holder = holder
        self.held_for = held_for

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        age = "" if self.held_for is None else f" for {self.held_for.total_seconds():.1f} s"
        return f"{self._who} is held{by}{age}; gave up after {self.waited:.1f} s"


class SessionReentryError(SessionBusyError):
    """A turn tried to start another turn on its own session, which could only wait for itself."""

    def __init__(self, session: SessionKey | str, waited: float = 0.0) -> None:
        super().__init__(session, waited)
        self.args = (session, waited)

    def __str__(self) -> str:
        if self.waited > 0:
            return (
                f"{self._who} is in the turn that began this task, and it did not end in {self.waited:.1f} s; a turn"
                " must not await a task that sends to its own session"
            )
        return f"{self._who} is in this very turn; a tool cannot send to its own session, but a task that it begins can"


class SessionDeadlockError(SessionBusyError):
    """The turn that holds the session waits, by one session or several, for the turn that the caller works for."""

    def __init__(self, session: SessionKey | str, circle: tuple[SessionKey, ...]) -> None:
        super().__init__(session, 0.0)
        self.args = (session, circle)
        self.circle = circle
        """The sessions that wait for each other, from this one to the caller's."""

    def __str__(self) -> str:
        names = " -> ".join(repr(key.session_id) for key in (*self.circle, *self.circle[:1]))
        return f"{self._who} waits for the turn that asks for it: {names}; let one of the tools not await the other"


class ApprovalPendingError(_OfSession):
    """A tool call of the last turn waits for approval."""

    def __init__(self, session: SessionKey | str, call_ids: tuple[str, ...]) -> None:
        super().__init__(session, call_ids)
        self.call_ids = call_ids

    def __str__(self) -> str:
        calls = ", ".join(self.call_ids)
        return f"{self._who} waits for approval of {calls}; resume() it, send with on_pending='reject', or give_up()"


class _Refused(_OfSession):
    """An error that says in a few words what is in the way."""

    def __init__(self, session: SessionKey | str, reason: str) -> None:
        super().__init__(session, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self._who}: {self.reason}"


class NothingToResumeError(_Refused, LookupError):
    """No tool call waits for approval, or others wait than the caller saw. Look with `pending_approvals`."""


class InvalidDecisionError(_Refused, ValueError):
    """A decision names a call that does not wait, is one of several of its id, or is both approved and rejected."""


class NothingToRetryError(_Refused, LookupError):
    """The last turn has not failed."""


class NothingToUndoError(_Refused, LookupError):
    """There are fewer turns than are to be taken back."""


class NothingToRedoError(NothingToUndoError):
    """Nothing was taken back, or something was said since: then it stays a hidden branch, which can be forked."""


class PositionNotFoundError(_Refused, LookupError):
    """The history has no such turn or entry."""


class PositionTakenBackError(PositionNotFoundError):
    """An undo or a rewind has taken this position back. `branches.fork` makes a session of it."""


class NothingToMergeError(_Refused, LookupError):
    """The branch has said nothing that the target does not have already."""


class CheckpointNotFoundError(_Refused, LookupError):
    """The session has no checkpoint of that id."""


class TooManyError(_OfSession):
    """The session has as many of something as it may have. Nothing was changed."""

    def __init__(self, session: SessionKey | str, what: str, limit: int, advice: str) -> None:
        super().__init__(session, what, limit, advice)
        self.what = what
        self.limit = limit
        self.advice = advice

    def __str__(self) -> str:
        return f"{self._who} has {self.limit:,} {self.what}, and may have no more; {self.advice}"


class SummariserError(_Refused):
    """No summary could be made. The cause, if there is one, is chained; nothing was changed."""


class MessageNotKeptError(NothingToRetryError):
    """The message of the failed turn was too large to be kept: send it again, shorter."""


class TurnNotResumableError(_OfSession):
    """A turn awaits approval, and the SDK cannot restore it with the agents and tools of today."""

    def __init__(self, session: SessionKey | str, reason: str) -> None:
        super().__init__(session, reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the turn that awaits approval on {self._who} cannot be restored ({self.reason}): an agent or a tool of it"
            " has changed; bring it back, or end the turn with give_up()"
        )


class TurnCancelledError(_OfSession):
    """A streamed turn was cancelled before the Runner was called, or by something that its run awaited."""

    def __init__(self, session: SessionKey | str, began: bool = False) -> None:
        super().__init__(session, began)
        self.began = began
        """True once the Runner was called: models may have been asked, and tools may have run."""

    def __str__(self) -> str:
        if self.began:
            return f"the turn on {self._who} was cancelled while it ran; retry() goes on with its message"
        return f"the turn on {self._who} was cancelled before any model was asked; send the message again"


class ReplyNotStoredError(_OfSession):
    """The model answered, but the answer could not be stored. It is here, in `reply`; the cause is chained."""

    reply: Any = None

    def __str__(self) -> str:
        return f"the answer of {self._who} could not be stored; it is in the `reply` of this error"


class TurnLostError(_OfSession):
    """The turn did not renew its lock in time and was taken for dead: its process slept, or could not reach the server.

    From then on it stores nothing, so that no other turn is disturbed. What it has spent is kept in the history. If the
    model had answered by then, the answer is here, in `reply`.
    """

    reply: Any = None

    def __str__(self) -> str:
        answer = "" if self.reply is None else "; its answer is in the `reply` of this error"
        return f"the turn on {self._who} was held up for longer than its lease and stores nothing any more{answer}"


class StoreError(SessionError):
    """A store as a whole cannot be used. `where` names it, without a password."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class SchemaError(StoreError):
    """The tables of a store are missing, were made by a newer version, or a key of its is something else."""


class DurabilityError(StoreError):
    """The server is set up so that it may lose what it has acknowledged, which `durability="full"` does not accept."""


class StoreClosedError(StoreError, RuntimeError):
    """The store was closed, and takes no more calls."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "the store is closed; make another one, what is stored is still there")
        self.args = (where,)


class StoreUnavailableError(StoreError, ConnectionError):
    """The server of a store does not answer, or refuses the connection. Nothing was changed; try again later."""


class OutcomeUnknownError(StoreUnavailableError):
    """The server stopped answering in the middle of a change, which may be stored or not: read before you repeat it."""


class ManagerClosedError(_OfSession, RuntimeError):
    """The manager was closed before the turn began. Nothing was stored."""

    def __str__(self) -> str:
        return f"the manager was closed, and takes no more turns: that of {self._who} did not begin"


class SessionLimitError(_OfSession):
    """Something is larger than a limit of the store allows. Nothing was changed."""

    def __init__(self, session: SessionKey | str, what: str, size: int, setting: str, limit: int) -> None:
        super().__init__(session, what, size, setting, limit)
        self.what = what
        self.size = size
        self.setting = setting
        self.limit = limit

    def __str__(self) -> str:
        return f"{self._who}: {self.what} has {self.size:,} bytes, and {self.setting} is {self.limit:,}"


class MigrationError(_OfSession):
    """What was read back from the new store is not what was copied. It was removed there; the old one is untouched."""

    def __str__(self) -> str:
        return f"{self._who} came back changed from the new store, and was removed there; the old one was not touched"


class TooManySessionsError(SessionError):
    """As many sessions as are allowed are not closed, of all users or of one. Nothing was made or changed."""

    def __init__(self, setting: str, limit: int, user_id: str | None, oldest: tuple[SessionKey, ...]) -> None:
        super().__init__(setting, limit, user_id, oldest)
        self.setting = setting
        self.limit = limit
        self.user_id = user_id
        """Whose sessions they are; None for those of all users."""
        self.oldest = oldest
        """Those among them that were idle for longest and are not pinned, the first of them first."""

    def __str__(self) -> str:
        whose = "" if self.user_id is None else f" of user {self.user_id!r}"
        names = ", ".join(repr(key.session_id) for key in self.oldest)
        idle = f"; idle for longest: {names}" if names else ""
        return f"{self.setting} is {self.limit}, and so many sessions{whose} are not closed: close or delete some{idle}"


class SessionStatusError(_OfSession):
    """The status of the session forbids the act."""


class SessionPausedError(SessionStatusError):
    """The session is paused."""

    def __str__(self) -> str:
        return f"{self._who} is paused; unpause_session() lets it go on"


class SessionClosedError(SessionStatusError):
    """The session is closed."""

    def __str__(self) -> str:
        return f"{self._who} is closed; reopen_session() lets it go on"


class SessionExpiredError(SessionStatusError):
    """Nothing has happened in the session for longer than its time to live."""

    def __init__(self, session: SessionKey | str, expired_at: datetime) -> None:
        super().__init__(session, expired_at)
        self.expired_at = expired_at

    def __str__(self) -> str:
        when = self.expired_at.isoformat(timespec="seconds")
        return f"{self._who} expired at {when}; begin its time anew with refresh_session(…), or make another one"


class SessionArchivedError(SessionStatusError):
    """The history of the session is in the archive."""

    def __str__(self) -> str:
        return f"{self._who} is archived; bring it back with manager.archive.restore(…)"


class NotArchivedError(_OfSession, LookupError):
    """The session is not in the archive."""

    def __str__(self) -> str:
        return f"{self._who} is not archived; look with manager.archive.list()"


class ArchiveError(_OfSession):
    """The file of an archived session cannot be used. Nothing was changed."""

    def __init__(self, session: SessionKey | str, path: str, reason: str) -> None:
        super().__init__(session, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the archive of {self._who} cannot be used: {self.reason} ({printable(self.path)}); nothing was changed"


class SessionStorageError(_OfSession):
    """What is stored under the session's name cannot be used."""

    def __init__(self, session: SessionKey | str, path: str, reason: str) -> None:
        super().__init__(session, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self._who}: {self.reason} ({printable(self.path)})"


class EncryptionError(SessionStorageError):
    """An encrypted session cannot be opened as it was asked for. Nothing was returned or changed."""

    def __init__(self, session: SessionKey | str, *facts: object) -> None:
        super().__init__(session, "its header", "it is encrypted, and cannot be opened with the keys that were given")
        self.args = (session, *facts)


class MissingKeyError(EncryptionError):
    """The session is encrypted under a key that was not given."""

    def __init__(self, session: SessionKey | str, key_id: str) -> None:
        super().__init__(session, key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return f"{self._who} is encrypted under the key {self.key_id!r:.80}, which was not given; add it to the KeyRing"


class WrongKeyError(EncryptionError):
    """The key that was given under the session's key id is not the one that it is encrypted under."""

    def __init__(self, session: SessionKey | str, key_id: str) -> None:
        super().__init__(session, key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return (
            f"{self._who} is encrypted under another key than the one given as {self.key_id!r:.80}; give the right one"
        )


class KeyDestroyedError(EncryptionError):
    """The key of the session was destroyed, so that no one can ever read it. It can still be deleted."""

    def __str__(self) -> str:
        return f"the key of {self._who} was destroyed, and no one can read it any more; delete it"


class PlaintextError(EncryptionError):
    """A part of an encrypted session is not encrypted: it did not come from here, and is not believed."""

    def __init__(self, session: SessionKey | str, what: str) -> None:
        super().__init__(session, what)
        self.what = what

    def __str__(self) -> str:
        return f"{self._who} is encrypted, and {self.what} is not: someone else wrote it; restore it from a backup"


class NotEncryptedError(EncryptionError):
    """The session is plain, and its store was opened with `encryption=`."""

    def __str__(self) -> str:
        return f"{self._who} is not encrypted: open it without encryption=, or copy it by migrate_store"


class SessionCorruptedError(SessionStorageError):
    """The file is damaged in a way that no torn write explains. It was not touched."""

    def __str__(self) -> str:
        return f"{super().__str__()}; correct the file or move it away: listings leave it out"


class SessionVersionError(SessionStorageError):
    """A newer version of this package wrote the file. It was not touched."""


class SessionPathError(SessionStorageError):
    """The path leads to something else than the regular file of this session. It was not followed."""


class SessionIOError(SessionStorageError, OSError):
    """The operating system refused; `errno` says why, and the cause is chained."""

    def __init__(self, session: SessionKey | str, path: str, reason: str, number: int | None = None) -> None:
        super().__init__(session, path, reason)
        self.args = (session, path, reason, number)
        self.errno = number
