"""The plain system calls: every byte, no link, no descriptor left, and the errors that callers tell apart."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from unittest import mock

import pytest
from system import status_of

from agents_sessions.stores.file.disk import syscalls as file_io

pytestmark = pytest.mark.usefixtures("nothing_stays_open_or_locked")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads at once are Linux's")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "file", os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def synced():
    """The files and folders that are synced, in their order, and how."""
    made = []
    with contextlib.ExitStack() as stack:
        for name in ("fsync", "fdatasync"):
            stack.enter_context(mock.patch.object(os, name, lambda fd, name=name: made.append((name, status_of(fd)))))
        yield made


def failing(name, number, when=lambda *args: True):
    """Let a call of `os` fail, if its arguments are the ones."""
    real = getattr(os, name)

    def call(*args, **kwargs):
        if when(*args):
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    return mock.patch.object(os, name, call)


def place(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# --- bytes -----------------------------------------------------------------------------------------------------


def test_a_sync_brings_data_to_the_disk_unless_it_is_not_wanted(file, synced):
    file_io.sync(file)
    file_io.sync(file, durable=True)
    assert synced == [("fdatasync", status_of(file))] * 2
    file_io.sync(file, durable=False)
    assert len(synced) == 2


def test_a_sync_of_macos_goes_through_the_cache_of_the_drive(file, synced):
    asked = []
    with (
        mock.patch.object(sys, "platform", "darwin"),
        mock.patch.object(fcntl, "F_FULLFSYNC", 51, create=True),
        mock.patch.object(fcntl, "fcntl", lambda *args: asked.append(args)),
    ):
        file_io.sync(file)
    assert asked == [(file, 51)]
    assert synced == []


def test_a_failed_sync_is_an_error_and_not_tried_again(file):
    tried = []
    with failing("fdatasync", errno.EIO, lambda fd: not tried.append(fd)), pytest.raises(OSError, match="Errno 5"):
        file_io.sync(file)
    assert tried == [file]


def test_bytes_are_written_from_the_offset_on(file, tmp_path):
    file_io.write_all(file, b"abc", 4)
    assert (tmp_path / "file").read_bytes() == b"0123abc789"


@pytest.mark.parametrize("most", [1, 3, 4])
def test_a_short_write_goes_on_where_it_stopped(file, tmp_path, most):
    real = os.pwrite
    with mock.patch.object(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:most], offset)):
        file_io.write_all(file, b"abcdefgh", 5)
    assert (tmp_path / "file").read_bytes() == b"01234abcdefgh"


def test_a_file_that_takes_no_bytes_is_an_error_of_the_disk(file):
    with mock.patch.object(os, "pwrite", return_value=0), pytest.raises(OSError, match="no more bytes") as caught:
        file_io.write_all(file, b"abc", 0)
    assert caught.value.errno == errno.EIO


def test_nothing_to_write_asks_nothing_of_the_disk(file):
    with failing("pwrite", errno.EIO):
        file_io.write_all(file, b"", 0)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 10, b"0123456789"), (3, 4, b"3456"), (8, 10, b"89"), (10, 5, b""), (20, 5, b""), (4, 0, b"")],
)
def test_a_range_is_read_up_to_the_end_of_the_file(file, offset, length, expected):
    assert file_io.read_range(file, offset, length) == expected


@pytest.mark.parametrize("most", [1, 3])
def test_a_short_read_goes_on_where_it_stopped(file, most):
    real = os.preadv
    with mock.patch.object(os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:most]], offset)):
        assert file_io.read_range(file, 2, 6) == b"234567"
        assert file_io.read_range(file, 7, 6) == b"789"


def test_a_range_that_is_there_is_read_with_one_call(file):
    reads = []
    real = os.preadv
    with mock.patch.object(os, "preadv", lambda *args: reads.append(args[2]) or real(*args)):
        file_io.read_range(file, 2, 6)
    assert reads == [2]


def test_a_range_that_was_read_can_grow(file):
    found = file_io.read_range(file, 8, 10)
    found += b"more"  # a view that is left open would forbid it
    assert found == b"89more"


@pytest.fixture
def asked():
    """Reads are served as from memory, whatever the file system can; what was asked of it."""
    real, asked = os.preadv, []

    def preadv(fd, buffers, offset, *flags):
        asked.append(flags)
        return real(fd, buffers, offset)

    with mock.patch.object(os, "preadv", preadv):
        yield asked


@linux
def test_a_read_at_once_never_waits_for_the_disk(file, asked):
    assert file_io.read_range_at_once(file, 2, 5) == b"23456"
    assert asked == [(os.RWF_NOWAIT,)]


@linux
@pytest.mark.parametrize(("offset", "length"), [(0, 11), (8, 3), (20, 1)])
def test_a_read_at_once_that_comes_back_short_would_have_to_wait(file, asked, offset, length):
    with pytest.raises(file_io.WouldWait):
        file_io.read_range_at_once(file, offset, length)


@linux
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_a_read_at_once_that_the_kernel_refuses_would_have_to_wait(file, number):
    with failing("preadv", number), pytest.raises(file_io.WouldWait) as caught:
        file_io.read_range_at_once(file, 0, 1)
    assert caught.value.__cause__.errno == number


@linux
def test_a_read_at_once_takes_a_mebibyte_and_no_byte_more(file, asked):
    os.ftruncate(file, 3 << 20)
    assert file_io.AT_ONCE_BYTES == 1024 * 1024
    assert len(file_io.read_range_at_once(file, 0, 1024 * 1024)) == 1024 * 1024
    with pytest.raises(file_io.WouldWait):
        file_io.read_range_at_once(file, 0, 1024 * 1024 + 1)
    assert len(asked) == 1


ELSEWHERE = """
import os, sys
os.__dict__.pop("RWF_NOWAIT", None)
from agents_sessions.stores.file.disk import syscalls as file_io
fd = os.open(sys.argv[1], os.O_RDONLY)
assert file_io.read_range(fd, 0, 5) == b"01234"
try:
    file_io.read_range_at_once(fd, 0, 5)
