"""The entry of `agents-sessions`: the extra must be there, and every error becomes a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from agents_sessions import errors

DONE, FAILED, USAGE, NOT_FOUND, BUSY, DAMAGE = range(6)
"""The exit codes. Beside them are 130 after Ctrl-C and 141 where the reader of a pipe has gone."""

_INTERRUPTED, _NO_READER = 130, 141

_CODES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((errors.SessionIOError, errors.MissingExtraError), FAILED),
    (
        (
            errors.SessionNotFoundError,
            errors.NotArchivedError,
            errors.PositionNotFoundError,
            errors.CheckpointNotFoundError,
            FileNotFoundError,
        ),
        NOT_FOUND,
    ),
    ((errors.SessionBusyError,), BUSY),
    ((errors.SessionStorageError, errors.ArchiveError), DAMAGE),
    (
        (
            errors.InvalidValueError,
            errors.SessionIdError,
            errors.AmbiguousPrefixError,
            errors.SessionAmbiguousError,
            errors.InvalidDecisionError,
        ),
        USAGE,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and end the process with its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(tokens))


def run(tokens: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    try:
        code = _called(tokens)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain: it may do so into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (errors.SessionError, OSError) as error:
        if "--debug" in tokens:
            raise
        _say(error)
        return code_of(error)
    return code


def code_of(error: Exception) -> int:
    """Return the exit code for an error."""
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)


def _called(tokens: Sequence[str]) -> int:
    try:
        import cyclopts
        import rich  # noqa: F401 -- both make the extra
    except ImportError:
        raise errors.MissingExtraError("the command line", "cli") from None
    from agents_sessions.cli.app import app

    try:
        made = app(whole=not {"--help", "-h"}.isdisjoint(tokens))
        result = made(tokens, exit_on_error=False, print_error=True, result_action="return_value")
    except cyclopts.CycloptsError:
        return USAGE
    return result if isinstance(result, int) else DONE


def _say(error: Exception) -> None:
    from agents_sessions.cli.screen import visible

    sys.stderr.write(f"agents-sessions: {visible(str(error))}\n")


if __name__ == "__main__":
    main()
