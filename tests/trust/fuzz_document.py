"""Throw broken files at the code that reads them: `make fuzz`.

    python tests/trust/fuzz_document.py [executions] [seed]

One execution makes one broken file from a good one and checks that it is read whole, recovered or refused as damage,
that nothing else is raised, and that what was read can be written, appended to and read again. A file that breaks
this is kept in `tests/trust/cases`, where the suite tries it for ever.
"""

import copy
import json
import os
import random
import re
import secrets
import sys
import time
import zlib
from multiprocessing import Process, Queue
from pathlib import Path

from agents_sessions.errors import InvalidItemError, InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, parse_time, record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.append import plan_append
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.header import Damage, NewerFormat
from agents_sessions.stores.file.format.lines import encode_entry
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_items, read_newest, read_sealed
from agents_sessions.stores.file.queries import standing_of
from agents_sessions.stores.transitions import appended, check_new

CASES = Path(__file__).parent / "cases"
AT = "2026-11-20T21:29:00.456Z"
REFUSED = (Damage, NewerFormat)

# --- good files ------------------------------------------------------------------------------------------------

ROW = {
    "requests": 1,
    "input_tokens": 30,
    "cached_tokens": 4,
    "output_tokens": 12,
    "reasoning_tokens": 3,
    "total_tokens": 42,
}
MESSAGE = item_entry({"role": "user", "content": "Wo ist es? \u2028 é \U0001f600"})
CALL = item_entry({"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}, agent="a", turn="r1")
OUTPUT = item_entry({"type": "function_call_output", "call_id": "c1", "output": "x" * 600}, agent="a", turn="r1")
ODD = item_entry({"role": "user", "content": "\ud800", "n": [2**70, 1.5, None, True, {"deep": [[[{}]]]}]})
USAGE = record_entry({"type": "usage", "requests": [{**ROW, "agent": "a", "model": "m"}]}, agent="a", turn="r1")
HANDOFF = record_entry({"type": "handoff", "from": "a", "to": "b"}, agent="a", turn="r1")
RUN = record_entry(
    {"type": "turn", "status": "completed", "usage": ROW, "duration_ms": 7, "last_agent": "b"}, agent="b", turn="r1"
)
FACTS = {"id": "order-42", "agent_id": "support", "user_id": None, "name": "Zoë", "status": "active",
         "session_type": "user", "metadata": {"tags": ["x"]}, "created_at": AT, "more": [1]}  # fmt: skip


def reader(data):
    return lambda offset, length: bytearray(data[offset : offset + length])


def new_file(entries=(), **facts):
    numbered = [{"at": AT, **entry, "seq": number} for number, entry in enumerate(entries, 1)]
    totals = fold(ContextStats(), numbered)
    return bytes(encode_document(Document({**FACTS, **facts}, numbered, len(numbered), totals, AT)))


def planned(sealed, entries, at):
    after = appended(SessionKey("support", "order-42"), standing_of(sealed.tail), entries, parse_time(at))
    return plan_append(sealed, [encode_entry(entry, at) for entry in entries], after.standing)


def grown(data, batch):
    sealed = read_sealed(reader(data), len(data))
    plan = planned(sealed, batch, AT)
    return data[: plan.offset] + plan.data + data[plan.offset + len(plan.data) :]


def good_files():
    one = grown(new_file([MESSAGE]), [CALL, OUTPUT])
    long = grown(grown(one, [USAGE, HANDOFF]), [item_entry({"role": "assistant", "content": "y" * 300}), RUN])
    odd = grown(new_file([ODD, MESSAGE]), [ODD])
    edited = json.dumps(json.loads(long), indent=1, ensure_ascii=False).encode()
    return [new_file(), one, long, odd, grown(new_file(), [MESSAGE, CALL]), edited]


GOOD = good_files()

# --- broken ones -----------------------------------------------------------------------------------------------

ODD_VALUES = (None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, 2**70, 10**4299, -(10**40), 1.5, 1e308, "", "x", "2",
              "\ud800", "\0", "agents-sessions/2", "0001-01-01", "2026-11-20", "9999-12-31T23:59:59-23:59", [], {},
              [[]], {"": None}, [None], {"type": "usage"}, {"type": "turn"}, {"type": "handoff"},
              {"role": 5, "type": []})  # fmt: skip
TOKENS = (b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\t", b"\0", b"null", b"-", b"1e999", b"\\ud800",
          b"\xff", b"\xef\xbb\xbf", b'],"context":', b'\n],"context":', b',"crc":"', b'"history":[\n', b'"seq":',
          b'"item":{}', b"[" * 2000, b'{"a":' * 300, b"9" * 5000)  # fmt: skip


def somewhere(data, chance):
    """Return a place in a file, rarely one in its padding."""
    end = data.rfind(b"}") + 8 if chance.random() < 0.9 else len(data)
    return chance.randrange(min(end, len(data)) + 1)


def cut(data, chance):
    return data[: somewhere(data, chance)]


def change_byte(data, chance):
    place = somewhere(data, chance)
    return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def remove(data, chance):
    place = somewhere(data, chance)
    return data[:place] + data[place + chance.choice((1, 2, 7, 100, 512)) :]


def insert(data, chance):
    place = somewhere(data, chance)
    return data[:place] + chance.choice(TOKENS) + data[place:]


def zero(data, chance):
    place, size = somewhere(data, chance) // 512 * 512, chance.choice((512, 512, 4096))
    return data[:place] + chance.choice((b"\0", b"\t")) * len(data[place : place + size]) + data[place + size :]


def copy_within(data, chance):
    source, place, size = (somewhere(data, chance) for _ in range(3))
    return data[:place] + data[source : source + size % 700] + data[place + chance.choice((0, size % 700)) :]


def from_another(data, chance):
    other, place = chance.choice(GOOD), somewhere(data, chance)
    return data[:place] + other[place : place + 512] + data[place + chance.choice((0, 512)) :]


def move_lines(data, chance):
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif how == 1:
        lines.insert(first, lines[second])
    elif how == 2:
        del lines[first]
    else:
        lines.insert(first, chance.choice(chance.choice(GOOD).splitlines(keepends=True) or [b""]))
    return b"".join(lines)


def line_ends(data, chance):
    return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"", b"\n\n")))


