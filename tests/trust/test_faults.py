"""Every system call of every operation fails in turn; full disks, limits and lost folders for real."""

import asyncio
import contextlib
import errno
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from unittest import mock

import crash
import pytest
from crash import KEYS, OPERATIONS, State, World, word
from faults import Calls, failing

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import ReplyNotStoredError, SessionIOError, SessionNotFoundError
from agents_sessions.features.transfer.transfer import Transfer
from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.redaction import Redaction
from agents_sessions.model.search import SearchQuery
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")
PARENT = SessionKey("support", "parent")
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EINTR", "EACCES", "EMFILE")


@pytest.fixture
def base():
    """A folder in memory, where there is one: each call of each operation has a store of its own."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="faults-", dir=memory if usable else None) as folder:
        yield Path(folder)


def said(text):
    return item_entry({"role": "user", "content": text, "note": "Zaunkönig"})


async def create(store):
    await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [said("a")])


async def turn(store):
    async with store.turn_lock(KEY, timeout=0):
        pass


async def scan(store):
    return [info.key async for info in store.scan()]


async def search(store):
    """Search without a catalog, and leave one."""
    shutil.rmtree(store.root / ".catalog", ignore_errors=True)
    fresh = FileStore(store.root)
    try:
        return [hit.key for hit in await fresh.search(SearchQuery(text="a"))]
    finally:
        await fresh.aclose()


async def die_in_a_turn(store):
    await furnish(store)
    path = store.path(KEY)
    path.with_name(f".{path.name}.turn").write_bytes(b"{}")


async def spent(store):
    return [session async for session in store.spend(SessionQuery())]


def keep(count):
    return lambda store: store.rewrite(KEY, lambda history: history.with_entries(history.entries[:count]))


async def grow(store):
    await create(store)
    await store.append(KEY, [said("b")])


async def furnish(store):
    await grow(store)
    await store.write_sidecar(KEY, "run_state.json", b"old")
    await store.write_sidecar(KEY, "checkpoints/a.json", b"old")


async def tear(store):
    await furnish(store)
    path = store.path(KEY)
    before = path.read_bytes()
    await store.append(KEY, [said("torn " * 300)])
    path.write_bytes(path.read_bytes()[:1500] + before[1500:])


async def edit(store):
    await furnish(store)
    store.path(KEY).write_text(json.dumps(json.loads(store.path(KEY).read_bytes()), indent=1))


async def delete_half(store):
    await furnish(store)
    store.path(KEY).unlink()


async def nothing(_store):
    pass


def append(store):
    return store.append(KEY, [said("c"), said("d")])


def delete(store):
    return store.delete(KEY)


def create_whole(store):
    info = SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id)
    return store.create(info, streamed(), sidecars={"run_state.json": b"new", "checkpoints/a.json": b"new"})


async def streamed():
    yield said("a")
    yield said("b")


async def hide(store):
    await furnish(store)
    await store.set_aside(KEY, "trash")


async def bring_back(store):
    await store.bring_back((await store.list_aside())[0].token)


async def discard(store):
    await store.discard((await store.list_aside())[0].token)


async def load_aside(store):
    return await store.load_aside((await store.list_aside())[0].token)


NEW = """{"format":"agents-sessions-export/1","session":{"id":"order-42","agent_id":"support","name":"new"},"seq":9}
{"seq":3,"item":{"role":"user","content":"new"}}
{"end":true,"entries":1}
"""


async def replace(store):
    await Transfer(store, SessionLookup(store)).import_session(NEW, on_conflict="replace")


async def furnish_parent(store):
    await store.create(SessionInfo(id=PARENT.session_id, agent_id=PARENT.agent_id), [said("a")])
    await store.append(PARENT, [said("b"), said("c")])


CHANGES = {
    "copy": (
        furnish_parent,
        lambda store: store.copy(PARENT, SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), before=3),
    ),
    "redact": (furnish, lambda store: store.redact(KEY, Redaction.of_text("b", "x"))),
    "create": (nothing, create),
    "create where a deletion died": (delete_half, create),
    "create from a stream with sidecars": (nothing, create_whole),
    "set_aside": (furnish, lambda store: store.set_aside(KEY, "trash")),
    "discard": (hide, discard),
    "bring_back": (hide, bring_back),
    "append": (furnish, append),
    "append to a torn file": (tear, append),
    "append to an edited file": (edit, append),
    "rewrite": (furnish, lambda store: store.rewrite(KEY, lambda history: history.with_facts(name="new"))),
    "pop": (furnish, keep(-1)),
    "clear": (furnish, keep(0)),
    "import in its place": (furnish, replace),
    "move": (furnish, lambda store: store.move(KEY, "sales")),
    "delete": (grow, delete),
    "delete with sidecars": (furnish, delete),
    "write_sidecar": (furnish, lambda store: store.write_sidecar(KEY, "run_state.json", b"new")),
    "first sidecar": (grow, lambda store: store.write_sidecar(KEY, "run_state.json", b"new")),
    "first sidecar in a folder": (furnish, lambda store: store.write_sidecar(KEY, "other/a.json", b"new")),
    "delete_sidecar": (furnish, lambda store: store.delete_sidecar(KEY, "run_state.json")),
}
OTHERS = {
    "load": (furnish, lambda store: store.load(KEY)),
    "entries": (furnish, lambda store: store.entries(KEY)),
    "items": (furnish, lambda store: store.items(KEY, limit=1)),
    "entries of a torn file": (tear, lambda store: store.entries(KEY)),
    "scan": (furnish, scan),
    "find": (furnish, lambda store: store.find(KEY.session_id)),
    "read_sidecar": (furnish, lambda store: store.read_sidecar(KEY, "run_state.json")),
    "list_sidecars": (furnish, lambda store: store.list_sidecars(KEY)),
    "sizes": (furnish, lambda store: store.sizes([KEY])),
    "load_aside": (hide, load_aside),
    "turn_lock": (furnish, turn),
    "search": (furnish, search),
    "is_running": (die_in_a_turn, lambda store: store.is_running(KEY)),
    "spend": (furnish, spent),
}


def open_files():
    """Return the files that this process has open, without those of catalogs: a store keeps its own until it goes."""
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_file(fd)]
    return sorted(name for name in names if "/.catalog/" not in name)


def _is_file(fd):
    try:
        return stat.S_IFMT(os.stat(f"/proc/self/fd/{fd}").st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    except FileNotFoundError:
        return False


async def look(store):
    """Return all that a store has of the session but times and checksums; None if there is none."""
    info = await store.load(KEY)
    if info is None:
        return None
    entries = [(entry["seq"], entry.get("item", entry.get("record"))) for entry in await store.entries(KEY)]
    names = await store.list_sidecars(KEY)
    times = {"created_at": True, "updated_at": True, "last_active_at": True, "context": {"last_entry_at"}}
    facts = info.model_dump(exclude=times)
    return facts, entries, {name: await store.read_sidecar(KEY, name) for name in names}


async def prepared(folder, name):
    """Return a store in which the operation of a name can be done; what is there before it is made once, and copied."""
    prepare, first = {**CHANGES, **OTHERS}[name][0], folder.with_name("first")
    if not first.exists():
        first.mkdir()
        await prepare(FileStore(first / "sessions"))
    shutil.copytree(first, folder)
    return FileStore(folder / "sessions")


async def done(folder, name):
    """Return what there is after an operation at which nothing fails."""
    store = await prepared(folder, name)
    await CHANGES[name][1](store)
    return await look(store)


async def assert_usable(store):
    """No lock is left, and the next operations work."""
    if await store.load(KEY) is None:
        await create(store)
        assert await store.list_sidecars(KEY) == [], "it has the sidecars of a dead session"
    await asyncio.wait_for(store.append(KEY, [said("next")]), 5)
    assert (await store.items(KEY))[-1] == said("next")["item"]
    await turn(store)


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_which_any_call_fails_is_whole_or_absent(base, name, number):
    async def attempt(place, whole):
        store = await prepared(base / str(place), name)
        before, files, failed = await look(store), open_files(), None
        torn = b"" if before is None else store.path(KEY).read_bytes()
        with Calls().at(place, failing(getattr(errno, number))) as calls:
            try:
                await CHANGES[name][1](store)
            except SessionIOError as error:
                failed = error
        assert open_files() == files, calls.where
        after = await look(store)
        if failed is not None:
            assert failed.errno == getattr(errno, number), calls.where
            assert after == before or (CHANGES[name][1] is delete and after is None), calls.where
        else:
            assert after == whole, calls.where
        if name == "append to a torn file":
            assert torn in [path.read_bytes() for path in store.path(KEY).parent.glob("order-42.json*")], calls.where
        await assert_usable(store)
        shutil.rmtree(base / str(place))
        return place < len(calls.made)

    async def work():
        place, whole = 0, await done(base / "whole", name)
        while await attempt(place, whole):
            place += 1
        assert place > 5

    asyncio.run(work())


def is_left_out(name, found):
    """Tell whether a question about many sessions has left out the one that could not be read."""
    if name == "spend" and len(found) == 1:
        return found[0].spend is None
    return name in ("scan", "find", "spend", "search") and found == []


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", OTHERS)
def test_a_reading_of_which_any_call_fails_is_right_or_an_error(base, name, number):
    async def work():
        store = await prepared(base / "sessions", name)
        expected, files, place = await OTHERS[name][1](store), open_files(), 0
        while True:
            found, failed = expected, None
            with Calls().at(place, failing(getattr(errno, number))) as calls:
                try:
                    found = await OTHERS[name][1](store)
                except SessionIOError as error:
                    failed = error
            assert open_files() == files, calls.where
            assert failed is None or failed.errno == getattr(errno, number), calls.where
            # One broken file must not hide the others: it is left out, and logged.
            assert found == expected or is_left_out(name, found), calls.where
            if place >= len(calls.made):
                break
            place += 1
        assert place > 3
        await assert_usable(store)

    asyncio.run(work())


TURNS = {
    "a streamed send": ([], "send", ("t", 1, "answers", True)),
    "a send that pauses": ([], "send", ("t", 0, "pauses", False)),
    "a resume": ([("send", ("p", 0, "pauses", False))], "resume", (True, "t", 0, "answers", False)),
    "a retry": ([("send", ("f", 0, "fails", False))], "retry", ("t", 0, "answers", False)),
}


async def words(store):
    """Return the history in words, whose totals are their fold."""
    entries = await store.entries(KEYS[0])
    assert (await store.load(KEYS[0])).context == fold(ContextStats(), entries)
    return State(tuple(word(entry) for entry in entries))


def answered(state):
    """Return a history in which no call is without an output, as the end of a turn leaves it."""
    return state.plus(*(f"~function_call_output:{call}" for call in state.unanswered))


@pytest.mark.parametrize("name", TURNS)
def test_a_turn_of_which_any_call_fails_keeps_whole_batches_and_says_so(base, name):
    """Each call fails with one of the errors, in turn."""
    before, operation, arguments = TURNS[name]

    async def prepare():
        world = World(FileStore(base / "first"))
        for what, given in [("create", ("first", [1])), *before]:
            await crash.operation(what).act(world, KEYS[0], *given)

    async def attempt(place):
        shutil.copytree(base / "first", base / str(place))
        world = World(FileStore(base / str(place)))
        stages = OPERATIONS[operation].stages(await words(world.store), *arguments)
        await world.manager.get_session(KEYS[0].session_id)  # so that the turn need not look for it
        number, files, failed = ERRORS[place % len(ERRORS)], open_files(), None
        with Calls().at(place, failing(getattr(errno, number))) as calls:
            try:
                await OPERATIONS[operation].act(world, KEYS[0], *arguments)
            except (SessionIOError, ReplyNotStoredError) as error:
                failed = error.__cause__ if isinstance(error, ReplyNotStoredError) else error
        assert open_files() == files, calls.where
        found = await words(world.store)
        if failed is None:
            assert found == stages[-1], calls.where
        else:
            assert failed.errno == getattr(errno, number), calls.where
            ends = [(), ("~turn:failed",), ("~usage", "~turn:failed")]  # what was spent is stored with the end
            assert found in [answered(stage).plus(*end) for stage in stages for end in ends] + stages, calls.where
        if place % 3 == 0 or failed is None:
            await assert_goes_on(world)
        async with world.store.turn_lock(KEYS[0], timeout=0):
            pass
        shutil.rmtree(base / str(place))
        return place < len(calls.made)

    async def work():
        await prepare()
        place = 0
        while await attempt(place):
            place += 1
        print(place, "calls")
        assert place > 30

    asyncio.run(work())


async def assert_goes_on(world):
    """No lock is left, and the next turn works, which is a resume where one waits."""
    waits = (await words(world.store)).waits_for_approval
    how, arguments = ("resume", (True, "n", 0, "answers", False)) if waits else ("send", ("n", 0, "answers", False))
    await asyncio.wait_for(OPERATIONS[how].act(world, KEYS[0], *arguments), 5)
    assert (await words(world.store)).words[-3:] == ("~n!", "~usage", "~turn:completed")


def test_a_session_that_cannot_be_read_is_not_called_missing(base):
    """A manager that does not know yet whose session it is looks for it below every agent."""

    async def work():
        store = await prepared(base / "whole", "append")
        async with SessionManager(store) as manager:
            with Calls() as calls:
                await manager.get_session(KEY.session_id)
        for place in range(len(calls.made)):
            async with SessionManager(store) as manager:
                with (
                    Calls().at(place, failing(getattr(errno, ERRORS[place % len(ERRORS)]))),
                    contextlib.suppress(SessionIOError),
                ):
                    assert (await manager.get_session(KEY.session_id)).key == KEY

    asyncio.run(work())


@pytest.mark.parametrize("name", CHANGES)
def test_writes_that_come_back_short_are_continued(base, name):
    real = os.pwrite

    async def work():
        store = await prepared(base / "sessions", name)
        with mock.patch.object(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:11], offset)):
            await CHANGES[name][1](store)
        assert await look(store) == await done(base / "whole", name)
        await assert_usable(store)

    asyncio.run(work())


def test_a_batch_whose_sync_failed_is_not_there_for_anyone(base):
    """Not for this process, which has seen the new tail, and not for the next one."""

    async def work():
        store = await prepared(base / "whole", "append")
        before, real, calls = await look(store), os.fdatasync, []

        def sync(fd):
            calls.append(fd)
            if len(calls) == 1:
                raise OSError(errno.EIO, "I/O error")
            real(fd)

        with mock.patch.object(os, "fdatasync", sync), pytest.raises(SessionIOError):
            await store.append(KEY, [said("lost")])
        assert await look(store) == before
        with mock.patch.object(process, "file_ends", Recent(8)):
            assert await look(FileStore(store.root)) == before

    asyncio.run(work())


# --- for real --------------------------------------------------------------------------------------------------

CHILD = """
    import asyncio, os, resource, signal, sys
    from agents_sessions.model.entries import item_entry
    from agents_sessions.errors import SessionError, SessionIOError
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.file.store import FileStore

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
                for act in (lambda: store.append(key, [said("x")]), lambda: store.items(key, limit=1),
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


READ_ONLY = """
    async def refused(what, act):
        try:
            await act()
        except SessionIOError as error:
            assert error.errno == 13, (what, error.errno)
        else:
            raise AssertionError(f"{what} was not refused")

    async def prepare():
        await store.create(SessionInfo(id="order-42", agent_id="support"), [said("first")])
        await store.write_sidecar(key, "a.json", b"old")

    async def look():
        return await store.load(key), await store.entries(key), await store.read_sidecar(key, "a.json")

    async def work():
        before, folder = await look(), store.path(key).parent
        acts = {
            "create": lambda: store.create(SessionInfo(id="order-43", agent_id="support")),
            "rewrite": lambda: store.rewrite(key, lambda history: history.with_facts(name="new")),
            "delete": lambda: store.delete(key),
            "turn": lambda: store.turn_lock(key, 0).__aenter__(),
        }
        os.chmod(folder, 0o500)
        for what, act in acts.items():
            await refused(what, act)
        assert await look() == before
        await store.append(key, [said("second")])  # which changes no name
        os.chmod(folder, 0o700)
        before = await look()
        os.chmod(store.path(key), 0o400)
        await refused("append", lambda: store.append(key, [said("third")]))
        os.chmod(store.path(key), 0o600)
        os.chmod(folder / "order-42", 0o500)
        await refused("replaced sidecar", lambda: store.write_sidecar(key, "a.json", b"new"))
        await refused("first sidecar in a folder", lambda: store.write_sidecar(key, "checkpoints/a.json", b"new"))
        await refused("removed sidecar", lambda: store.delete_sidecar(key, "a.json"))
        os.chmod(folder / "order-42", 0o700)
        await store.delete_sidecar(key, "a.json")
        os.chmod(folder, 0o500)
        await refused("first sidecar", lambda: store.write_sidecar(key, "a.json", b"new"))
        os.chmod(folder, 0o700)
        os.chmod(store.root, 0o500)
        await refused("create", lambda: store.create(SessionInfo(id="a", agent_id="sales")))
        os.chmod(store.root, 0o700)
        assert (await look())[:2] == before[:2]
        for act in (acts["create"], acts["rewrite"], lambda: store.write_sidecar(key, "a.json", b"new")):
            await act()
        assert os.listdir(folder / "order-42") == ["a.json"]

    os.mkdir(store.root)
    if os.geteuid() == 0:  # who may write everywhere, and nobody cannot load a module
        asyncio.run(asyncio.to_thread(int))
        os.chown(store.root, 65534, 65534)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    asyncio.run(prepare())
    asyncio.run(work())
    print(os.geteuid())
"""


def test_a_read_only_folder_or_file_is_an_error_and_reading_goes_on():
    """In a process that is not root: it becomes nobody after all modules are loaded."""
    with tempfile.TemporaryDirectory(prefix="read-only-") as folder:
        os.chmod(folder, 0o711)
        assert run_child(READ_ONLY, f"{folder}/sessions") != ["0"]


LAST_LOOKS = {
    **dict.fromkeys(CHANGES, "replace"),
    **dict.fromkeys(OTHERS, "open"),
    **dict.fromkeys(["create", "create where a deletion died", "copy", "delete", "delete with sidecars"], "unlink"),
    "delete_sidecar": "unlink",
    "append": "stat",
    "entries of a torn file": "stat",
    "list_sidecars": "listdir",
    "turn_lock": "fchmod",
}
"""The call by which an operation looks for the last time whether what it works on is still there."""


def last_look(name, made):
    look = LAST_LOOKS[name]
    if name.startswith("delete"):
        return made.index(look)  # what is unlinked later are second names
    if name == "turn_lock":
        return made.index(look) - 1  # it counts the names of the lock file just before
    return len(made) - 1 - made[::-1].index(look)


async def there_is(store, name, whole):
    """Tell whether what an operation has reported as done can be seen."""
    if "write_sidecar" in name or "first sidecar" in name:
        # Its folders may have been made anew. It is no one's there: no session sees it, and a new one removes it.
        path = "other/a.json" if "folder" in name else "run_state.json"
        return (store.path(KEY).with_suffix("") / path).read_bytes() == b"new"
    return await look(store) == whole


SEVERAL = {
    "copy",
    "create from a stream with sidecars",
    "set_aside",
    "bring_back",
    "discard",
    "load_aside",
    "sizes",
    "import in its place",
    "move",
}
"""Changes of several steps, each of which looks for the folder by itself."""


@pytest.mark.parametrize("name", [name for name in [*CHANGES, *OTHERS] if name not in SEVERAL])
def test_an_operation_whose_folder_was_removed_is_done_or_an_error(base, name):
    """Removed before its last look, it may not be told as done, if it has not made the folder anew and is there."""

    async def attempt(place, expected, whole, looks):
        store, failed, found = await prepared(base / str(place), name), None, None
        with Calls().at(place, lambda: shutil.rmtree(store.root)) as calls:
            try:
                found = await {**CHANGES, **OTHERS}[name][1](store)
            except (SessionNotFoundError, SessionIOError) as error:
                failed = error
        assert len(calls.made) > place, "it did not come that far"
        assert not isinstance(failed, SessionIOError) or failed.errno == errno.ENOENT, calls.where
        if place > looks:
            assert failed is None, calls.where
            assert name in CHANGES or found == expected, calls.where
        elif failed is None and name in CHANGES:
            assert found is False or await there_is(store, name, whole), f"told as done after {calls.where}"
        elif failed is None:
            assert found in (expected, None, []) or name == "list_sidecars", calls.where
        await assert_usable(store)

    async def work():
        store, whole = await prepared(base / "expected", name), None
        with Calls() as calls:
            expected = await {**CHANGES, **OTHERS}[name][1](store)
        if name in CHANGES:
            whole = await look(store)
        looks = last_look(name, calls.made)
        if name in CHANGES and "pwrite" in calls.made:
            assert "pwrite" not in calls.made[looks:], "it writes and does not look again"
        for place in range(len(calls.made)):
            await attempt(place, expected, whole, looks)

    before = open_files()
    asyncio.run(work())
    assert open_files() == before


def test_the_limits_of_this_process_were_left_alone():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
