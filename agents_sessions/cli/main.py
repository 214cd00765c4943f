"""The entry of `agents-sessions`: the extra must be there, and every error becomes a sentence and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from agents_sessions import errors

DONE, FAILED, USAGE, NOT_FOUND, BUSY, DAMAGE = range(6)
INTERRUPTED, NO_READER = 130, 141
"""The exit codes. The last two: after Ctrl-C, and where the reader of a pipe has gone."""

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
    gc.set_threshold(50_000)  # a tenth of a short process would go into collecting what was just imported
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    code = run(tokens)
    if code == NO_READER:
        os._exit(code)  # at its end the interpreter would flush into the pipe once more, and complain
    sys.exit(code)


def run(tokens: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    try:
        code = _called(tokens)
        sys.stdout.flush()
    except BrokenPipeError:
        return NO_READER
    except KeyboardInterrupt:
        return INTERRUPTED
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
        # Alone, or with options only, it lists. A default command would take a mistyped name for a word of its own.
        is_bare = not tokens or (tokens[0].startswith("-") and tokens[0] not in ("--help", "-h", "--version"))
        result = made(
            ["list", *tokens] if is_bare else tokens,
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
    except cyclopts.CycloptsError:
        return USAGE
    return result if isinstance(result, int) else DONE


def _say(error: Exception) -> None:
    if isinstance(error, errors.MissingExtraError):  # `screen` needs the very package that is missing
        sys.stderr.write(f"agents-sessions: {error}\n")
        return
    from agents_sessions.cli.screen import visible

    sys.stderr.write(f"agents-sessions: {visible(str(error))}\n")


if __name__ == "__main__":
    main()
