"""Files and ids that someone else made: each is read, repaired with the original kept, or refused as what it is."""

import asyncio
import contextlib
import json
import os
import random
import secrets
import subprocess
import sys
import textwrap
import time
import tracemalloc

import fuzz_document as fuzz
import pytest
from fuzz_document import CALL, GOOD, HANDOFF, MESSAGE, OUTPUT, RUN, USAGE, grown, new_file
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_sessions.context import ContextStats, fold
from agents_sessions.entries import item_entry
from agents_sessions.errors import (
    InvalidItemError,
    SessionCorruptedError,
    SessionError,
    SessionIdError,
    SessionPathError,
    SessionVersionError,
)
from agents_sessions.info import SessionInfo, SessionKey
from agents_sessions.stores import file_document as document
from agents_sessions.stores import file_recovery as recovery
from agents_sessions.stores.file_store import FileStore

KEY = SessionKey("support", "order-42")
FILE = grown(grown(new_file([MESSAGE]), [CALL, OUTPUT]), [USAGE, HANDOFF, RUN])
REFUSALS = (SessionCorruptedError, SessionVersionError, SessionPathError, InvalidItemError)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions", durability="process")


@pytest.fixture
def path(store):
    path = store.path(KEY)
    path.parent.mkdir(parents=True)
    return path


def bodies(entries):
    return [entry.get("item", entry.get("record")) for entry in entries]


async def visit(store):
    """Use a session in every way; return its history, or None and what refused it."""
    told = []
    for act in (
        lambda: store.load(KEY),
        lambda: store.items(KEY),
        lambda: store.items(KEY, last=2),
        lambda: store.entries(KEY, after=1),
        lambda: store.entries(KEY),
    ):
        try:
            found = await asyncio.wait_for(act(), 20)
        except REFUSALS as error:
            told.append(error)
    assert [info.key async for info in store.scan()] in ([], [KEY])
    return (None, told) if told else (found, told)


async def write(store):
    """Append and rewrite; return which of it was done, or None if all was."""
    done = []
    try:
        await store.append(KEY, [MESSAGE])
        done.append("append")
        info = await store.rewrite(KEY, lambda history: history.with_facts(name="new"))
        entries = await store.entries(KEY)
        assert bodies(entries)[-1] == MESSAGE["item"]
        assert info.context == fold(ContextStats(), entries)
    except REFUSALS:  # what is damaged in its middle is appended to, which reads the end only
        return done
    return None


def survive(store, path, data):
    """Hold a file against the promises of this page, and return the history that was read of it, or None."""

    async def work():
        path.write_bytes(data)
        found, _ = await visit(store)
        assert path.read_bytes() == data, "a reader wrote"
        refused = await write(store)
        if refused is None:
            return found
        assert "append" in refused or path.read_bytes() == data, "what is refused is not touched"
        return None

    return asyncio.run(work())


# --- the file --------------------------------------------------------------------------------------------------


def test_a_file_cut_at_any_byte_is_a_prefix_of_whole_batches_or_damage(store, path):
    """A cut looks like a torn append, whoever made it: what stands whole in front of it is kept, and the file too."""
    whole = bodies(recovery.decode_document(FILE).entries)
    batches = [whole[:1], whole[:3], whole]
    ends = [FILE.index(b"\n,{") + 1, FILE.index(b"\n,{", FILE.index(b'"k":2')) + 1, FILE.rindex(b"\n],") + 1]

    async def work():
        for cut in range(0, len(FILE), 5):
            path.write_bytes(FILE[:cut])
            found, told = await visit(store)
            kept = [batch for batch, end in zip(batches, ends, strict=True) if end <= cut]
            if found is None:
                assert all(isinstance(error, SessionCorruptedError) for error in told)
                assert cut < len(FILE.split(b"\n")[0]) + 1
            else:
                assert bodies(found) == (kept[-1] if kept else [])
                assert await write(store) is None
                asides = list(path.parent.glob("*.torn-*"))
                assert [aside.read_bytes() for aside in asides] == ([FILE[:cut]] if cut <= FILE.rindex(b"}") else [])
                for aside in asides:
                    aside.unlink()

    asyncio.run(work())