except file_io.WouldWait:
    print("would wait")
"""


def test_a_system_that_cannot_read_at_once_would_always_wait(file, tmp_path):
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "would wait\n", done.stderr


# --- folders ---------------------------------------------------------------------------------------------------


def test_closing_closes_and_says_nothing_of_an_error(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    file_io.close(fd)
    assert status_of(fd) is None
    file_io.close(fd)


def test_a_folder_is_opened_below_its_root(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    for parts in (("a",), ("a", "b"), ("a", "b", "c")):
        fd = file_io.open_directory(str(tmp_path), *parts)
        assert status_of(fd) == place(tmp_path.joinpath(*parts))
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_a_root_may_be_a_link(tmp_path):
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "root").symlink_to("real")
    with file_io.directory(str(tmp_path / "root"), "a") as fd:
        assert status_of(fd) == place(tmp_path / "real" / "a")


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("parts", [("link",), ("link", "b"), ("a", "link"), ("a", "link", "b")])
def test_a_link_below_the_root_is_no_folder(tmp_path, parts, create):
    (tmp_path / "real" / "b").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "a" / "link").symlink_to("../real")
    with pytest.raises(file_io.NotRegular, match="a link or a file"):
        file_io.open_directory(str(tmp_path), *parts, create=create)


@pytest.mark.parametrize("parts", [("file",), ("a", "file"), ("a", "file", "b")])
def test_a_file_is_no_folder(tmp_path, parts):
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "a" / "file").touch()
    with pytest.raises(file_io.NotRegular):
        file_io.open_directory(str(tmp_path), *parts)


@pytest.mark.parametrize("parts", [("a",), ("there", "a"), ("there", "a", "b")])
def test_a_folder_that_is_not_there_is_not_made_unasked(tmp_path, parts):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileNotFoundError):
        file_io.open_directory(str(tmp_path), *parts)
    with pytest.raises(FileNotFoundError), file_io.directory(str(tmp_path), *parts):
        pass
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(tmp_path / "there") == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ELOOP, file_io.NotRegular),
        (errno.EMLINK, file_io.NotRegular),  # a link, to FreeBSD
        (errno.ENOTDIR, file_io.NotRegular),
        (errno.EACCES, PermissionError),
        (errno.EMFILE, OSError),
    ],
)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_folder_that_cannot_be_opened_is_told_from_what_is_no_folder(tmp_path, nth, number, kind):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    opened = []
    with (
        failing("open", number, lambda *args: opened.append(args) or len(opened) == nth),
        pytest.raises(kind) as caught,
    ):
        file_io.open_directory(str(tmp_path), "a", "b", "c", create=True)
    assert (caught.value.__cause__ or caught.value).errno == number
    assert len(opened) == nth


def test_a_folder_is_made_with_those_above_it_and_synced(tmp_path, synced):
    fd = file_io.open_directory(str(tmp_path / "root"), "a", "b", create=True)
    assert status_of(fd) == place(tmp_path / "root" / "a" / "b")
    os.close(fd)
    root = tmp_path / "root"
    assert synced == [("fsync", place(each)) for each in (tmp_path.parent, tmp_path, root, root / "a")]


def first():
    """Tell the first call from the others."""
    made = []
    return lambda *args: not made and not made.append(args)


def test_a_folder_above_that_takes_no_sync_is_no_obstacle(tmp_path):
    for number in (errno.EACCES, errno.EINVAL):
        with failing("fsync", number, first()):
            file_io.make_directory(str(tmp_path), str(number), durable=True)
    with failing("fsync", errno.EIO, first()), pytest.raises(OSError, match="Errno 5"):
        file_io.make_directory(str(tmp_path), "a", durable=True)
    assert sorted(os.listdir(tmp_path)) == sorted([str(errno.EACCES), str(errno.EINVAL), "a"])


def test_a_folder_is_made_without_a_sync_where_none_is_wanted(tmp_path, synced):
    with file_io.directory(str(tmp_path), "a", "b", create=True, durable=False) as fd:
        assert status_of(fd) == place(tmp_path / "a" / "b")
    assert synced == []


def test_a_folder_that_is_needed_for_a_while_is_made_and_synced(tmp_path, synced):
    with file_io.directory(str(tmp_path), "a", create=True):
        assert synced == [("fsync", place(tmp_path.parent)), ("fsync", place(tmp_path))]


def test_a_folder_that_is_there_is_neither_made_nor_synced(tmp_path, synced):
    (tmp_path / "a").mkdir()
    os.close(file_io.open_directory(str(tmp_path), "a", create=True))
    assert synced == []


def test_a_folder_is_closed_whatever_happens_in_it(tmp_path):
    with contextlib.suppress(ZeroDivisionError), file_io.directory(str(tmp_path.parent), tmp_path.name):
        raise ZeroDivisionError


@pytest.mark.parametrize("mask", [0, 0o777])
def test_new_folders_are_the_owners_alone_under_any_umask(tmp_path, mask):
    with umask(mask):
        file_io.make_directory(str(tmp_path), "a", "b", durable=True)
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_a_new_folder_is_no_ones_else_at_any_moment(tmp_path):
    seen = []
    real = os.chmod
    with (
        umask(0),
        mock.patch.object(os, "chmod", lambda path, *args, **how: seen.append(mode(path)) or real(path, *args, **how)),
    ):
        file_io.make_directory(str(tmp_path), "a", durable=False)
    assert seen == [0o700]


def test_a_folder_that_was_there_keeps_its_mode(tmp_path, synced):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o750)
    file_io.make_directory(str(tmp_path), "a", durable=True)
    file_io.make_directory(str(tmp_path), "a", "b", durable=True)
    assert mode(tmp_path / "a") == 0o750
    assert mode(tmp_path / "a" / "b") == 0o700
    expected = [tmp_path.parent, tmp_path, tmp_path, tmp_path / "a"]
    assert synced == [("fsync", place(each)) for each in expected]


def test_a_folder_that_cannot_be_synced_is_an_error(tmp_path):
    with failing("fsync", errno.EIO), pytest.raises(OSError, match="Errno 5"):
        file_io.make_directory(str(tmp_path), "a", durable=True)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    with failing("mkdir", errno.ENOSPC), pytest.raises(OSError, match="Errno 28"):
        file_io.open_directory(str(tmp_path), "a", create=True)


def test_the_names_of_a_folder_are_synced_where_it_is_wanted(folder, synced):
    file_io.sync_directory(folder, durable=False)
    assert synced == []
    file_io.sync_directory(folder, durable=True)
    assert synced == [("fsync", status_of(folder))]


def test_the_folders_of_a_root_are_sorted_and_neither_files_nor_links(tmp_path):
    for name in ("e", "b", "d", "a", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    assert file_io.folders(str(tmp_path)) == ["a", "b", "c", "d", "e"]


def test_a_root_that_is_not_there_has_no_folders(tmp_path):
    assert file_io.folders(str(tmp_path / "nowhere")) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        file_io.folders(str(tmp_path / "file"))


def test_the_names_in_a_folder_are_sorted_and_not_hidden(tmp_path, folder):
    for name in ("c.json", "a.json", "b.txt", "a.txt", ".a.json", "b"):
        (tmp_path / name).touch()
    assert file_io.names(folder) == ["a.json", "a.txt", "b", "b.txt", "c.json"]
    assert file_io.names(folder, suffix=".json") == ["a.json", "c.json"]
    assert file_io.names(folder, prefix="b") == ["b", "b.txt"]
    assert file_io.names(folder, prefix="a", suffix=".txt") == ["a.txt"]


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_opened_for_reading_and_for_nothing_else(tmp_path, folder, file):
    fd = file_io.open_file(folder, "file")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    assert status_of(fd) == place(tmp_path / "file")
    assert flags & os.O_ACCMODE == os.O_RDONLY
    assert flags & os.O_NONBLOCK
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_file_that_is_not_there_is_not_made(tmp_path, folder):
    with pytest.raises(FileNotFoundError):
        file_io.open_file(folder, "file")
    with pytest.raises(FileNotFoundError), file_io.opened(folder, "file"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_file_is_open_for_as_long_as_it_is_needed(tmp_path, folder, file):
    with file_io.opened(folder, "file") as fd:
        assert status_of(fd) == place(tmp_path / "file")
    assert status_of(fd) is None
    with contextlib.suppress(ZeroDivisionError), file_io.opened(folder, "file"):
        raise ZeroDivisionError


def make_socket(path):
    """Below the working folder, because the path of a socket is short."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


