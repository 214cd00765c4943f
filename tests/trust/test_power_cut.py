"""The power goes at any moment of any operation; whatever the disk then shows is opened again.

`POWER_CUT_STATES=1200000 pytest tests/trust/test_power_cut.py -s` checks about so many states of random appends, and of
every other operation so many times more than the suite does; `TRUST_SEED` repeats a run.
"""

import asyncio
import itertools
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from fuzz_document import planned
from seeds import SEED
from simdisk import RECORDED, File, SimDisk, contents, lay_out
from system_calls import CALLS

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.header import Damage, facts_of, parse_header
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_sealed
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")
AT = "2026-11-20T21:28:00.123Z"
STATES = int(os.environ.get("POWER_CUT_STATES", "12000"))
CONTENTS = max(24, STATES // 600)
"""Contents of one file that are tried per moment of an operation: those of an append have a test of their own."""

CHANGE_NOTHING = {"close", "preadv", "fstat", "fstatvfs", "stat", "lstat", "listdir", "scandir", "flock"}
CHANGE_MODES = {"chmod", "fchmod"}
"""What a new file may be read by is set before its name leads anywhere; a lost mode loses no data."""


@pytest.fixture
def base():
    """A folder in memory, where there is one: tens of thousands of files are written."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    folder = tempfile.mkdtemp(prefix="power-cut-", dir=memory if usable else None)
    yield folder
    shutil.rmtree(folder)


def said(text):
    return item_entry({"role": "user", "content": text, "note": "Zaunkönig"})


def handed(name):
    return record_entry({"type": "handoff", "from": "a", "to": name})


# --- operations ------------------------------------------------------------------------------------------------


async def create(store, *entries):
    await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id, name="Zoë"), entries)


def append(*entries):
    return lambda store: store.append(KEY, entries)


def keep(count):
    return lambda store: store.rewrite(KEY, lambda history: history.with_entries(history.entries[:count]))


def rename(store):
    return store.rewrite(KEY, lambda history: history.with_facts(name="new"))


def write(name, data):
    return lambda store: store.write_sidecar(KEY, name, data)


async def edit(store):
    path = store.path(KEY)
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))


async def tear(store):
    path = store.path(KEY)
    before = path.read_bytes()
    await store.append(KEY, [said("torn " * 300)])
    path.write_bytes(path.read_bytes()[:1500] + before[1500:])


async def delete_half(store):
    store.path(KEY).unlink()


A, B = said("a"), [said("call"), said("output")]

SCENES = {
    "create in a new root": ([], create),
    "create with a history": ([], lambda store: create(store, A, *B)),
    "create after another": ([create, lambda store: store.delete(KEY)], lambda store: create(store, A)),
    "first append": ([create], append(A)),
    "append of a batch": ([create, append(A)], append(*B)),
    "append of a batch to a batch": ([create, append(A), append(*B)], append(*B)),
    "append after a pop": ([create, append(A), append(*B), keep(2)], append(said("new"))),
    "append after a clear": ([create, append(A), append(*B), keep(0)], append(*B)),
    "append of more than a page": ([create, append(A)], append(said("x" * 3000), said("y" * 3000))),
    "append whose tail is shorter": ([create, append(handed("z" * 2000))], append(handed("b"), A)),
    "append whose tail is longer": ([create, append(handed("b"))], append(handed("z" * 2000), A)),
    "append to an edited file": ([create, append(A), append(*B), edit], append(said("c"))),
    "append to a torn file": ([create, append(A), append(*B), tear], append(said("c"))),
    "rename": ([create, append(A), append(*B)], rename),
    "pop": ([create, append(A), append(*B)], keep(2)),
    "clear": ([create, append(A), append(*B), write("run_state.json", b"1")], keep(0)),
    "delete": ([create, append(A), append(*B)], lambda store: store.delete(KEY)),
    "delete with sidecars": (
        [create, append(A), write("run_state.json", b"1"), write("checkpoints/a.json", b"2")],
        lambda store: store.delete(KEY),
    ),
    "delete of what was torn": ([create, append(A), tear, append(A)], lambda store: store.delete(KEY)),
    "first sidecar": ([create, append(A)], write("run_state.json", b"x" * 700)),
    "sidecar in a folder": ([create, append(A)], write("checkpoints/a.json", b"x" * 700)),
    "replaced sidecar": ([create, write("a.json", b"old" * 300)], write("a.json", b"new" * 500)),
    "removed sidecar": ([create, write("a.json", b"old")], lambda store: store.delete_sidecar(KEY, "a.json")),
}


async def look(store):
    """Return all that a store has of the session; None if there is none."""
    info = await store.load(KEY)
    if info is None:
        return None
    entries = await store.entries(KEY)
    assert info.context == fold(ContextStats(), entries), "totals that are no fold"
    assert await store.items(KEY) == [entry["item"] for entry in entries if "item" in entry]
    names = await store.list_sidecars(KEY)
    sidecars = {name: await store.read_sidecar(KEY, name) for name in names}
    facts = info.model_dump(exclude={"updated_at", "last_active_at", "context"})
    return facts, [(entry["seq"], entry.get("item", entry.get("record"))) for entry in entries], sidecars


def same(found, other):
    """Tell whether two looks are the same. A number of a lost entry may be taken for given, never the other way."""
    if found is None or other is None:
        return found is other
    return ({**found[0], "seq": 0}, *found[1:]) == ({**other[0], "seq": 0}, *other[1:]) and (
        found[0]["seq"] >= other[0]["seq"]
    )


async def go_on(store, found):
    """Check that the next write works and loses nothing of what was found."""
    if found is None:
        await create(store, said("next"))
        facts, entries, sidecars = await look(store)
        assert (entries, sidecars) == ([(1, said("next")["item"])], {})
        return
    await store.append(KEY, [said("next")])
    facts, entries, sidecars = await look(store)
    assert (entries[:-1], sidecars) == found[1:]
    assert entries[-1] == (found[0]["seq"] + 1, said("next")["item"])
    assert {**facts, "seq": found[0]["seq"]} == found[0]


def test_every_call_that_changes_a_disk_is_written_down():
    assert set(CALLS) - CHANGE_NOTHING - CHANGE_MODES <= set(RECORDED)


def unique(states):
    seen = set()
    for state in states:
        mark = hash(tuple(sorted(state.items(), key=lambda item: item[0])))
        if mark not in seen:
            seen.add(mark)
            yield state


@pytest.mark.parametrize("name", SCENES)
def test_a_power_cut_leaves_an_operation_whole_or_absent(base, name):
    print("TRUST_SEED", SEED)
    chance = random.Random(SEED)
    before, operation = SCENES[name]

    async def work():
        store = FileStore(f"{base}/real/sessions")
        os.mkdir(f"{base}/real")
        for step in before:
            await step(store)
        first = await look(store)
        disk = SimDisk(f"{base}/real")
        with disk.recording():
            await operation(store)
        disk._moment("end")
        last = await look(store)
        assert len(disk.moments) > 3, "nothing was written down"
        count = 0
        for number, (what, moment) in enumerate(disk.moments):
            allowed = [last] if what == "end" else [first, last]
            for state in unique(moment.states(chance, CONTENTS)):
                count += 1
                await check(f"{base}/{number}-{count}", state, allowed, what)
        return count

    count = asyncio.run(work())
    print(f"{count} states of {name!r}")
    assert count >= 4


async def check(folder, state, allowed, what):
    lay_out(state, folder)
    store = FileStore(f"{folder}/sessions")
    found = await look(store)
    assert any(same(found, one) for one in allowed), f"power cut after {what}: {found} not in {allowed}"
    await go_on(store, found)
    await asyncio.to_thread(shutil.rmtree, folder)


def test_what_a_repair_found_is_kept_over_a_power_cut(base):
    async def work():
        store = FileStore(f"{base}/sessions")
        for step in (create, append(A), tear):
            await step(store)
        torn = store.path(KEY).read_bytes()
        disk = SimDisk(base)
        with disk.recording():
            await store.append(KEY, [A])
        _, end = disk.moments[-1]
        for state in end.states(random.Random(SEED), CONTENTS):
            kept = [content for name, content in state.items() if ".json.torn-" in name]
            assert kept == [torn]

    asyncio.run(work())


# --- every sector of an append ---------------------------------------------------------------------------------


def new_file(entries, **facts):
    numbered = [{"at": AT, **entry, "seq": number} for number, entry in enumerate(entries, 1)]
    totals = fold(ContextStats(), numbered)
    return bytes(encode_document(Document({"id": "order-42", **facts}, numbered, len(numbered), totals, AT)))


def grown(data, batch):
    at = "2026-11-20T21:29:00.456Z"
    sealed = read_sealed(lambda offset, length: bytearray(data[offset : offset + length]), len(data))
    while (plan := planned(sealed, batch, at)) is None:
        batch = [*batch, said("y" * 500)]  # it would be a rewrite
    return data[: plan.offset] + plan.data + data[plan.offset + len(plan.data) :], plan


def bodies(decoded):
    return [(entry["seq"], entry.get("item", entry.get("record"))) for entry in decoded.entries]


def random_text(chance):
    kind = chance.randrange(6)
    if kind == 0:  # looks like the end of a file
        return '"}}\n],"context":{"items":1},"seal":{"seq":1,"crc":"00000000"}}\n' * chance.randrange(1, 30)
    if kind == 1:
        return chance.choice('é\ud800\u2028\U0001f600\\"') * chance.randrange(200)
    return chance.choice("x]},[{ ") * chance.choice((0, 3, 40, 300, 511, 900, 2500))


def random_batch(chance):
    size = chance.choice((1, 1, 1, 2, 2, 3, 5, 20))
    return [random_entry(chance) for _ in range(size)]


def random_entry(chance):
    kind = chance.random()
    if kind < 0.15:
        return handed(random_text(chance))
    if kind < 0.3:  # a sector of a tail can stand among its keys and still make JSON
        return item_entry({"k" * chance.randrange(1, 9) + str(number): number for number in range(200)})
    return said(random_text(chance))


def random_append(chance):
    """Return a file before and after an append, and where the append begins."""
    data = new_file(random_batch(chance) if chance.random() < 0.5 else [], name=random_text(chance))
    for _ in range(chance.randrange(4)):
        data, _ = grown(data, random_batch(chance))
    after, plan = grown(data, random_batch(chance))
    return data, after, plan


def assert_whole_or_absent(state, before, after, new):
    decoded = decode_document(state)
    found = bodies(decoded)
    assert found in (before, after), "a part of a batch, or less than was acknowledged"
    assert found == after or state != new
    assert decoded.header == facts_of(parse_header(new[: new.index(b"\n") + 1]))
    assert decoded.context == fold(ContextStats(), decoded.entries)
    again = bytes(encode_document(decoded))
    next_one, _ = grown(again, [said("next")])
    assert bodies(decode_document(next_one)) == [*found, (decoded.seq + 1, said("next")["item"])]


def test_of_an_append_any_sectors_arrived():
    print("TRUST_SEED", SEED)
    chance = random.Random(SEED)
    begun, count, appends = time.monotonic(), 0, 0
    while count < STATES:
        old, new, plan = random_append(chance)
        before, after = bodies(decode_document(old)), bodies(decode_document(new))
        file = File(old)
        file.write(plan.offset, plan.data)
        seen = set()
        for state in contents(file, chance, 400):
            if state not in seen:
                seen.add(state)
                assert_whole_or_absent(state, before, after, new)
        count, appends = count + len(seen), appends + 1
    print(f"{count} states of {appends} appends in {time.monotonic() - begun:.0f} s")


@pytest.mark.parametrize(
    ("old_agent", "item"),
    [("=" * 2500, {"content": "x" * 2500}), ("=" * 700, {"content": ["x" * 2500]})],
)
def test_a_sector_of_the_old_tail_inside_the_new_lines_is_no_edit_by_hand(old_agent, item):
    """What the sector makes of the lines around it is JSON, but no one ever wrote it."""
    mixed = 0
    for padding in range(0, 512, 3):
        old = new_file([handed(old_agent)], name="n" * padding)
        new, plan = grown(old, [item_entry(item)])
        before = bodies(decode_document(old))
        for place in range(plan.offset // 512 * 512 + 512, min(old.rindex(b"}"), plan.after.tail.end - 512), 512):
            sector = old[place : place + 512].ljust(512, b"\0")  # which a disk writes whole, also the last one
            state = new[:place] + sector + new[place + 512 :]
            mixed += is_json(state)
            assert bodies(decode_document(state)) == before
    assert mixed


def is_json(state):
    try:
        json.loads(state)
    except ValueError:
        return False
    return True


def test_an_append_cut_at_every_byte_of_it_with_any_size():
    """A file system may show the new size before the data, or the data without the new size."""
    chance = random.Random(SEED)
    old = new_file([A])
    old, _ = grown(old, B)
    new, plan = grown(old, [said("x" * 400), said("y")])
    before, after = bodies(decode_document(old)), bodies(decode_document(new))
    for cut, size in itertools.product(range(plan.offset, len(new) + 1), (len(old), len(new), None)):
        content = new[:cut] + old[cut:] if cut < len(old) else new[:cut]
        end = chance.randrange(len(old), len(new) + 1) if size is None else size
        state = content[:end].ljust(end, b"\0")
        assert_whole_or_absent(state, before, after, new)


def test_of_appends_that_were_never_synced_no_part_of_a_batch_is_kept():
    """Durability `process` promises less of a power cut: what is found may be damage, but never half a batch."""
    print("TRUST_SEED", SEED)
    chance = random.Random(SEED)
    read = 0
    for _ in range(STATES // 400):
        data = new_file(random_batch(chance))
        file, stages = File(data), [bodies(decode_document(data))]
        for _ in range(3):
            data, plan = grown(data, random_batch(chance))
            file.write(plan.offset, plan.data)
            stages.append(bodies(decode_document(data)))
        for state in contents(file, chance, 30):
            try:
                found = bodies(decode_document(state))
            except Damage:
                continue
            read += 1
            assert found in stages
    assert read