def encode_as(data, chance):
    return data.decode("utf-8", "replace").encode(
        chance.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1")), "replace"
    )


AT_ONE_PLACE = (cut, change_byte, change_byte, remove, insert, zero, copy_within)
"""Changes that leave all that stands in front of one place."""

BYTES = (*AT_ONE_PLACE, from_another, move_lines, line_ends, encode_as)


def odd_value(chance):
    return copy.deepcopy(chance.choice(ODD_VALUES))


def change_value(value, chance):
    """Change one value somewhere inside JSON."""
    inner = [value]
    places = []
    while inner:
        container = inner.pop()
        for name in container if isinstance(container, dict) else range(len(container)):
            places.append((container, name))
            if isinstance(container[name], (dict, list)):
                inner.append(container[name])
    if places:
        container, name = chance.choice(places)
        how = chance.randrange(6)
        if how == 0 and isinstance(container, dict):
            del container[name]
        elif how == 1 and isinstance(container, dict):
            container[chance.choice(("seq", "k", "n", "item", "record", "type", "salt", "history", "at", "\ud800"))] = (
                odd_value(chance)
            )
        else:
            container[name] = odd_value(chance)


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=chance_of_ascii(value)).encode(
        "utf-8", "surrogatepass"
    )


def chance_of_ascii(value):
    return "\\ud" in json.dumps(value)


def lie(data, chance):
    """Change values and prove them with checksums: what an attacker writes, or a program with a fault."""
    whole = json.loads(data)
    for _ in range(chance.randrange(1, 4)):
        change_value(whole, chance)
    if not isinstance(whole.get("history"), list):
        return dump(whole)
    return sealed_anew(whole, tail=chance.random() < 0.8)


