import os
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from agents_sessions import errors
from agents_sessions.errors import SessionError
from agents_sessions.keys import SessionKey

WHO = (SessionKey("support", "order-42"),)
SAMPLES = {
    "SessionIdError": ("session_id", "''"),
    "InvalidItemError": ("item 1 of 2", "holds a value of type 'set', which JSON does not have"),
    "InvalidValueError": ({"status": "must be 'active', 'paused' or 'closed'"},),
    "UnsupportedError": ("MemoryStore", "set sessions aside"),
    "MissingExtraError": ("export to YAML", "yaml"),
    "FileInTheWayError": ("/x/order-42.md",),
    "ImportRefusedError": ("/x/order-42.json", "is not JSON"),
    "ImportVersionError": ("/x/order-42.json", "is newer"),
    "ImportLimitError": ("/x/order-42.json", "is too large"),
    "SessionChangedError": (*WHO, 1, 2),
    "UnknownAgentError": ("billing", ("triage", "refunds")),
    "AgentAmbiguousError": ("billing", 2, *WHO),
    "SessionNotFoundError": WHO,
    "SessionExistsError": WHO,
    "SessionAmbiguousError": ("order-42", ("support", "sales")),
    "AmbiguousPrefixError": ("orde", (*WHO, SessionKey("sales", "order-43"))),
    "SessionConflictError": (*WHO, 1, 2),
    "SessionBusyError": (*WHO, 1.5, "process 7 on host", timedelta(seconds=3)),
    "SessionReentryError": WHO,
    "SessionDeadlockError": (*WHO, (*WHO, SessionKey("sales", "b"))),
    "ApprovalPendingError": (*WHO, ("call_1", "call_2")),
    "NothingToResumeError": (*WHO, "no tool waits for approval"),
    "TurnNotResumableError": (*WHO, "UserError"),
    "InvalidDecisionError": (*WHO, "call 'c7' does not wait for approval; waiting: c1"),
    "NothingToUndoError": (*WHO, "it has no turn"),
    "NothingToRedoError": (*WHO, "nothing was taken back"),
    "PositionNotFoundError": (*WHO, "it has no turn 't9'"),
    "PositionTakenBackError": (*WHO, "turn 't9' was taken back"),
    "NothingToMergeError": (*WHO, "the branch has said nothing"),
    "CheckpointNotFoundError": (*WHO, "it has no checkpoint 'c9'"),
    "SummariserError": (*WHO, "it returned no text"),
    "TooManyError": (*WHO, "checkpoints", 1000, "delete some"),
    "NothingToRetryError": (*WHO, "its last turn has not failed"),
    "MessageNotKeptError": (*WHO, "its message was too large"),
    "SessionExpiredError": (*WHO, datetime(2026, 11, 20, tzinfo=UTC)),
    "NotArchivedError": WHO,
    "ArchiveError": (*WHO, "/x/support/order-42.0123abcd.jsonl.zst", "its end is missing"),
    "ManagerClosedError": WHO,
    "MissingKeyError": (*WHO, "k1"),
    "WrongKeyError": (*WHO, "k1"),
    "PlaintextError": (*WHO, "its entry 3"),
    "SessionLimitError": (*WHO, "an item", 70_000_000, "max_item_bytes", 67_108_864),
    "TooManySessionsError": ("max_sessions_per_user", 2, "ann", (*WHO, SessionKey("sales", "b"))),
    "SessionStorageError": (*WHO, "/x/order-42.json", "it is odd"),
    "SessionCorruptedError": (*WHO, "/x/order-42.json", "it is empty"),
    "SessionVersionError": (*WHO, "/x/order-42.json", "it is newer"),
    "SessionPathError": (*WHO, "/x/order-42.json", "not a regular file"),
    "SessionIOError": (*WHO, "/x/order-42.json", "no space", 28),
    "StoreError": ("redis://localhost:6379", "it is odd"),
    "SchemaError": ("postgresql://localhost/app", "its tables are missing"),
    "DurabilityError": ("redis://localhost:6379", "it evicts keys"),
    "StoreClosedError": ("redis://localhost:6379",),
    "StoreUnavailableError": ("redis://localhost:6379", "the server does not answer"),
    "OutcomeUnknownError": ("redis://localhost:6379", "the server does not answer"),
}
BUILTINS = {
    "SessionIdError": ValueError,
    "InvalidItemError": ValueError,
    "InvalidValueError": ValueError,
    "InvalidDecisionError": ValueError,
    "NothingToRetryError": LookupError,
    "NotArchivedError": LookupError,
    "UnsupportedError": NotImplementedError,
    "MissingExtraError": ImportError,
    "FileInTheWayError": FileExistsError,
    "ImportRefusedError": ValueError,
    "UnknownAgentError": LookupError,
    "AgentAmbiguousError": LookupError,
    "ManagerClosedError": RuntimeError,
    "SessionNotFoundError": LookupError,
    "SessionAmbiguousError": LookupError,
    "NothingToResumeError": LookupError,
    "SessionBusyError": TimeoutError,
    "SessionIOError": OSError,
    "StoreClosedError": RuntimeError,
    "StoreUnavailableError": ConnectionError,
}


def tree(root=SessionError):
    for kind in root.__subclasses__():
        yield kind
        yield from tree(kind)


EVERY = sorted(
    {kind for kind in tree() if kind.__module__ == errors.__name__ and not kind.__name__.startswith("_")},
    key=lambda kind: kind.__name__,
)


def sample(kind):
    return kind(*SAMPLES.get(kind.__name__, WHO))


@pytest.mark.parametrize("kind", EVERY)
def test_an_error_survives_pickle(kind):
    error = sample(kind)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is kind
        assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("kind", EVERY)
def test_a_message_says_which_session(kind):
    error = sample(kind)
    if hasattr(error, "session_id"):
        assert "order-42" in str(error)
        assert error.session_id == "order-42"


@pytest.mark.parametrize("kind", EVERY)
def test_the_tree_at_the_top_of_the_module_names_every_error(kind):
    assert f" {kind.__name__} " in errors.__doc__.replace("\n", " \n")


@pytest.mark.parametrize("name", BUILTINS)
def test_an_error_is_the_builtin_it_resembles(name):
    assert issubclass(getattr(errors, name), BUILTINS[name])


def test_a_refused_import_tells_file_line_and_field():
    error = errors.ImportRefusedError("chat.json", "must be a role", line=3, field="role")
    assert str(error) == "chat.json, line 3, field 'role': must be a role; nothing was imported"
    assert (pickle.loads(pickle.dumps(error)).line, error.field) == (3, "role")


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    assert 'pip install "agents-sessions[yaml]"' in str(sample(errors.MissingExtraError))


def test_an_error_of_the_system_tells_its_number():
    error = errors.SessionIOError(*SAMPLES["SessionIOError"])
    assert (error.errno, error.path) == (28, "/x/order-42.json")


def test_an_unknown_agent_is_told_who_is_known():
    assert "'triage', 'refunds'" in str(sample(errors.UnknownAgentError))


def test_a_busy_session_tells_who_holds_it():
    assert "by process 7 on host for 3.0 s; gave up after 1.5 s" in str(sample(errors.SessionBusyError))


def test_a_path_of_any_bytes_can_be_written_to_a_log():
    path = os.fsdecode(b"/srv/Zo\xc3\xab/\xff.json")
    error = errors.SessionPathError(SessionKey("support", "order-42"), path, "a link")
    assert error.path == path
    assert str(error).endswith(r"(/srv/Zoë/\udcff.json)")
