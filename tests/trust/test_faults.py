"""Every system call of every operation fails in turn; full disks, limits and lost folders for real."""

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import shutil
import stat
import subprocess
import sys
import textwrap
from unittest import mock

import pytest

from agents_sessions.entries import item_entry
from agents_sessions.errors import SessionIOError, SessionNotFoundError
from agents_sessions.info import SessionInfo, SessionKey
from agents_sessions.recent import Recent
from agents_sessions.stores import file_engine
from agents_sessions.stores.file_store import FileStore

KEY = SessionKey("support", "order-42")
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EINTR", "EACCES", "EMFILE")
CALLS = (
    "open", "close", "pwrite", "preadv", "fdatasync", "fsync", "link", "unlink", "rmdir", "replace", "ftruncate",
    "fstat", "stat", "lstat", "listdir", "scandir", "fchmod", "chmod", "mkdir",
)  # fmt: skip


def said(text):
    return item_entry({"role": "user", "content": text})


async def create(store):
    await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [said("a")])


async def turn(store):
    async with store.turn_lock(KEY, timeout=0):
        pass


async def scan(store):
    return [info.key async for info in store.scan()]


def keep(count):
    return lambda store: store.rewrite(KEY, lambda history: history.with_entries(history.entries[:count]))


CHANGES = {
    "create": create,
    "append": lambda store: store.append(KEY, [said("c"), said("d")]),
    "rewrite": lambda store: store.rewrite(KEY, lambda history: history.with_facts(name="new")),
    "pop": keep(-1),
    "clear": keep(0),
    "delete": lambda store: store.delete(KEY),
    "write_sidecar": lambda store: store.write_sidecar(KEY, "run_state.json", b"new"),
    "first sidecar in a folder": lambda store: store.write_sidecar(KEY, "checkpoints/a.json", b"new"),
    "delete_sidecar": lambda store: store.delete_sidecar(KEY, "run_state.json"),
}
OTHERS = {
    "load": lambda store: store.load(KEY),
    "entries": lambda store: store.entries(KEY),
    "items": lambda store: store.items(KEY, last=1),
    "scan": scan,
    "find": lambda store: store.find(KEY.session_id),
    "read_sidecar": lambda store: store.read_sidecar(KEY, "run_state.json"),
    "list_sidecars": lambda store: store.list_sidecars(KEY),
    "turn_lock": turn,
}


class Faults:
    """Counts the calls that the lowest modules and what they use make below a root, and lets one of them fail."""

    def __init__(self):
        self.made, self.fails_at, self.number = [], None, 0

    def __enter__(self):
        self._patches = [mock.patch.object(os, name, self._failing(name, getattr(os, name))) for name in CALLS]
        self._patches.append(mock.patch.object(fcntl, "flock", self._failing("flock", fcntl.flock)))
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_):
        for patch in self._patches:
            patch.stop()

    def _failing(self, name, real):
        def call(*args, **kwargs):
            # A failed close makes the standard library's rmtree close once more, which is no business of ours.
            depth = 1 if name == "close" else 8
            if not _from_the_lowest(depth):
                return real(*args, **kwargs)
            place = len(self.made)
            self.made.append(name)
            if place != self.fails_at:
                return real(*args, **kwargs)
            if name == "close":  # Linux closes all the same
                real(*args, **kwargs)
            raise OSError(self.number, os.strerror(self.number))

        return call


def _from_the_lowest(depth=8):
    frame = sys._getframe(2)
    for _ in range(depth):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(("file_io.py", "file_locks.py", "file_atomic.py")):
            return True
        frame = frame.f_back
    return False


def open_files():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_file(fd))


