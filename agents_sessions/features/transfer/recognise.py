"""Which format something is, found by looking at it; and the session or sessions that it holds."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from agents_sessions.errors import ImportRefusedError
from agents_sessions.features.transfer.document import (
    HISTORY_OPENS,
    NAME,
    JsonlReader,
    JsonReader,
    make_info,
    whole_document,
)
from agents_sessions.features.transfer.foreign import chat_completions, responses, sdk_database, session_file
from agents_sessions.features.transfer.incoming import Incoming, from_entries, from_items, from_lines
from agents_sessions.features.transfer.sources import FileSource, Source
from agents_sessions.features.transfer.values import Dropped, ImportFormat
from agents_sessions.model.lossless_json import decode_json

if TYPE_CHECKING:
    from agents_sessions.features.transfer.incoming import Naming

_HEAD = 64 << 10
_NAMES_ITSELF = re.compile(rb'\s*\{\s*"format"\s*:\s*"([^"\\]{0,60})"')
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OPENS_HISTORY = HISTORY_OPENS.rstrip()
_LISTS = ("messages", "input", "output", "items")
"""Under which names a request, a response or a data set has its list."""


class Found(NamedTuple):
    """What something is, and what it holds."""

    format: ImportFormat
    sessions: AsyncIterator[Incoming]


async def recognise(
    source: Source, wanted: ImportFormat | None, naming: Naming, on_dropped: Callable[[Dropped], None]
) -> Found:
    """Return what a text or a file is, and its sessions. An archive is read elsewhere: see `kind_of`.

    Raises:
        ImportRefusedError: It is nothing that can be imported, or not what was wanted.
    """
    head = await source.head(_HEAD)
    found = kind_of(head)
    if found == "sdk_database" and isinstance(source, FileSource):
        _check_wanted(source, wanted, found)
        return Found(found, sdk_database.sessions_of(source, naming, on_dropped))
    name = _NAMES_ITSELF.match(head)
    if name is not None and name[1].startswith(NAME.encode() + b"/"):
        found, incoming = await _document(source, naming)
    else:
        found, incoming = await _whole(source, naming, wanted)
    _check_wanted(source, wanted, found)
    return Found(found, _only(incoming))


def kind_of(head: bytes) -> ImportFormat | None:
    """Return the format of a file whose first bytes say it."""
    if head.startswith(sdk_database.MAGIC):
        return "sdk_database"
    return "archive" if head.startswith(_ZIP) else None


async def _document(source: Source, naming: Naming) -> tuple[ImportFormat, Incoming]:
    """Return the session of a document of ours, read line by line if it is laid out so."""
    first = await _first_line(source)
    if first.rstrip().endswith(_OPENS_HISTORY):
        return "json", from_lines(source, JsonReader, JsonReader(source.name).header(first), naming)
    if not _is_object(first):  # someone has laid it out otherwise
        return await _whole(source, naming, None)
    if b'"history"' in first and "history" in decode_json(first):
        return await _whole(source, naming, None)
    return "jsonl", from_lines(source, JsonlReader, JsonlReader(source.name).header(first), naming)


async def _first_line(source: Source) -> bytes:
    async with aclosing(source.lines()) as batches:
        async for _, lines in batches:
            return lines[0]
    return b""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(decode_json(line), dict)
    except ValueError:
        return False


async def _whole(source: Source, naming: Naming, wanted: ImportFormat | None) -> tuple[ImportFormat, Incoming]:
    value = _decoded(await source.whole(), source)
    if isinstance(value, dict):
        format_name = str(value.get("format", ""))
        if format_name.startswith(f"{NAME}/"):
            return "json", from_entries(source, *whole_document(value, source.name), naming)
        if format_name.startswith("agents-sessions/"):
            return "session_file", from_entries(source, *session_file.session_of(value, source.name), naming)
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), value)
    if not isinstance(value, list):
        raise ImportRefusedError(source.name, "is no export, no session file and no list of messages or items")
    return _list(source, value, naming, wanted)


def _decoded(data: bytes, source: Source) -> Any:
    """Return JSON, or the list of the JSON objects on each line."""
    try:
        return decode_json(data)
    except ValueError as error:
        reason = str(error)
    lines = [line for line in data.split(b"\n") if line and not line.isspace()]
    if len(lines) > 1 and all(map(_is_object, lines)):
        return [decode_json(line) for line in lines]
    raise ImportRefusedError(source.name, f"is {reason}")


def _list(
    source: Source, values: list[Any], naming: Naming, wanted: ImportFormat | None
) -> tuple[ImportFormat, Incoming]:
    info = naming.over(make_info({"id": str(uuid4()), "agent_id": "default"}, source.name))
    if wanted != "chat_completions" and (wanted == "responses" or not chat_completions.is_chat(values)):
        return "responses", from_items(source, responses.items_of(values, source.name), info)
    conversion = chat_completions.Conversion(source.name)
    items = conversion.items_of(values)
    dropped = [Dropped(info.id, what, count) for what, count in sorted(conversion.dropped.items())]
    return "chat_completions", from_items(source, items, info, dropped)


def _check_wanted(source: Source, wanted: ImportFormat | None, found: ImportFormat) -> None:
    if wanted is not None and wanted != found:
        raise ImportRefusedError(source.name, f"is {found!r}, not {wanted!r}")


async def _only(incoming: Incoming) -> AsyncIterator[Incoming]:
    yield incoming
