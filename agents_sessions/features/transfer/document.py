"""The lossless document of a session, written and read as a stream. Pure.

It is what goes from one store to another, into an archive and back: facts, sidecars, and every entry with its number
and time. As lines (`jsonl`)::

    {"format":"agents-sessions-export/1","session":{…},"seq":8,"updated_at":…,"sidecars":{…}}
    {"seq":1,"at":…,"item":{…}}
    {"seq":2,"at":…,"item":{…}}
    {"end":true,"entries":2}                           without it, the document has lost its end

As one JSON document (`json`), with an entry on each line, so that both are read line by line::

    {"format":"agents-sessions-export/1","session":{…},"seq":8,"updated_at":…,"sidecars":{…},"history":[
    {"seq":1,"at":…,"item":{…}},
    {"seq":2,"at":…,"item":{…}}
    ],"entries":2}

A sidecar is `{"text": …}`, or `{"base64": …}` where it is no text. What an export has left out, `left_out` names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from pydantic import ValidationError

from agents_sessions.errors import ImportRefusedError, ImportVersionError, SessionIdError
from agents_sessions.model.entries import timestamp
from agents_sessions.model.history import invalid_fields
from agents_sessions.model.ids import check_key, check_sidecar_name
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import decode_json, encode_json

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.lossless_json import Json, JsonObject

NAME = "agents-sessions-export"
VERSION = 1
FORMAT = f"{NAME}/{VERSION}"

HISTORY_OPENS = b'"history":[\n'
"""How the first line of the `json` form ends."""

_lines = msgspec.json.Encoder()


class Writer(Protocol):
    """Writes one session in some format, a piece at a time."""

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:
        """Return what stands before the history."""

    def page(self, entries: list[Entry]) -> bytes:
        """Return some more entries."""

    def end(self, money: str = "") -> bytes:
        """Return what stands behind the history. `money` says what the session has cost, where it is for people."""


class JsonlWriter:
    """Writes the document as lines."""

    def __init__(self) -> None:
        self._entries = 0

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:  # noqa: D102
        return encode_json(header_of(info, sidecars, left_out)) + b"\n"

    def page(self, entries: list[Entry]) -> bytes:  # noqa: D102
        self._entries += len(entries)
        return encode_lines(entries)

    def end(self, money: str = "") -> bytes:  # noqa: D102
        return encode_json({"end": True, "entries": self._entries}) + b"\n"


class JsonWriter:
    """Writes the document as one JSON object."""

    def __init__(self) -> None:
        self._entries = 0

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:  # noqa: D102
        return encode_json(header_of(info, sidecars, left_out))[:-1] + b"," + HISTORY_OPENS

    def page(self, entries: list[Entry]) -> bytes:  # noqa: D102
        between = b",\n" if self._entries else b""
        self._entries += len(entries)
        return between + encode_lines(entries)[:-1].replace(b"\n", b",\n")

    def end(self, money: str = "") -> bytes:  # noqa: D102
        return (b"\n" if self._entries else b"") + b'],"entries":%d}\n' % self._entries


def header_of(info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> JsonObject:
    """Return all of a document but its history."""
    header: JsonObject = {"format": FORMAT, "session": info.header(), "seq": info.seq}
    header["updated_at"] = timestamp(info.updated_at)
    if left := list(left_out):
        header["left_out"] = cast("list[Json]", left)
    if sidecars:
        header["sidecars"] = {name: cast("JsonObject", text_of_bytes(data)) for name, data in sidecars.items()}
    return header


def encode_lines(entries: list[Entry]) -> bytes:
    """Return entries as JSON, a line each."""
    try:
        return _lines.encode_lines(entries)
    except (UnicodeEncodeError, TypeError):  # a lone surrogate
        return b"".join(encode_json(entry) + b"\n" for entry in entries)


def text_of_bytes(data: bytes) -> dict[str, str]:
    """Return bytes as JSON data: their text, or base64 where they are no text."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the history of a document."""

    info: SessionInfo
    sidecars: dict[str, bytes]
    left_out: tuple[str, ...] = ()


