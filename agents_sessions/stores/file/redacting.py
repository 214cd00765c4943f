"""Take text out of the copies of a session that no other operation changes: set aside, and kept beside a repair."""

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import now
from agents_sessions.model.redaction import FoundText, Redaction
from agents_sessions.stores.base import History, redacted
from agents_sessions.stores.codec import PLAIN, SessionCodec
from agents_sessions.stores.file import aside
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.files import SessionFiles
from agents_sessions.stores.file.format.document import encode_document
from agents_sessions.stores.file.layout import names_of
from agents_sessions.stores.file.names import decode_name
from agents_sessions.stores.file.queries import info_of
from agents_sessions.stores.file.writer import document_of
from agents_sessions.stores.transitions import rewritten


class RedactingFiles(SessionFiles):
    """The sessions below a root: see `SessionFiles`."""

    def redact_copies(self, key: SessionKey, redaction: Redaction, *, dry_run: bool) -> list[FoundText]:
        """Take text out of all copies of a session, and return where it was found."""
        names = names_of(key)
        with self._errors(key), self._folder(key) as folder:
            found = self._redact_torn(folder, names.file, redaction, dry_run=dry_run)
            for name in io.hidden_names(folder, prefix=f".{names.file}.", suffix=".aside"):
                parts = aside.parse(name)
                if parts is not None and parts.file == names.file:
                    found += self._redact_aside(key, folder, name, redaction, dry_run=dry_run)
        return found

    def _redact_torn(self, folder: int, file: str, redaction: Redaction, *, dry_run: bool) -> list[FoundText]:
        found = []
        for name in io.names(folder, prefix=f"{file}.torn-"):
            with io.opened(folder, name) as fd:
                data = bytes(io.read_range(fd, 0, io.size_of(fd)))
            after, count = redaction.raw(data) if self.codec is PLAIN else (b"", 1)
            if not count:
                continue
            found.append(FoundText("torn copy", name, count))
            if dry_run:
                continue
            if self.codec is PLAIN:
                atomic.replace(folder, name, after, durable=self._durable)
            else:  # what a codec has hidden in a damaged file no one can read: all of it goes
                atomic.remove(folder, name, durable=self._durable)
        return found

    def _redact_aside(
        self, key: SessionKey, folder: int, name: str, redaction: Redaction, *, dry_run: bool
    ) -> list[FoundText]:
        found: list[FoundText] = []

        def change(history: History) -> History:
            after, found[:] = redacted(history, redaction)
            return after

        with locks.locked(folder, name) as fd:
            seen = io.seen(fd)
            whole = self._decode(key, fd)
            beside = self._redact_beside(key, name, whole.codec, redaction, dry_run=dry_run)
            after = rewritten(History(info_of(whole), whole.entries), change, now())
            if after is not None and not dry_run:
                data = encode_document(document_of(after, whole.codec, after.info.seq))
                atomic.replace(folder, name, data, durable=self._durable, over=seen)
        return [
            FoundText("set aside", f"{name}: {place.kind} {place.name}", place.times) for place in [*found, *beside]
        ]

    def _redact_beside(
        self, key: SessionKey, name: str, codec: SessionCodec, redaction: Redaction, *, dry_run: bool
    ) -> list[FoundText]:
        found = []
        where = (names_of(key).folder, name + aside.FOLDER)
        for sidecar in self._sidecars_in(where):
            *inner, file = sidecar.split("/")
            plain = "/".join(map(decode_name, (*inner, file)))
            with io.directory(self._root, *where, *inner) as folder:
                with io.opened(folder, file) as fd:
                    data = codec.decode_sidecar(plain, bytes(io.read_range(fd, 0, io.size_of(fd))))
                after, count = redaction.data(data)
                if count and not dry_run:
                    atomic.replace(folder, file, codec.encode_sidecar(plain, after), durable=self._durable)
            if count:
                found.append(FoundText("sidecar", plain, count))
        return found

    def _sidecars_in(self, where: tuple[str, ...]) -> list[str]:
        """Return the names of files in a folder of sidecars, as they stand on the disk."""
        try:
            with io.directory(self._root, *where) as folder:
                inner = io.folders(folder)
                found = [name for name in io.names(folder) if name not in inner]
        except FileNotFoundError:
            return []
        for part in inner:
            with io.directory(self._root, *where, part) as folder:
                found += [f"{part}/{name}" for name in io.names(folder)]
        return found
