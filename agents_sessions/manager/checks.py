"""Refuse arguments where they are given, and say what is allowed."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import ValidationError

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.history import refusals

MAX_NAME = 100
"""The most characters that a name may be given."""


def check_limit(limit: int | None) -> None:
    """Refuse a limit below zero: for the SDK's sessions alone it means "nothing"."""
    if limit is not None and limit < 0:
        raise InvalidValueError({"limit": f"must be 0 or more, or None for no limit, not {limit}"})


def check_choice(name: str, value: str | None, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of the allowed ones. None is always allowed."""
    if value is not None and value not in allowed:
        raise InvalidValueError({name: f"must be one of {', '.join(map(repr, allowed))}, not {value!r:.80}"})


def check_given(name: str, value: str) -> str:
    """Return a value that is to choose sessions. What is empty would not filter, and so choose all there are."""
    if not isinstance(value, str) or not value:
        raise InvalidValueError({name: f"must be a text that is not empty, not {value!r:.80}"})
    return value


def check_name(name: object) -> None:
    """Refuse a name that is empty or too long for a title. One that a session has already is shown as it is."""
    if isinstance(name, str) and not 1 <= len(name) <= MAX_NAME:
        raise InvalidValueError({"name": f"must have 1 to {MAX_NAME} characters, not {len(name)}"})


def tags_of(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as they are stored, each once, in the order in which they first come.

    Raises:
        InvalidValueError: They are one text, or no collection.
    """
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidValueError({"tags": f"must be a list of strings, not a {type(tags).__name__}"})
    given = list(tags)
    if not all(isinstance(tag, str) for tag in given):
        raise InvalidValueError({"tags": "must be strings"})
    return tuple(dict.fromkeys(given))


def path_of(folder: str | os.PathLike[str] | None) -> str | None:
    """Return a folder as it is stored: as it was given, in a text."""
    if folder is None or isinstance(folder, str):
        return folder
    path = os.fspath(folder) if isinstance(folder, os.PathLike) else None
    if not isinstance(path, str):
        raise InvalidValueError({"working_dir": f"must be a path, not a {type(folder).__name__}"})
    return path


def metadata_changes(changes: Mapping[str, object]) -> Mapping[str, object]:
    """Return changes of metadata, if they can be any."""
    if not isinstance(changes, Mapping):
        raise InvalidValueError({"metadata": f"must be a dict, not a {type(changes).__name__}"})
    if wrong := [key for key in changes if not isinstance(key, str)]:
        raise InvalidValueError({"metadata": f"has a key that is a {type(wrong[0]).__name__}; keys are strings"})
    return dict(changes)


@contextlib.contextmanager
def facts_checked() -> Iterator[None]:
    """Name the facts that do not fit, without their values, which pydantic would quote."""
    try:
        yield
    except ValidationError as error:
        raise InvalidValueError(refusals(error)) from None