class JsonlReader:
    """Reads the document from lines. Its first line is the header, and every other one goes to `entry`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._entries = 0
        self._ended = False

    def header(self, line: bytes) -> Header:
        """Return what the first line says.

        Raises:
            ImportRefusedError: It is no header.
        """
        return parse_header(decode_object(line, self.source, 1), self.source)

    def entry(self, line: bytes, number: int) -> Entry | None:
        """Return the entry of a line, or None for the one that says that the history ends.

        Raises:
            ImportRefusedError: It is neither.
        """
        value = decode_object(line, self.source, number)
        if "item" in value or "record" in value or value.get("end") is not True:
            return self._counted(value, number)
        self._end(value, number)
        return None

    def close(self) -> None:
        """Refuse a document whose end is missing."""
        if not self._ended:
            raise ImportRefusedError(self.source, f"breaks off after {self._entries} entries: its last line is missing")

    def _counted(self, value: dict[str, Any], number: int) -> Entry:
        if self._ended:
            raise ImportRefusedError(self.source, "stands behind the end of the session", line=number)
        self._entries += 1
        return entry_of(value, self.source, number)

    def _end(self, value: dict[str, Any], number: int) -> None:
        self._ended = True
        check_count(value, self._entries, self.source, number)


class JsonReader(JsonlReader):
    """Reads the document from one JSON object with an entry on each line, as `JsonWriter` writes it."""

    def header(self, line: bytes) -> Header:  # noqa: D102
        return parse_header(decode_object(line.rstrip() + b"]}", self.source, 1), self.source)

    def entry(self, line: bytes, number: int) -> Entry | None:  # noqa: D102
        if line[:1] != b"]":
            return self._counted(decode_object(line.strip(b", \r"), self.source, number), number)
        self._end(decode_object(b"{" + line[1:].lstrip(b","), self.source, number), number)
        return None


def whole_document(value: Mapping[str, Any], source: str) -> tuple[Header, list[Entry]]:
    """Return header and entries of a document that was read as a whole, however it is laid out.

    Raises:
        ImportRefusedError: It is none.
    """
    history = value.get("history")
    if not isinstance(history, list):
        raise ImportRefusedError(source, "is missing or no list", field="history")
    check_count(value, len(history), source)
    return parse_header(value, source), [entry_of(entry, source) for entry in history]


def decode_object(line: bytes, source: str, number: int | None = None) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        ImportRefusedError: It is none.
    """
    try:
        value = decode_json(line)
    except ValueError as error:
        reason = f"is {error}".replace(" at line 1, ", " at ")
        raise ImportRefusedError(source, reason, line=number) from None
    if not isinstance(value, dict):
        raise ImportRefusedError(source, f"holds a {type(value).__name__!r}, not an object", line=number)
    return value


def entry_of(value: object, source: str, number: int | None = None) -> Entry:
    """Return a value as an entry.

    Raises:
        ImportRefusedError: It is none.
    """
    if isinstance(value, dict) and ("item" in value or "record" in value):
        return cast("Entry", value)
    raise ImportRefusedError(source, "is no entry: it has neither an item nor a record", line=number)


def check_count(value: Mapping[str, Any], entries: int, source: str, line: int | None = None) -> None:
    """Refuse a document that does not hold as many entries as its end says."""
    claimed = value.get("entries", entries)
    if claimed != entries:
        reason = f"there are {entries} entries, and the end says {claimed!r:.20}; if that is meant, correct the end"
        raise ImportRefusedError(source, reason, line=line or None, field="entries")


def parse_header(value: Mapping[str, Any], source: str) -> Header:
    """Return the header of a document.

    Raises:
        ImportVersionError: A newer version wrote it.
        ImportRefusedError: It is none, or a field has a value that it cannot have.
    """
    check_format(value.get("format"), source)
    facts = value.get("session")
    if not isinstance(facts, dict):
        raise ImportRefusedError(source, "is missing or no object", field="session")
    given = {name: value[name] for name in ("seq", "updated_at") if name in value}
    left_out = value.get("left_out", [])
    if not isinstance(left_out, list):
        raise ImportRefusedError(source, "is no list", field="left_out")
    sidecars = sidecars_of(value.get("sidecars", {}), source)
    return Header(make_info({**facts, **given}, source), sidecars, tuple(map(str, left_out)))


def check_format(name: object, source: str) -> None:
    """Refuse what is no document of ours, or one of a newer version."""
    kind, _, version = str(name).partition("/")
    if kind != NAME or not version.isdecimal():
        raise ImportRefusedError(source, f"is not {FORMAT!r}", field="format")
    if int(version[:9]) > VERSION:
        raise ImportVersionError(source, f"{name!r:.40} is of a newer version: update agents-sessions", field="format")


def make_info(facts: Mapping[str, Any], source: str) -> SessionInfo:
    """Return a session, given its facts.

    Raises:
        ImportRefusedError: One does not fit. The error names the fields and shows no value.
    """
    try:
        info = SessionInfo.model_validate(dict(facts))
        check_key(info.key)
    except ValidationError as error:
        fields = invalid_fields(error)
    except SessionIdError as error:
        raise ImportRefusedError(source, str(error), field=error.what) from None
    else:
        return info
    raise ImportRefusedError(source, "has a value that it cannot have", field=fields)


def sidecars_of(found: object, source: str) -> dict[str, bytes]:
    """Return sidecars as bytes.

    Raises:
        ImportRefusedError: A name or a value is invalid.
    """
    if not isinstance(found, dict):
        raise ImportRefusedError(source, "is no object", field="sidecars")
    return {name: _sidecar(name, value, source) for name, value in found.items()}


def _sidecar(name: str, value: object, source: str) -> bytes:
    try:
        check_sidecar_name(name)
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            return cast("str", value["text"]).encode()
        if isinstance(value, dict) and isinstance(value.get("base64"), str):
            return base64.b64decode(value["base64"], validate=True)
    except (ValueError, binascii.Error) as error:
        reason = str(error) if isinstance(error, SessionIdError) else "has an invalid name or value"
        raise ImportRefusedError(source, reason, field=f"sidecars.{name}") from None
    raise ImportRefusedError(source, "has neither a `text` nor a `base64`", field=f"sidecars.{name}")