def _is_file(fd):
    try:
        return stat.S_IFMT(os.stat(f"/proc/self/fd/{fd}").st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    except FileNotFoundError:
        return False


async def look(store):
    info = await store.load(KEY)
    if info is None:
        return None
    names = await store.list_sidecars(KEY)
    return info, await store.entries(KEY), {name: await store.read_sidecar(KEY, name) for name in names}


async def prepared(folder, name):
    store = FileStore(folder)
    if name != "create":
        await create(store)
        await store.append(KEY, [said("b")])
        await store.write_sidecar(KEY, "run_state.json", b"old")
    return store


async def assert_usable(store):
    """No lock is left, and the next operations work."""
    if await store.load(KEY) is None:
        await create(store)
    await asyncio.wait_for(store.append(KEY, [said("next")]), 5)
    assert (await store.items(KEY))[-1] == said("next")["item"]
    await turn(store)


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_which_any_call_fails_is_whole_or_absent(tmp_path, name, number):
    async def attempt(place):
        store = await prepared(tmp_path / str(place), name)
        before, files, faults = await look(store), open_files(), Faults()
        faults.fails_at, faults.number, failed = place, getattr(errno, number), None
        with faults:
            try:
                await CHANGES[name](store)
            except SessionIOError as error:
                failed = error
        where = f"{number} from call {place}, {faults.made[place : place + 1]}"
        assert open_files() == files, where
        after = await look(store)
        if failed is not None:
            assert failed.errno == getattr(errno, number), where
            assert after == before or (name == "delete" and after is None), where
        else:
            assert after != before, where
        await assert_usable(store)
        shutil.rmtree(tmp_path / str(place))
        return place < len(faults.made)

    async def work():
        place = 0
        while await attempt(place):
            place += 1
        assert place > 5

    asyncio.run(work())


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", OTHERS)
def test_a_reading_of_which_any_call_fails_is_right_or_an_error(tmp_path, name, number):
    async def work():
        store = await prepared(tmp_path / "sessions", name)
        expected, files, place = await OTHERS[name](store), open_files(), 0
        while True:
            faults, found, failed = Faults(), expected, None
            faults.fails_at, faults.number = place, getattr(errno, number)
            with faults:
                try:
                    found = await OTHERS[name](store)
                except SessionIOError as error:
                    failed = error
            where = f"{number} from call {place}, {faults.made[place : place + 1]}"
            assert open_files() == files, where
            assert failed is None or failed.errno == getattr(errno, number), where
            if name not in ("scan", "find"):  # one broken file must not hide the others: it is left out, and logged
                assert found == expected, where
            if place >= len(faults.made):
                break
            place += 1
        assert place > 3
        await assert_usable(store)

    asyncio.run(work())


@pytest.mark.parametrize("name", CHANGES)
def test_writes_that_come_back_short_are_continued(tmp_path, name):
    real = os.pwrite

    async def work():
        store = await prepared(tmp_path / "sessions", name)
        before = await look(store)
        with mock.patch.object(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:11], offset)):
            await CHANGES[name](store)
        assert await look(store) != before
        await assert_usable(store)

    asyncio.run(work())


def test_a_batch_whose_sync_failed_is_not_there_for_anyone(tmp_path):
    """Not for this process, which has seen the new tail, and not for the next one."""

    async def work():
        store = await prepared(tmp_path, "append")
        before, real, calls = await look(store), os.fdatasync, []

        def sync(fd):
            calls.append(fd)
            if len(calls) == 1:
                raise OSError(errno.EIO, "I/O error")
            real(fd)

        with mock.patch.object(os, "fdatasync", sync), pytest.raises(SessionIOError):
            await store.append(KEY, [said("lost")])
        assert await look(store) == before
        with mock.patch.object(file_engine, "_tails", Recent(8)):
            assert await look(FileStore(tmp_path)) == before

    asyncio.run(work())


# --- for real --------------------------------------------------------------------------------------------------

CHILD = """
    import asyncio, os, resource, signal, sys
    from agents_sessions.entries import item_entry
    from agents_sessions.errors import SessionError, SessionIOError
    from agents_sessions.info import SessionInfo, SessionKey
    from agents_sessions.stores.file_store import FileStore

    store, key = FileStore(sys.argv[1]), SessionKey("support", "order-42")

    def said(text):
        return item_entry({"role": "user", "content": text})

    async def fill(size, most=4000):
        '''Append until the system refuses; return how many were acknowledged, and what was refused.'''
        for number in range(most):
            try:
                await store.append(key, [said(f"{number} " + "x" * size), said("second")])
            except SessionIOError as error:
                return number, error
        raise AssertionError("never full")

    async def check(count):
        items = await store.items(key)
        assert len(items) == 1 + 2 * count, (len(items), count)
        assert [int(item["content"].split()[0]) for item in items[1::2]] == list(range(count))
"""


