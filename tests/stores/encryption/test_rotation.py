"""Keys renewed: nothing but the header is written anew, and who is killed on the way can begin again."""

import asyncio
import json
import subprocess
import sys

import pytest
from builders import KEY, info_of, said
from test_sealing import MASTER, encrypted, write

from agents_sessions import KeyRing, MemoryStore, RotationReport, SessionManager
from agents_sessions.errors import MissingKeyError, SessionCorruptedError, UnsupportedError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.encryption.sealing import SealedSession

NEWER = bytes(32)
OLD, BOTH, NEW = (
    KeyRing({"k1": MASTER}),
    KeyRing({"k1": MASTER, "key-2": NEWER}, current="key-2"),
    KeyRing({"key-2": NEWER}),
)


def rotate(store, **options):
    return asyncio.run(SessionManager(store).encryption.rotate_keys(**options))


def key_id(store, key=KEY):
    return json.loads(store.path(key).read_bytes())["codec"]["key_id"]


@pytest.fixture
def store(tmp_path):
    return asyncio.run(write(encrypted(tmp_path, OLD)))


def test_after_a_rotation_the_old_key_is_not_needed(store):
    assert rotate(encrypted(store.root, BOTH)) == RotationReport(1, 0, ())
    new = encrypted(store.root, NEW)
    assert len(asyncio.run(new.items(KEY))) == 4
    assert asyncio.run(new.read_sidecar(KEY, "a.json")) == b"sidecar secret 1"
    with pytest.raises(MissingKeyError, match="key-2"):
        asyncio.run(store.load(KEY))


def test_a_rotation_reads_no_entry_and_keeps_every_line(store, monkeypatch):
    lines = store.path(KEY).read_bytes().splitlines()[1:-1]
    monkeypatch.setattr(SealedSession, "decode_entry", lambda self, entry: pytest.fail("an entry was opened"))
    assert rotate(encrypted(store.root, BOTH)).rotated == 1
    assert store.path(KEY).read_bytes().splitlines()[1:-1] == lines


def test_a_session_goes_on_after_a_rotation(store):
    both = encrypted(store.root, BOTH)
    rotate(both)
    asyncio.run(both.append(KEY, [said("plain secret 5")]))
    assert len(asyncio.run(encrypted(store.root, NEW).entries(KEY))) == 5


def test_a_second_rotation_finds_nothing_to_do_and_writes_nothing(store):
    both = encrypted(store.root, BOTH)
    rotate(both)
    data = store.path(KEY).read_bytes()
    assert rotate(both) == RotationReport(0, 1, ())
    assert store.path(KEY).read_bytes() == data


def test_a_session_in_the_trash_is_rotated_too(store):
    token = asyncio.run(store.set_aside(KEY)).token
    assert rotate(encrypted(store.root, BOTH)).rotated == 1
    asyncio.run(encrypted(store.root, NEW).bring_back(token))
    assert len(asyncio.run(encrypted(store.root, NEW).items(KEY))) == 4


def test_a_session_in_memory_is_rotated():
    async def work():
        store = await write(MemoryStore(encryption=OLD))
        token = (await store.set_aside(KEY)).token
        store._codec.keys = BOTH
        assert (await store.renew_key(token), await store.renew_key(token)) == (True, False)
        await store.bring_back(token)
        store._codec.keys = NEW
        assert (await store.load(KEY)).name == "name secret"
        assert len(await store.items(KEY)) == 4

    asyncio.run(work())


def test_a_torn_session_is_mended_and_rotated(store):
    store.path(KEY).write_bytes(store.path(KEY).read_bytes()[:-20])
    assert rotate(encrypted(store.root, BOTH)).is_complete
    assert len(asyncio.run(encrypted(store.root, NEW).items(KEY))) >= 3


def test_what_cannot_be_read_is_reported_so_that_its_key_is_kept(store):
    store.path(KEY).write_bytes(store.path(KEY).read_bytes().replace(b'"seal":', b'"sea1":'))
    report = rotate(encrypted(store.root, BOTH))
    assert not report.is_complete
    assert [place for place, error in report.failed if isinstance(error, SessionCorruptedError)] == [KEY]


def test_progress_is_told_for_every_session(store):
    for number in range(3):
        asyncio.run(store.create(info_of(SessionKey("support", f"s{number}")), [said("hi")]))
    told = []
    rotate(encrypted(store.root, BOTH), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_store_that_does_not_encrypt_has_no_keys_to_rotate(tmp_path):
    for store in (MemoryStore(), encrypted(tmp_path, None)):
        with pytest.raises(UnsupportedError, match="encrypt"):
            rotate(store)
        with pytest.raises(UnsupportedError, match="encrypt"):
            asyncio.run(store.renew_key(KEY))


PROGRAM = """
import asyncio, os, shutil, signal, sys
from agents_sessions import FileStore, KeyRing, SessionManager
import agents_sessions.features.encryption, agents_sessions.stores.encryption.sealing
import agents_sessions.stores.file.store
ring = KeyRing({"k1": bytes(range(32)), "key-2": bytes(32)}, current="key-2")
def work(root, number):
    count = 0
    def killing(call):
        def called(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return called
    for name in ("open", "pwrite", "link", "unlink", "rename", "replace", "fdatasync", "fsync"):
        setattr(os, name, killing(getattr(os, name)))
    asyncio.run(SessionManager(FileStore(root, encryption=ring)).encryption.rotate_keys())
for number in range(1, 200):
    root = f"{sys.argv[1]}-{number}"
    shutil.copytree(sys.argv[1], root)
    child = os.fork()
    if not child:
        work(root, number)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


def test_a_rotation_that_is_killed_at_any_step_leaves_every_session_whole_and_can_begin_again(store):
    program = [sys.executable, "-c", PROGRAM, str(store.root)]
    steps = int(subprocess.run(program, check=True, capture_output=True, timeout=120).stdout)
    assert 10 < steps < 199
    for number in range(1, steps + 1):
        root = store.root.parent / f"{store.root.name}-{number}"
        assert len(asyncio.run(encrypted(root, BOTH).items(KEY))) == 4
        assert rotate(encrypted(root, BOTH)).is_complete
        assert key_id(encrypted(root, NEW)) == "key-2"