def lines_of(data):
    return data.splitlines(keepends=True)


def with_lines(change):
    lines = lines_of(FILE)
    change(lines)
    return b"".join(lines)


OTHER = grown(grown(new_file([MESSAGE], id="order-43"), [CALL, OUTPUT]), [MESSAGE])
OLDER = grown(new_file([MESSAGE]), [CALL, OUTPUT])


def swap(lines):
    lines[2], lines[4] = lines[4], lines[2]


DAMAGED = {
    "first block zero": bytes(512) + FILE[512:],
    "all zero": bytes(len(FILE)),
    "middle block zero": FILE[:1024] + bytes(512) + FILE[1536:],
    "another's first line": with_lines(lambda lines: lines.__setitem__(0, lines_of(OTHER)[0])),
    "header twice": with_lines(lambda lines: lines.insert(0, lines[0])),
    "newer": FILE.replace(b"agents-sessions/1", b"agents-sessions/2"),
    "deep": FILE.replace(b'"metadata":{', b'"metadata":{"x":' + b"[" * 150 + b"]" * 150 + b","),
    "deeper": b'{"format":"agents-sessions/1","history":' + b"[" * 500_000,
    "UTF-16": FILE.decode().encode("utf-16"),
    "UTF-32": FILE.decode().encode("utf-32"),
    "Latin-1": FILE.decode().encode("latin-1", "replace").replace(b"Zo\xeb", b"Zo\xeb\xff"),
    "invalid UTF-8 in the header": FILE.replace(b"Zo", b"\xff\xfe"),
    "half an emoji": FILE.replace("😀".encode(), "😀".encode()[:2]),
    "an archive": b"PK\x03\x04" + bytes(range(256)) * 50,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_refused_and_the_file_is_not_touched(store, path, name):
    assert survive(store, path, DAMAGED[name]) is None
    assert path.read_bytes() == DAMAGED[name]


READ = {
    "lines swapped": (with_lines(swap), 6),
    "a line twice": (with_lines(lambda lines: lines.insert(2, lines[2])), 7),
    "a line of another file": (with_lines(lambda lines: lines.insert(2, lines_of(OTHER)[2])), 7),
    "a line removed": (with_lines(lambda lines: lines.pop(3)), 5),
    "wrong checksums": (FILE.replace(b'"crc":"', b'"crc":"x'), 6),
    "the tail of an older state": (b"".join([*lines_of(FILE)[:-1], lines_of(OLDER)[-1]]), 6),
    "the tail of another file": (b"".join([*lines_of(FILE)[:-1], lines_of(OTHER)[-1]]), 6),
    "keys twice": (FILE.replace(b'"agent_id":', b'"name":"1","agent_id":').replace(b'"role":', b'"role":1,"role":'), 6),
    "Windows line ends": (FILE.replace(b"\n", b"\r\n"), 6),
    "a byte order mark": (b"\xef\xbb\xbf" + FILE, 6),
    "pretty": (json.dumps(json.loads(FILE), indent=4).encode(), 6),
    "sorted": (json.dumps(json.loads(FILE), sort_keys=True).encode(), 6),
    "no tail": (json.dumps({k: v for k, v in json.loads(FILE).items() if k not in ("seal", "context")}).encode(), 6),
    "an older format": (FILE.replace(b"agents-sessions/1", b"agents-sessions/0"), 6),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_json_that_a_person_changed_is_read_with_every_entry_in_it(store, path, name):
    data, count = READ[name]
    assert len(survive(store, path, data)) == count


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_values_of_any_type_under_checksums_that_hold_are_read_or_refused(tmp_path_factory, seed):
    chance = random.Random(seed)
    store = FileStore(tmp_path_factory.mktemp("lie"), durability="process")
    path = store.path(KEY)
    path.parent.mkdir()
    survive(store, path, fuzz.lie(chance.choice(GOOD), chance))


def test_twenty_thousand_broken_files_are_read_or_refused():
    seed = int(os.environ.get("FUZZ_SEED", secrets.randbits(32)))
    print("FUZZ_SEED", seed)
    outcomes, finds = fuzz.run(int(os.environ.get("FUZZ_EXECUTIONS", "20000")), seed)
    assert not finds, [what for _, what in finds]
    assert {"sealed", "edited", "torn", "Damage", "NewerFormat"} <= outcomes.keys()


@pytest.mark.parametrize("case", sorted(fuzz.CASES.glob("*.bin")), ids=lambda case: case.stem)
def test_what_fuzzing_found_once_stays_found(case):
    fuzz.execute(case.read_bytes())


def test_a_line_that_was_damaged_is_never_dropped_in_silence():
    """Whatever the broken file is: batches that stand in front of the first broken byte are read, or it is refused."""
    chance = random.Random(7)
    whole = recovery.decode_document(FILE).entries
    opens = FILE.index(b"\n") + 1
    ends = [opens, *(opens + len(b"".join(lines_of(FILE)[1:n])) for n in (2, 4, 7))]
    for _ in range(3000):
        data = chance.choice(fuzz.BYTES[:7])(FILE, chance)
        try:
            decoded = recovery.decode_document(data)
        except (document.Damage, document.NewerFormat):
            continue
        if decoded.shape == "torn":
            intact = next(
                (n for n, (a, b) in enumerate(zip(data, FILE, strict=False)) if a != b), min(len(data), len(FILE))
            )
            count = max([n for n, end in zip((0, 1, 3, 6), ends, strict=True) if end <= intact], default=0)
            assert bodies(decoded.entries)[:count] == bodies(whole)[:count]


# --- size ------------------------------------------------------------------------------------------------------

MIB = 1 << 20

MEASURE = """
    import asyncio, re, sys, time
    from agents_sessions.errors import SessionError
    from agents_sessions.info import SessionKey
    from agents_sessions.stores.file_store import FileStore

    def peak():  # not ru_maxrss, which a process inherits from its parent
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

    store, key = FileStore(sys.argv[1]), SessionKey("support", "order-42")
    begun, before = time.monotonic(), peak()
    told = []
    for act in (store.load, store.items, lambda key: store.append(key, [{"item": {}}])):
        try:
            asyncio.run(act(key))
        except SessionError as error:
            told.append(type(error).__name__)
    print(*told, (peak() - before) * 1024, time.monotonic() - begun)
"""


without_proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peaks of memory are read from /proc")


def measure(store):
    """Return the errors, the growth of the peak of memory and the seconds of opening a session in a new process."""
    source = textwrap.dedent(MEASURE)
    done = subprocess.run(
        [sys.executable, "-c", source, str(store.root)], capture_output=True, text=True, timeout=120, check=True
    )
    *told, grew, took = done.stdout.split()
    return told, int(grew), float(took)


@without_proc
def test_a_gigabyte_of_nothing_is_refused_without_reading_it(store, path):
    with path.open("wb") as file:
        file.truncate(1024 * MIB)
    told, grew, took = measure(store)
    assert told == ["SessionCorruptedError"] * 3
    assert grew < 32 * MIB
    assert took < 10


@without_proc
@pytest.mark.parametrize("head", [b"{", b" " * 5000, lines_of(FILE)[0], FILE, FILE + b"\n"])
def test_a_file_that_goes_on_as_zeros_costs_a_few_times_its_size(store, path, head):
    size = 48 * MIB
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    told, grew, took = measure(store)
    assert set(told) <= {"SessionCorruptedError"}
    assert grew < 4 * size
    assert took < 30


BY_HAND = {
    "sealed": bytes,
    "torn": lambda data: data[:-300],
    "edited": lambda data: data.replace(b'"id":"order-42"', b'"name":"Zo","id":"order-42"'),
    "pretty-printed": lambda data: json.dumps(json.loads(data), indent=1).encode(),
}


@pytest.mark.parametrize("change", BY_HAND)
def test_a_conversation_costs_less_than_four_times_its_size_to_read_and_to_mend(store, path, change):
    """Text of a byte a character, as most is. Other text costs what Python's `str` takes: see docs/security.md."""
    data = BY_HAND[change](new_file([item_entry({"role": "user", "content": "Zoë " + "x" * 600})] * 4000))
    path.write_bytes(data)
    for act in (
        store.load,
        store.items,
        lambda key: store.append(key, [MESSAGE]),
        lambda key: store.rewrite(key, named),
    ):
        path.write_bytes(data)
        asyncio.run(store.load(KEY))  # what is only made once is there
        tracemalloc.start()
        asyncio.run(act(KEY))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data)


def named(history):
    return history.with_facts(name="Zo")


def test_many_broken_lines_take_no_longer_than_many_lines(store, path):
    """Recovery looks at each line once: twice the file, twice the time and not four times."""

    def seconds(count):
        data = FILE[: FILE.rindex(b"\n],") + 1] + lines_of(FILE)[2] * count
        begun = time.process_time()
        with contextlib.suppress(document.Damage):
            recovery.decode_document(data)
        return time.process_time() - begun

    seconds(1000)
    assert seconds(40_000) < 12 * seconds(10_000) + 0.2


# --- ids -------------------------------------------------------------------------------------------------------

IDS = [
    "..", ".", "/", "../../etc/passwd", "a/b", "a\\b", "C:\\x", "CON", "nul.json", "x" * 5000, "é" * 200,
    "\u202e\u2066",
    "a\nb", "\r", "\t", " ", "'", '"', "`id`", "$(id)", "%2e%2e", "%00", "a%", "~", "~root", "-rf", "*", "?", "|",
    "\ud800",
    "\udc80", "\U0001f600", "x.json", "x.JSON", ".x.json.turn", ".x.tmp", "x.json.torn-0badf00d", "\x7f", "\x1b[31m",
    "A", "a", "Å", "Å", "ﬁ", "fi", "\ufeff", "x" * 180, "x" * 181,
]  # fmt: skip


def test_ids_of_any_kind_live_side_by_side_below_the_root(tmp_path):
    store = FileStore(tmp_path / "sessions", durability="process")

    async def work():
        for number, one in enumerate(IDS):
            info = SessionInfo(id=one, agent_id=IDS[-number])
            await store.create(info, [item_entry({"content": one})])
            await store.write_sidecar(info.key, "a.json", one.encode("utf-8", "surrogatepass"))
        for number, one in enumerate(IDS):
            key = SessionKey(IDS[-number], one)
            assert await store.items(key) == [{"content": one}]
            assert await store.read_sidecar(key, "a.json") == one.encode("utf-8", "surrogatepass")
        return {info.key async for info in store.scan()}

    assert asyncio.run(work()) == {SessionKey(IDS[-number], one) for number, one in enumerate(IDS)}
    assert os.listdir(tmp_path) == ["sessions"]


@pytest.mark.parametrize("one", ["", "\0", "a\0b", None, 5, b"x", ["x"]])
def test_an_id_that_is_none_is_refused_before_anything_is_touched(tmp_path, one):
    store = FileStore(tmp_path / "sessions")
    for key in (SessionKey("support", one), SessionKey(one, "order-42")):
        with pytest.raises((SessionIdError, TypeError)):
            asyncio.run(store.load(key))
    assert os.listdir(tmp_path) == []


FOREIGN_NAMES = [
    b"%FF.json",
    b"\xff\xfe.json",
    b"%.json",
    b"%zz.json",
    b"~.json",
    b"a b.json",
    b"%2E%2E.json",
    b".json",
]


def test_names_that_no_id_has_do_not_stand_in_the_way(store, path):
    path.write_bytes(FILE)
    folder = os.fsencode(path.with_suffix(""))
    os.mkdir(folder)
    for name in FOREIGN_NAMES:
        for place in (os.fsencode(path.parent), folder):
            with open(place + b"/" + name, "wb") as file:
                file.write(b"x")
        os.makedirs(os.fsencode(store.root) + b"/" + name, exist_ok=True)

    async def work():
        assert [info.key async for info in store.scan()] == [KEY]
        await store.write_sidecar(KEY, "mine.json", b"1")
        assert "mine.json" in await store.list_sidecars(KEY)
        await store.delete(KEY)

    asyncio.run(work())


def test_every_refusal_is_an_error_of_ours():
    assert all(issubclass(error, SessionError) for error in REFUSALS)