def run_child(script, root, *before):
    source = textwrap.dedent(CHILD) + textwrap.dedent(script)
    done = subprocess.run(
        [*before, sys.executable, "-c", source, str(root)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_file_at_the_limit_of_its_size_keeps_what_was_acknowledged(tmp_path):
    """RLIMIT_FSIZE makes the kernel itself write short first, and then refuse."""
    script = """
        async def work():
            await store.create(SessionInfo(id="order-42", agent_id="support"), [said("first")])
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            count, error = await fill(3000)
            print(count, error.errno)
            await check(count)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await store.append(key, [said(f"{count} again"), said("second")])
            await check(count + 1)
        asyncio.run(work())
    """
    count, number = map(int, run_child(script, tmp_path))
    assert number == errno.EFBIG
    assert count > 20


def test_a_process_without_descriptors_says_so_and_goes_on_later(tmp_path):
    script = """
        async def work():
            await store.create(SessionInfo(id="order-42", agent_id="support"), [said("first")])
            held, told = [], set()
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            for spare in range(4):
                for act in (lambda: store.append(key, [said("x")]), lambda: store.items(key, last=1),
                            lambda: store.write_sidecar(key, "a.json", b"1"), lambda: store.load(key)):
                    try:
                        await act()
                    except SessionError as error:
                        told.add((type(error).__name__, error.errno))
                os.close(held.pop())
            print(*told)
            for fd in held:
                os.close(fd)
            await store.append(key, [said("last")])
            assert (await store.items(key))[-1]["content"] == "last"
        asyncio.run(work())
    """
    assert run_child(script, tmp_path) == ["('SessionIOError',", f"{errno.EMFILE})"]


def test_a_full_disk_keeps_what_was_acknowledged_and_takes_more_when_there_is_room(tmp_path):
    mounting = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(tmp_path))
    try:
        able = subprocess.run([*mounting, "true"], capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("a file system of one's own needs user namespaces")
    script = """
        async def work():
            await store.create(SessionInfo(id="order-42", agent_id="support"), [said("first")])
            count, error = await fill(20_000)
            print(count, error.errno)
            await check(count)
            for act in (lambda: store.write_sidecar(key, "a.json", b"x" * 100_000),
                        lambda: store.rewrite(key, lambda history: history.with_facts(name="new"))):
                try:
                    await act()
                    raise AssertionError("there was room")
                except SessionIOError as error:
                    assert error.errno == 28
            await check(count)
            os.truncate(store.path(key).with_name("ballast"), 0)
            await store.append(key, [said(f"{count} again"), said("second")])
            await check(count + 1)
            assert [name for name in os.listdir(store.path(key).parent) if name[0] == "."] == []
        os.makedirs(store.path(key).parent)
        store.path(key).with_name("ballast").write_bytes(b"x" * 300_000)
        asyncio.run(work())
    """
    count, number = map(int, run_child(script, tmp_path, *mounting))
    assert number == errno.ENOSPC
    assert count > 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error_and_reading_goes_on(tmp_path):
    async def work():
        store = await prepared(tmp_path, "append")
        folder = store.path(KEY).parent
        before = await look(store)
        folder.chmod(0o500)
        try:
            for name in ("rewrite", "delete"):
                with pytest.raises(SessionIOError):
                    await CHANGES[name](store)
            assert await look(store) == before
        finally:
            folder.chmod(0o700)
        await assert_usable(store)

    asyncio.run(work())


@pytest.mark.parametrize("name", [*CHANGES, *OTHERS])
def test_a_folder_that_is_removed_meanwhile_is_an_error_of_ours(tmp_path, name):
    async def work():
        place = 0
        while True:
            root = tmp_path / str(place)
            store = await prepared(root, name)
            faults = Faults()
            real = faults._failing

            def removing(call, function, real=real, root=root, faults=faults, place=place):
                def made(*args, **kwargs):
                    if len(faults.made) == place and call != "close" and _from_the_lowest():
                        faults.made.append("removed")
                        shutil.rmtree(root, ignore_errors=True)
                    return wrapped(*args, **kwargs)

                wrapped = real(call, function)
                return made

            faults._failing = removing
            with faults:
                with contextlib.suppress(SessionNotFoundError, SessionIOError):
                    await {**CHANGES, **OTHERS}[name](store)
            if "removed" not in faults.made:
                break
            place += 1

    before = open_files()
    asyncio.run(work())
    assert open_files() == before


def test_the_limits_of_this_process_were_left_alone():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