ODD = {
    "a link": lambda path: os.symlink("file", path),
    "a link that leads nowhere": lambda path: os.symlink("nowhere", path),
    "a folder": os.mkdir,
    "a FIFO": os.mkfifo,
    "a socket": make_socket,
}


@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_is_no_file_is_not_opened(tmp_path, folder, file, make, access):
    make(tmp_path / "odd")
    with pytest.raises(file_io.NotRegular, match="not a regular file"):
        file_io.open_regular(folder, "odd", access | file_io.OPEN)


def test_a_device_is_not_opened():
    devices = os.open("/dev", os.O_RDONLY)
    try:
        with pytest.raises(file_io.NotRegular, match="a device"):
            file_io.open_file(devices, "null")
    finally:
        os.close(devices)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ELOOP, file_io.NotRegular),
        (errno.EMLINK, file_io.NotRegular),
        (errno.EISDIR, file_io.NotRegular),
        (errno.ENXIO, file_io.NotRegular),
        (errno.EACCES, PermissionError),
        (errno.EMFILE, OSError),
    ],
)
def test_a_file_that_cannot_be_opened_is_told_from_what_is_no_file(folder, file, number, kind):
    with failing("open", number), pytest.raises(kind) as caught:
        file_io.open_file(folder, "file")
    assert (caught.value.__cause__ or caught.value).errno == number


