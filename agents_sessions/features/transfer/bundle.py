"""Many sessions in one zip, with a manifest that says what is in it and has the SHA-256 of each.

::

    support/order-42.jsonl      each session as it is exported alone
    sales/….jsonl
    manifest.json               {"format":"agents-sessions-archive/1","sessions":[{"file":…,"sha256":…,…}]}

It is written and read as a stream. Names of members are never paths of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import ImportLimitError, ImportRefusedError, ImportVersionError, SessionNotFoundError
from agents_sessions.features.transfer.exporting import report_of
from agents_sessions.features.transfer.files import CHUNK, new_file
from agents_sessions.features.transfer.sources import FileSource, Source
from agents_sessions.features.transfer.values import SUFFIX_OF, ExportFormat, ExportReport
from agents_sessions.model.entries import timestamp
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.stores.file.names import encode_name

if TYPE_CHECKING:
    from pathlib import Path

    from agents_sessions.features.transfer.exporting import Outgoing
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.lossless_json import Json, JsonObject

NAME = "agents-sessions-archive"
VERSION = 1
MANIFEST = "manifest.json"

_LEVEL = 4  # of deflate: half the time of its default, for a twentieth more bytes
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)
"""What `zipfile` raises at a file that is damaged, encrypted or packed in another way."""


# --- writing -----------------------------------------------------------------------------------------------------


class _Sink:
    """Takes what a zip writes, until someone puts it into a file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        """Return what was written since the last time."""
        found = b"".join(self._parts)
        self._parts.clear()
        return found


async def export_bundle(
    outgoing: Outgoing, keys: Sequence[SessionKey], path: Path, format_name: ExportFormat, *, overwrite: bool
) -> ExportReport:
    """Write sessions to a zip, which appears whole or not at all. One that has gone meanwhile is reported."""
    missing: list[str] = []
    async with new_file(path, overwrite=overwrite) as file:
        async with contextlib.aclosing(_pieces(outgoing, keys, format_name, missing)) as pieces:
            async for piece in pieces:
                await file.write(piece)
    return report_of(outgoing, path, tuple(missing))


async def _pieces(
    outgoing: Outgoing, keys: Sequence[SessionKey], format_name: ExportFormat, missing: list[str]
) -> AsyncGenerator[bytes, None]:
    sink = _Sink()
    rows: list[Json] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:  # type: ignore[call-overload]
        for key in keys:
            pieces = outgoing.pieces(key, format_name)
            try:
                first = await anext(pieces)
            except SessionNotFoundError:
                missing.append(key.session_id)
                continue
            name = f"{encode_name(key.agent_id)}/{encode_name(key.session_id)}{SUFFIX_OF[format_name]}"
            before, digest = outgoing.tally.entries, hashlib.sha256()
            with archive.open(name, "w") as member:
                await asyncio.to_thread(_add, member, digest, first)
                async for piece in pieces:
                    await asyncio.to_thread(_add, member, digest, piece)
                    yield sink.take()
            rows.append(_row(key, name, outgoing.tally.entries - before, digest.hexdigest()))
        archive.writestr(MANIFEST, encode_json(_manifest(format_name, rows)))
    yield sink.take()


def _add(member: Any, digest: Any, piece: bytes) -> None:
    digest.update(piece)
    member.write(piece)


def _row(key: SessionKey, name: str, entries: int, digest: str) -> JsonObject:
    return {"file": name, "agent_id": key.agent_id, "id": key.session_id, "entries": entries, "sha256": digest}


def _manifest(format_name: str, rows: list[Json]) -> JsonObject:
    return {"format": f"{NAME}/{VERSION}", "created_at": timestamp(), "members": format_name, "sessions": rows}


# --- reading -----------------------------------------------------------------------------------------------------