def sealed_anew(whole, *, tail=True):
    """Return a file of our layout around any values, with checksums that hold."""
    facts = {name: value for name, value in whole.items() if name not in ("history", "context", "updated_at", "seal")}
    header = dump(facts)[:-1] + b',"history":[\n'
    try:
        salt = int(str(facts["salt"]), 16) & 0xFFFFFFFF
    except (KeyError, ValueError):
        salt = 0
    lines = b"".join(line_of(entry, place, salt) for place, entry in enumerate(whole["history"]))
    seal = whole.get("seal")
    last = lines[lines[:-1].rfind(b"\n") + 1 :]
    end = len(header) + len(lines)
    if isinstance(seal, dict):
        places = {"body": len(header), "start": end - len(last), "end": end}
        # Where a number was not changed on purpose, it is the right one.
        seal = {name: places.get(name, value) if type(value) is int else value for name, value in seal.items()}
    rest = {"context": whole.get("context"), "updated_at": whole.get("updated_at"), "seal": seal}
    text = b"]," + dump(rest)[1:]
    crc = text.rfind(b',"crc":"')
    if crc < 0 or not tail:
        return header + lines + text[: len(text) // (1 if tail else 2)]
    text = text[:crc] + b',"crc":"%08x"}}\n' % zlib.crc32(text[:crc], zlib.crc32(last, zlib.crc32(header)))
    return header + lines + text


def line_of(entry, place, salt):
    text = dump(entry)
    match = re.search(rb',"crc":"[^"]*",', text)
    if match is not None:
        head, rest = text[: match.start()], text[match.end() :] + b"\n"
        text = head + b',"crc":"%08x",' % zlib.crc32(rest, zlib.crc32(head, salt)) + rest[:-1]
    return (b"," if place else b" ") + text + b"\n"


def broken_file(chance):
    """Return a broken file and what was done to it."""
    data = chance.choice(GOOD)
    done = []
    if chance.random() < 0.4:
        done.append("lie")
        data = lie(data, chance)
    if not done or chance.random() < 0.3:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            change = chance.choice(BYTES)
            done.append(change.__name__)
            data = change(data, chance)
    return data, done


# --- one execution ---------------------------------------------------------------------------------------------


def bodies(entries):
    return [entry.get("item", entry.get("record")) for entry in entries]


def execute(data):
    """Read a file in every way; return what became of it. Raises what should never be raised."""
    try:
        decoded = decode_document(data)
    except REFUSED as error:
        decoded, outcome = None, type(error).__name__
    else:
        outcome = decoded.shape
        check_decoded(decoded)
    try:
        sealed = read_sealed(reader(data), len(data))
        if sealed is not None:
            check_sealed(sealed, data, decoded)
    except REFUSED:
        assert decoded is None, "a part of the file is refused where all of it is read"
    return outcome


def check_decoded(decoded):
    """What was read can be written, appended to and read again."""
    try:
        check_new(decoded.entries)  # as a store does before it writes
    except (InvalidItemError, InvalidValueError):
        return
    again = bytes(encode_document(decoded))
    more = decode_document(grown(again, [MESSAGE]))
    assert (more.shape, more.seq) == ("sealed", decoded.seq + 1)
    assert bodies(more.entries) == [*bodies(decoded.entries), MESSAGE["item"]]


def check_sealed(sealed, data, decoded):
    planned(sealed, [MESSAGE], AT)
    newest = read_newest(reader(data), sealed.tail, 2)
    items = read_items(reader(data), sealed.tail)
    if decoded is not None:
        assert items == [entry["item"] for entry in decoded.entries if "item" in entry]
        assert newest == decoded.entries[len(decoded.entries) - len(newest) :]


def run(executions, seed):
    """Return how often each outcome came, and the files that broke the rules."""
    chance = random.Random(seed)
    outcomes, finds = {}, []
    for _ in range(executions):
        data, done = broken_file(chance)
        try:
            outcome = execute(data)
        except Exception as error:
            outcome = "FIND"
            finds.append((data, f"{type(error).__name__}: {str(error)[:200]} after {', '.join(done)}"))
            if len(finds) > 20:
                break
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes, finds


def main():
    executions = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbits(32)
    workers = os.cpu_count() or 1
    begun = time.monotonic()
    results = Queue()
    work = [
        Process(target=lambda s: results.put(run(executions // workers, s)), args=(seed + n,)) for n in range(workers)
    ]
    for each in work:
        each.start()
    found = [results.get() for _ in work]
    for each in work:
        each.join()
    total, finds = {}, []
    for outcomes, some in found:
        finds += some
        for name, count in outcomes.items():
            total[name] = total.get(name, 0) + count
    print(f"{sum(total.values())} executions in {time.monotonic() - begun:.0f} s, seed {seed}: {total}")
    for data, what in finds:
        CASES.mkdir(exist_ok=True)
        path = CASES / f"{zlib.crc32(data):08x}.bin"
        path.write_bytes(data)
        print(f"{path.name}: {what}")
    sys.exit(bool(finds))


if __name__ == "__main__":
    main()
