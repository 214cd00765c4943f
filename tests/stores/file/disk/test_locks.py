"""Locks as other processes see them, and what is left of them when a step fails or a child is forked."""

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
import textwrap
from unittest import mock

import pytest
from system import other_process, status_of

from agents_sessions.concurrency import process
from agents_sessions.stores.file.disk import locks as file_locks
from agents_sessions.stores.file.disk.syscalls import NotRegular

pytestmark = pytest.mark.usefixtures("nothing_stays_open_or_locked")


def can_lock(path, how=fcntl.LOCK_EX):
    with other_process(path, how) as told:
        return told == "held"


@contextlib.contextmanager
def held_elsewhere(path, how=fcntl.LOCK_EX):
    with other_process(path, how) as told:
        assert told == "held"
        yield


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    return path


def access(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def inode(path):
    return path.stat().st_ino


def before_each(module, name, action):
    """Do something before each call of a function of a module."""
    real = getattr(module, name)

    def call(*args, **kwargs):
        action(*args, **kwargs)
        return real(*args, **kwargs)

    return mock.patch.object(module, name, call)


def failing(name, number, module=os):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return before_each(module, name, fail)


# --- files -----------------------------------------------------------------------------------------------------


def test_a_locked_file_keeps_readers_and_writers_of_other_processes_out(folder, path):
    fd = file_locks.open_locked(folder, "file")
    assert access(fd) == os.O_RDWR
    assert status_of(fd)[1] == inode(path)
    assert not can_lock(path)
    assert not can_lock(path, fcntl.LOCK_SH)
    file_locks.close_locked(fd)
    assert status_of(fd) is None
    assert can_lock(path)


def test_a_shared_lock_keeps_only_writers_out(folder, path):
    with held_elsewhere(path, fcntl.LOCK_SH):
        fd = file_locks.open_locked(folder, "file", shared=True)
        assert access(fd) == os.O_RDONLY
    assert can_lock(path, fcntl.LOCK_SH)
    assert not can_lock(path)
    file_locks.close_locked(fd)
    assert can_lock(path)


@pytest.mark.parametrize(("shared", "theirs"), [(False, fcntl.LOCK_EX), (False, fcntl.LOCK_SH), (True, fcntl.LOCK_EX)])
def test_a_file_that_another_process_has_locked_is_busy_and_not_waited_for(folder, path, shared, theirs):
    with held_elsewhere(path, theirs), pytest.raises(BlockingIOError):
        file_locks.open_locked(folder, "file", shared=shared)
    file_locks.close_locked(file_locks.open_locked(folder, "file", shared=shared))


def test_a_file_that_is_not_there_is_locked_only_if_it_may_be_made(folder, tmp_path):
    for shared in (False, True):
        with pytest.raises(FileNotFoundError):
            file_locks.open_locked(folder, "file", shared=shared)
    assert os.listdir(tmp_path) == []
    fd = file_locks.open_locked(folder, "file", create=True)
    assert mode(tmp_path / "file") == 0o600
    assert not can_lock(tmp_path / "file")
    file_locks.close_locked(fd)


def test_what_is_no_file_is_neither_waited_for_nor_locked(folder, path):
    os.symlink("file", path.with_name("link"))
    os.mkfifo(path.with_name("fifo"))
    for name in ("link", "fifo"):
        with pytest.raises(NotRegular):
            file_locks.open_locked(folder, name, create=True)
    assert can_lock(path)


def test_a_locked_file_leaks_into_no_program(folder, path):
    fd = file_locks.open_locked(folder, "file")
    assert not os.get_inheritable(fd)
    file_locks.close_locked(fd)


def replacing(path, times):
    """Another file comes in the place of this one, so often, between opening and locking it."""
    left = list(range(times))

    def replace(fd, how):
        if left and how != fcntl.LOCK_UN:
            path.with_name("new").write_text(f"{left.pop()} more")
            path.with_name("new").replace(path)

    return before_each(fcntl, "flock", replace)


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_is_replaced_before_it_is_locked_is_opened_again(folder, path, times):
    with replacing(path, times):
        fd = file_locks.open_locked(folder, "file")
    assert os.pread(fd, 99, 0) == b"0 more"
    assert not can_lock(path)
    assert len(process.locked_files) == 1
    file_locks.close_locked(fd)


def removing(path):
    """The name is removed, once, between opening the file and locking it."""
    removed = []
    return before_each(fcntl, "flock", lambda fd, how: removed or removed.append(path.unlink()))


def test_a_file_that_is_removed_before_it_is_locked_is_gone_or_made_anew(folder, path):
    with removing(path), pytest.raises(FileNotFoundError):
        file_locks.open_locked(folder, "file")
    path.write_bytes(b"old content")
    old = os.open(path, os.O_RDONLY)
    with removing(path):
        fd = file_locks.open_locked(folder, "file", create=True)
    assert status_of(fd)[1] == inode(path)
    assert os.fstat(fd).st_size == 0
    assert status_of(fd) != status_of(old)
    os.close(old)
    file_locks.close_locked(fd)


def test_a_lock_that_cannot_be_looked_at_is_given_back(folder, path):
    with failing("stat", errno.EIO), pytest.raises(OSError, match="Errno 5"):
        file_locks.open_locked(folder, "file")
    assert can_lock(path)


def test_a_file_is_locked_for_as_long_as_it_is_needed(folder, path):
    with file_locks.locked(folder, "file") as fd:
        assert status_of(fd)[1] == inode(path)
        assert not can_lock(path, fcntl.LOCK_SH)
    assert status_of(fd) is None
    with contextlib.suppress(ZeroDivisionError), file_locks.locked(folder, "file"):
        raise ZeroDivisionError
    assert can_lock(path)


def test_a_file_is_made_for_as_long_as_it_is_locked_only_if_it_may_be(folder, tmp_path):
    with pytest.raises(FileNotFoundError), file_locks.locked(folder, "file"):
        pass
    with file_locks.locked(folder, "file", create=True):
        assert os.listdir(tmp_path) == ["file"]


# --- releasing -------------------------------------------------------------------------------------------------


def test_a_released_lock_is_free_although_someone_shares_the_open_file(folder, path):
    fd = file_locks.open_locked(folder, "file")
    shared = os.dup(fd)  # as a process that was forked without our knowing has it
    file_locks.close_locked(fd)
    assert can_lock(path)
    os.close(shared)


def test_a_lock_that_cannot_be_released_is_closed_all_the_same(folder, path):
    fd = file_locks.open_locked(folder, "file")
    with failing("flock", errno.ENOLCK, fcntl):
        file_locks.close_locked(fd)
    assert status_of(fd) is None
    assert can_lock(path)


def test_what_was_not_locked_here_is_not_closed(folder, path):
    theirs = os.open(path, os.O_RDWR)
    file_locks.close_locked(theirs)
    file_locks.close_lock_file(folder, "file", theirs)
    assert status_of(theirs)[1] == inode(path)
    os.close(theirs)


def test_a_lock_is_released_once(folder, path):
    fd = file_locks.open_locked(folder, "file")
    file_locks.close_locked(fd)
    again = os.open(path, os.O_RDONLY)
    assert again == fd
    file_locks.close_locked(fd)
    assert status_of(again)[1] == inode(path)
    os.close(again)


# --- folders ---------------------------------------------------------------------------------------------------


def test_a_folder_is_held_and_stays_open(folder, tmp_path):
    with file_locks.held(folder):
        assert not can_lock(tmp_path, fcntl.LOCK_SH)
    assert can_lock(tmp_path)
    assert status_of(folder)[1] == inode(tmp_path)


def test_a_folder_is_free_whatever_happens_in_it(folder, tmp_path):
    with contextlib.suppress(ZeroDivisionError), file_locks.held(folder):
        raise ZeroDivisionError
    assert can_lock(tmp_path)


def test_a_folder_that_another_process_holds_is_waited_for(folder, tmp_path):
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(other_process(tmp_path)) == "held"
        release = mock.Mock(side_effect=lambda _: stack.close())
        with mock.patch.object(file_locks.time, "sleep", release), file_locks.held(folder):
            assert not can_lock(tmp_path)
    assert can_lock(tmp_path)
    assert status_of(folder)[1] == inode(tmp_path)


def test_a_folder_that_is_held_for_long_is_busy(folder, tmp_path, monkeypatch):
    """Whoever has it does not know what it is for, and may have it for ever."""
    monkeypatch.setattr(file_locks, "FOLDER_SECONDS", 0.01)
    with other_process(tmp_path) as told:
        assert told == "held"
        with pytest.raises(BlockingIOError), file_locks.held(folder):
            pytest.fail("it is held twice")
    assert can_lock(tmp_path)


@pytest.mark.parametrize("shared", [False, True])
def test_an_open_file_is_not_waited_for(path, shared):
    fd = os.open(path, os.O_RDWR)
    with held_elsewhere(path), pytest.raises(BlockingIOError):
        file_locks.lock(fd, shared=shared)
    file_locks.close_locked(fd)


def test_a_file_that_is_open_is_locked_alone_or_with_others(path):
    for how, shared in (({}, False), ({"shared": True}, True)):
        fd = os.open(path, os.O_RDWR)
        file_locks.lock(fd, **how)
        assert can_lock(path, fcntl.LOCK_SH) == shared
        assert not can_lock(path)
        file_locks.close_locked(fd)


def test_a_file_that_could_not_be_locked_is_closed_like_any_other(path):
    fd = os.open(path, os.O_RDWR)
    with held_elsewhere(path), pytest.raises(BlockingIOError):
        file_locks.lock(fd)
    file_locks.close_locked(fd)
    assert status_of(fd) is None


# --- lock files ------------------------------------------------------------------------------------------------


def test_a_lock_file_says_who_holds_it_and_is_gone_with_the_lock(folder, tmp_path):
    path = tmp_path / "turn"
    fd = file_locks.open_lock_file(folder, "turn", b"process 7")
    assert path.read_bytes() == b"process 7"
    assert not can_lock(path)
    assert mode(path) == 0o600
    file_locks.close_lock_file(folder, "turn", fd)
    assert os.listdir(tmp_path) == []
    assert status_of(fd) is None


def test_a_lock_file_that_is_held_is_busy_and_not_touched(folder, path):
    with held_elsewhere(path), pytest.raises(BlockingIOError):
        file_locks.open_lock_file(folder, "file", b"process 7")
    assert path.read_bytes() == b"old content"


@pytest.mark.parametrize("holder", [b"7", b"old content", b"a process of a longer name"])
def test_a_lock_file_of_the_dead_is_taken_over(folder, path, holder):
    path.chmod(0o644)
    old = inode(path)
    fd = file_locks.open_lock_file(folder, "file", holder)
    assert path.read_bytes() == holder
    assert mode(path) == 0o600
    assert inode(path) == old
    file_locks.close_lock_file(folder, "file", fd)


def test_a_lock_file_is_never_emptied_before_it_is_written(folder, path):
    sizes = []
    with before_each(os, "ftruncate", lambda fd, size: sizes.append((os.pread(fd, 99, 0), size))):
        fd = file_locks.open_lock_file(folder, "file", b"us")
    assert sizes == [(b"usd content", 2)]
    file_locks.close_lock_file(folder, "file", fd)


def test_a_second_name_of_another_file_is_not_written_to(folder, path, tmp_path):
    path.chmod(0o644)
    os.link(path, tmp_path / "turn")
    fd = file_locks.open_lock_file(folder, "turn", b"process 7")
    assert path.read_bytes() == b"old content"
    assert mode(path) == 0o644
    assert can_lock(path)
    assert (tmp_path / "turn").read_bytes() == b"process 7"
    assert not can_lock(tmp_path / "turn")
    file_locks.close_lock_file(folder, "turn", fd)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fchmod", "pwrite", "ftruncate"])
@pytest.mark.parametrize("there", [False, True])
def test_a_lock_file_of_which_a_step_fails_is_gone_and_free(folder, path, call, there):
    if not there:
        path.unlink()
    with failing(call, errno.EIO), pytest.raises(OSError, match="Errno 5"):
        file_locks.open_lock_file(folder, "file", b"process 7")
    assert not path.exists()


def test_a_lock_file_that_cannot_be_looked_at_is_gone_and_free(folder, path):
    asked = []
    real = os.fstat

    def fstat(fd):
        asked.append(fd)
        if len(asked) == 2:  # after the one that opens it
            raise OSError(errno.EIO, "bad luck")
        return real(fd)

    with mock.patch.object(os, "fstat", fstat), pytest.raises(OSError, match="bad luck"):
        file_locks.open_lock_file(folder, "file", b"process 7")
    assert not path.exists()


def test_a_lock_file_is_gone_before_it_is_free(folder, tmp_path):
    seen = []
    fd = file_locks.open_lock_file(folder, "turn", b"us")
    with before_each(fcntl, "flock", lambda fd, how: seen.append((how, os.listdir(tmp_path)))):
        file_locks.close_lock_file(folder, "turn", fd)
    assert seen == [(fcntl.LOCK_UN, [])]


def test_a_lock_file_of_another_in_the_place_of_ours_stays(folder, tmp_path):
    path = tmp_path / "turn"
    fd = file_locks.open_lock_file(folder, "turn", b"us")
    path.unlink()
    path.write_bytes(b"another")
    file_locks.close_lock_file(folder, "turn", fd)
    assert path.read_bytes() == b"another"
    assert status_of(fd) is None


@pytest.mark.parametrize("call", ["unlink", "stat"])
def test_a_lock_file_that_cannot_be_removed_is_free_and_taken_over(folder, tmp_path, call):
    fd = file_locks.open_lock_file(folder, "turn", b"us")
    with failing(call, errno.EIO):
        file_locks.close_lock_file(folder, "turn", fd)
    assert status_of(fd) is None
    assert can_lock(tmp_path / "turn")
    file_locks.close_lock_file(folder, "turn", file_locks.open_lock_file(folder, "turn", b"us again"))
    assert os.listdir(tmp_path) == []


# --- forked children, in a process of their own because this one has threads -------------------------------------

FORKING = """
    import contextlib, fcntl, os, sys
    from agents_sessions.concurrency import process
    from agents_sessions.stores.file.disk import locks as file_locks

    path = sys.argv[1]
    folder = os.open(os.path.dirname(path), os.O_RDONLY)

    def is_open(fd):
        try:
            return bool(os.fstat(fd))
        except OSError:
            return False

    def forked(work):
        '''Start a child that does something and then lives on until it is let go.'''
        told, tell = os.pipe()
        wait, go = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(go)
            os.write(tell, b"no" if work() else b"ok")
            os.read(wait, 1)
            os._exit(0)
        assert os.read(told, 2) == b"ok"
        return go

    def free():
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
"""


def run_forking(path, script):
    source = textwrap.dedent(FORKING) + textwrap.dedent(script)
    command = [sys.executable, "-W", "ignore", "-c", source, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_runs(path, script):
    done = run_forking(path, script)
    assert done.returncode == 0, done.stderr


def test_a_forked_child_has_no_lock_of_its_parent_and_takes_none_away(path):
    assert_runs(
        path,
        """
        one, two = file_locks.open_locked(folder, "file"), file_locks.open_locked(folder, "second", create=True)
        child = forked(lambda: is_open(one) or is_open(two) or process.locked_files)
        assert is_open(one) and is_open(two) and not free()
        file_locks.close_locked(one)
        file_locks.close_locked(two)
        assert free()
        """,
    )


def test_a_child_does_not_close_what_it_opened_in_the_place_of_a_lock(path):
    assert_runs(
        path,
        """
        fd = file_locks.open_locked(folder, "file")

        def work():
            assert os.open(path, os.O_RDONLY) == fd
            file_locks.close_locked(fd)
            file_locks.close_lock_file(folder, "file", fd)
            return not is_open(fd)

        child = forked(work)
        assert os.path.exists(path) and not free()
        """,
    )


def test_a_child_that_is_forked_while_a_lock_is_taken_does_not_keep_it(path):
    assert_runs(
        path,
        """
        real, children = fcntl.flock, []

        def flock(fd, how):
            real(fd, how)
            if not children:
                children.append(forked(lambda: is_open(fd)))

        fcntl.flock = flock
        fd = file_locks.open_locked(folder, "file")
        os.close(fd)  # without a release, as a death of this process closes it
        fcntl.flock = real
        assert free()
        """,
    )


def test_what_a_child_locks_is_its_own(path):
    assert_runs(
        path,
        """
        with file_locks.locked(folder, "file"):
            pass

        def work():
            with file_locks.locked(folder, "file") as fd:
                return not process.locked_files == {fd} or free()

        child = forked(work)
        assert free()
        """,
    )
