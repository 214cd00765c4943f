"""Bytes of session files, as the writer makes them: for the tests of what they hold and of what becomes of them."""

import json
from functools import reduce
from zlib import crc32

from builders import said as said  # for who imports the rest from here

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.append import plan_append
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.lines import encode_entry
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_sealed
from agents_sessions.stores.file.queries import standing_of
from agents_sessions.stores.transitions import appended as added

AT = "2026-11-20T21:28:00.123Z"
LATER = "2026-11-20T21:29:00.456Z"
HEADER = {"id": "order-42", "agent_id": "support", "name": "Zoë"}


def reader(data):
    return lambda offset, length: bytearray(data[offset : offset + length])


def new_file(entries=(), *, seq=None, **header):
    numbered = [{"at": AT, **entry, "seq": number} for number, entry in enumerate(entries, 1)]
    newest = len(numbered) if seq is None else seq
    return bytes(encode_document(Document({**HEADER, **header}, numbered, newest, fold(ContextStats(), numbered), AT)))


def planned(data, entries, at=LATER):
    sealed = read_sealed(reader(data), len(data))
    assert sealed is not None
    return plan(sealed, entries, at)


def plan(sealed, entries, at):
    after = added(SessionKey("support", "order-42"), standing_of(sealed.tail), entries, parse_time(at))
    return plan_append(sealed, [encode_entry(entry, at) for entry in entries], after.standing)


def appended(data, entries):
    plan = planned(data, entries)
    return spliced(data, plan.offset, plan.data)


def spliced(data, offset, written):
    return data[:offset] + written + data[offset + len(written) :]


def grown(*batches, start=()):
    return reduce(appended, batches, new_file(start))


def bodies(decoded):
    return [(entry["seq"], entry.get("item", entry.get("record"))) for entry in decoded.entries]


def edited_above(data, old, new):
    assert len(old) == len(new)
    assert data.count(old) == 1
    return data.replace(old, new)


def contents(decoded):
    return [entry["item"]["content"] for entry in decoded.entries]


def forged(data, place, old, new):
    """Return a file with a change in one line, from a place on, whose checksum agrees."""
    begin = data.rindex(b"\n", 0, place) + 1
    end = data.index(b"\n", place) + 1
    line = data[begin:end].replace(old, new)
    assert line != data[begin:end]
    head, _, rest = line[1:].partition(b',"crc":"')
    rest = rest[10:]
    salt = int(json.loads(data[: data.index(b"\n")] + b"]}")["salt"], 16)
    crc = crc32(rest, crc32(head, salt))
    return data[:begin] + line[:1] + b'%s,"crc":"%08x",%s' % (head, crc, rest) + data[end:]


def cut_in_its_tail(data):
    return data[: data.rindex(b'],"context":') + 20]


def contents_without_tail(data):
    return contents(decode_document(cut_in_its_tail(data)))


def spoiled(data, *texts):
    for text in texts:
        data = data.replace(b'"content":"%s"' % text, b'"content":\0%s"' % text)
    return data


def edited(change, *, dump=json.dumps):
    whole = json.loads(grown([said("b")], [said("c"), said("d")], start=[said("a")]))
    change(whole)
    return decode_document(dump(whole).encode())


class Watched:
    """Reads a file, and remembers how much."""

    def __init__(self, data):
        self.data, self.lengths = data, []

    def __call__(self, offset, length):
        self.lengths.append(length)
        return bytearray(self.data[offset : offset + length])