def test_a_file_that_is_closed_again_leaves_no_descriptor(folder, file):
    with failing("fstat", errno.EIO), pytest.raises(OSError, match="Errno 5"):
        file_io.open_file(folder, "file")


@pytest.mark.parametrize("mask", [0, 0o077])
def test_a_file_that_is_made_is_the_owners_alone(tmp_path, folder, mask):
    with umask(mask):
        os.close(file_io.open_regular(folder, "new", os.O_RDWR | os.O_CREAT | file_io.OPEN))
    assert mode(tmp_path / "new") == 0o600


def test_a_name_exists_also_if_it_leads_nowhere(tmp_path, folder, file):
    (tmp_path / "link").symlink_to("nowhere")
    assert file_io.exists(folder, "file")
    assert file_io.exists(folder, "link")
    assert file_io.exists(folder, "nowhere") is False


def test_a_name_that_cannot_be_looked_up_is_not_taken_for_missing(folder, file):
    with pytest.raises(NotADirectoryError):
        file_io.exists(folder, "file/below")
    with pytest.raises(NotADirectoryError):
        file_io.leads_to(folder, "file/below", file)


def test_the_size_and_the_identity_are_those_of_the_open_file(tmp_path, file):
    assert file_io.size_of(file) == 10
    assert file_io.identity_of(file) == place(tmp_path / "file")
    (tmp_path / "file").rename(tmp_path / "moved")
    assert file_io.identity_of(file) == place(tmp_path / "moved")


def test_a_name_leads_to_a_file_until_it_is_replaced_or_removed(tmp_path, folder, file):
    assert file_io.leads_to(folder, "file", file)
    os.link(tmp_path / "file", tmp_path / "second")
    assert file_io.leads_to(folder, "second", file)
    (tmp_path / "new").write_bytes(b"0123456789")
    (tmp_path / "new").rename(tmp_path / "file")
    assert not file_io.leads_to(folder, "file", file)
    (tmp_path / "file").unlink()
    assert not file_io.leads_to(folder, "file", file)


def test_a_link_to_a_file_does_not_lead_to_it(tmp_path, folder, file):
    (tmp_path / "file").rename(tmp_path / "moved")
    (tmp_path / "file").symlink_to("moved")
    assert not file_io.leads_to(folder, "file", file)
