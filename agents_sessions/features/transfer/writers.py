"""Which writer writes a format."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.transfer.document import JsonlWriter, JsonWriter
from agents_sessions.features.transfer.html import HtmlWriter
from agents_sessions.features.transfer.markdown import MarkdownWriter
from agents_sessions.features.transfer.values import SUFFIXES, ExportFormat
from agents_sessions.features.transfer.yaml_text import YamlWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents_sessions.features.transfer.document import Writer

WRITERS: dict[str, Callable[[], Writer]] = {
    "json": JsonWriter,
    "jsonl": JsonlWriter,
    "markdown": MarkdownWriter,
    "yaml": YamlWriter,
    "html": HtmlWriter,
}


def writer_of(format_name: str) -> Writer:
    """Return what writes one session in a format.

    Raises:
        InvalidValueError: There is no such format.
        MissingExtraError: It needs a package that is not installed.
    """
    if format_name not in WRITERS:
        known = ", ".join(map(repr, get_args(ExportFormat)))
        raise InvalidValueError({"format": f"must be one of {known}, not {format_name!r:.80}"})
    return WRITERS[format_name]()


def format_of(path: Path) -> ExportFormat:
    """Return the format that the name of a file asks for.

    Raises:
        InvalidValueError: It asks for none.
    """
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise InvalidValueError({"format": f"must be given, since {path.name!r:.80} ends in none of {known}"}) from None