class MemberSource(Source):
    """One session of an archive. Its checksum is compared when it has been read to its end."""

    def __init__(self, archive: zipfile.ZipFile, within: FileSource, name: str, sha256: str | None) -> None:
        super().__init__(f"{within.name}, member {name!r:.200}", within.limits)
        self._archive = archive
        self._member = name
        self._sha256 = sha256

    async def chunks(self) -> AsyncGenerator[bytes, None]:  # noqa: D102
        digest = hashlib.sha256()
        with _refused(self.name):
            member = await asyncio.to_thread(self._archive.open, self._member)
        with member:
            while chunk := await asyncio.to_thread(self._read, member):
                digest.update(chunk)
                yield chunk
        if self._sha256 is not None and digest.hexdigest() != self._sha256:
            raise ImportRefusedError(self.name, "does not have the checksum that the manifest says")

    def _read(self, member: Any) -> bytes:
        with _refused(self.name):
            found: bytes = member.read(CHUNK)
            return found


class Bundle:
    """An archive that was opened. `members` are its sessions; it must be closed."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        with _refused(source.name):
            self._archive = zipfile.ZipFile(source.path)
        try:
            self.members = self._members()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _members(self) -> list[MemberSource]:
        infos = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}
        self._check(infos)
        rows = self._rows(infos)
        limit = self._source.limits.max_sessions
        if len(rows) > limit:
            raise ImportLimitError(self._source.name, f"it has more than {limit:,} sessions (max_sessions)")
        return [MemberSource(self._archive, self._source, name, sha256) for name, sha256 in rows]

    def _check(self, infos: dict[str, zipfile.ZipInfo]) -> None:
        limits = self._source.limits
        if sum(info.file_size for info in infos.values()) > limits.max_bytes:  # `zipfile` reads no more than it says
            raise ImportLimitError(self._source.name, f"it unpacks to more than {limits.max_bytes:,} bytes (max_bytes)")
        packed = {info.compress_type for info in infos.values()}
        if not packed <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ImportRefusedError(self._source.name, "is packed in a way that is not read; use deflate")

    def _rows(self, infos: dict[str, zipfile.ZipInfo]) -> list[tuple[str, str | None]]:
        """Return the names of the members that are sessions, with their checksums where a manifest has them."""
        if MANIFEST not in infos:
            found = sorted(name for name in infos if name.lower().endswith((".json", ".jsonl")))
            if not found:
                raise ImportRefusedError(self._source.name, "holds no session: no manifest, no .json and no .jsonl")
            return [(name, None) for name in found]
        return [self._row(row, infos) for row in self._manifest(infos[MANIFEST])]

    def _manifest(self, info: zipfile.ZipInfo) -> list[Any]:
        place = f"{self._source.name}, {MANIFEST}"
        if info.file_size > self._source.limits.max_whole_bytes:
            raise ImportLimitError(
                place, f"has more than {self._source.limits.max_whole_bytes:,} bytes (max_whole_bytes)"
            )
        with _refused(place):
            manifest = decode_json(self._archive.read(info))
        name, _, version = str(manifest.get("format") if isinstance(manifest, dict) else "").partition("/")
        if name != NAME or not version.isdecimal():
            raise ImportRefusedError(place, f"is not '{NAME}/{VERSION}'", field="format")
        if int(version[:9]) > VERSION:
            raise ImportVersionError(place, "it is of a newer version: update agents-sessions", field="format")
        rows = manifest.get("sessions")
        if not isinstance(rows, list):
            raise ImportRefusedError(place, "is missing or no list", field="sessions")
        return rows

    def _row(self, row: Any, infos: dict[str, zipfile.ZipInfo]) -> tuple[str, str | None]:
        name, sha256 = (row.get("file"), row.get("sha256")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(sha256, str):
            raise ImportRefusedError(f"{self._source.name}, {MANIFEST}", "has a session without file or sha256")
        if name not in infos:
            raise ImportRefusedError(self._source.name, f"lacks {name!r:.200}, which its manifest names")
        return name, sha256


@contextlib.contextmanager
def _refused(place: str) -> Iterator[None]:
    try:
        yield
    except ImportRefusedError:
        raise
    except _BROKEN as error:
        reason = f"cannot be unpacked ({type(error).__name__})"
    else:
        return
    raise ImportRefusedError(place, reason)
