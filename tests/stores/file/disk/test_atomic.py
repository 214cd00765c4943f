"""Changes that happen whole or not at all: what others see on the way, and what is left when a step fails."""

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import stat
import time
from unittest import mock

import pytest
from system import other_process

from agents_sessions.stores.file.disk import atomic as file_atomic

pytestmark = pytest.mark.usefixtures("nothing_stays_open_or_locked")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"the old end")
    return path


@pytest.fixture
def fd(path):
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def quiet(caplog):
    """Nothing worth a warning happens."""
    yield
    assert caplog.get_records("call") == []


def replaced(name, call, module=os):
    """Put another function in the place of one; it is given the old one first."""
    real = getattr(module, name)
    return mock.patch.object(module, name, lambda *args, **kwargs: call(real, *args, **kwargs))


def before_each(name, action):
    def call(real, *args, **kwargs):
        action(*args, **kwargs)
        return real(*args, **kwargs)

    return replaced(name, call)


def failing(name, number=errno.EIO, when=lambda *args: True):
    """Let a call of `os` fail, if its arguments are the ones."""

    def fail(*args, **kwargs):
        if when(*args):
            raise OSError(number, os.strerror(number))

    return before_each(name, fail)


def first():
    """Tell the first call from the others."""
    made = []
    return lambda *args: not made and not made.append(args)


CHANGING = ("pwrite", "fdatasync", "fsync", "link", "unlink", "replace")


@contextlib.contextmanager
def changes():
    """Write down what is asked of the disk."""
    made = []
    with contextlib.ExitStack() as stack:
        for name in CHANGING:
            stack.enter_context(before_each(name, lambda *args, name=name, **how: made.append(name)))
        yield made


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def inode(path):
    return path.lstat().st_ino


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# --- append ----------------------------------------------------------------------------------------------------


def append(folder, fd, data, *, offset=4, old=b"old end", durable=True):
    return file_atomic.append(folder, "file", fd, offset, data, old=old, durable=durable)


@pytest.mark.parametrize(("durable", "asked"), [(True, ["pwrite", "fdatasync"]), (False, ["pwrite"])])
def test_an_append_is_written_over_the_end_and_synced_where_it_is_wanted(folder, path, fd, quiet, durable, asked):
    with changes() as made:
        assert append(folder, fd, b"new lines", durable=durable) is True
    assert path.read_bytes() == b"the new lines"
    assert made == asked


@pytest.mark.parametrize("lost", [os.unlink, lambda path: os.replace(path, f"{path}.moved")])
def test_an_append_to_a_file_that_has_lost_its_name_says_so_and_stands(folder, path, fd, quiet, lost):
    lost(path)
    assert append(folder, fd, b"new lines") is False
    assert os.pread(fd, 99, 0) == b"the new lines"


def test_an_append_to_a_file_that_was_replaced_says_so_and_leaves_the_new_one(folder, path, fd, quiet):
    path.with_name("new").write_bytes(b"the old end")
    path.with_name("new").replace(path)
    assert append(folder, fd, b"new lines") is False
    assert path.read_bytes() == b"the old end"


@pytest.mark.parametrize("new", [b"x", b"new end", b"a much longer new end"])
@pytest.mark.parametrize("call", ["fdatasync", "stat", "pwrite"])
def test_an_append_of_which_a_step_fails_puts_the_old_end_back(folder, path, fd, quiet, call, new):
    with failing(call, errno.ENOSPC, first()), changes() as made, pytest.raises(OSError, match="Errno 28"):
        append(folder, fd, new)
    assert path.read_bytes() == b"the old end"
    assert made[-2:] == ["pwrite", "fdatasync"]  # the old end is brought to the disk as well


def test_an_append_that_a_full_disk_cuts_short_puts_the_old_end_back(folder, path, fd, quiet):
    written = []

    def pwrite(real, fd, data, offset):
        written.append(bytes(data))
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "no room")
        return real(fd, bytes(data)[:10], offset)

    with replaced("pwrite", pwrite), pytest.raises(OSError, match="no room"):
        append(folder, fd, b"a much longer new end")
    assert path.read_bytes() == b"the old end"


def test_an_append_that_is_not_synced_puts_the_old_end_back_without_a_sync(folder, path, fd, quiet):
    with failing("stat"), changes() as made, pytest.raises(OSError, match="Errno 5"):
        append(folder, fd, b"new", durable=False)
    assert path.read_bytes() == b"the old end"
    assert made == ["pwrite", "pwrite"]


def test_an_append_that_is_interrupted_puts_the_old_end_back(folder, path, fd, quiet):
    def interrupt(fd):
        raise KeyboardInterrupt

    with mock.patch.object(os, "fdatasync", interrupt), pytest.raises(KeyboardInterrupt):
        append(folder, fd, b"new lines")
    assert os.pread(fd, 99, 0) == b"the old end"


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "ftruncate"])
def test_an_old_end_that_cannot_be_put_back_is_a_warning_and_the_first_error_stays(folder, fd, caplog, call):
    with failing("stat", errno.EACCES), failing(call, errno.EIO, not_first(call)), pytest.raises(PermissionError):
        append(folder, fd, b"new lines")
    (record,) = caplog.records
    assert record.name == "agents_sessions"
    assert record.levelno == logging.WARNING
    told = f"could not put the old end back ({os.strerror(errno.EIO)}); the next write repairs the file"
    assert record.getMessage() == told


@pytest.mark.parametrize("written", [0, 3])
def test_an_old_end_that_cannot_be_written_back_is_cut_off(folder, path, fd, written):
    real = os.pwrite
    room = iter([len(b"new lines"), written])

    def full(file, data, offset):
        taken = next(room, 0)
        if taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, bytes(data)[:taken], offset)

    with mock.patch.object(os, "pwrite", full), failing("fdatasync", errno.EIO, first()):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            append(folder, fd, b"new lines")
    assert path.read_bytes() == b"the "


def not_first(call):
    once = first()
    return lambda *args: call == "ftruncate" or not once(*args)


# --- new files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o777])
@pytest.mark.parametrize("make", [file_atomic.create, file_atomic.replace])
@pytest.mark.parametrize("durable", [True, False])
def test_a_new_file_is_the_owners_alone_and_all_that_is_left(folder, tmp_path, quiet, make, mask, durable):
    with umask(mask):
        make(folder, "file", b"content", durable=durable)
    assert os.listdir(tmp_path) == ["file"]
    assert mode(tmp_path / "file") == 0o600
    assert (tmp_path / "file").stat().st_nlink == 1
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("make", [file_atomic.create, file_atomic.replace])
def test_a_temporary_is_hidden_locked_and_private_from_its_first_byte_on(folder, tmp_path, make):
    seen = []

    def look(fd, *_):
        (path,) = tmp_path.iterdir()
        with other_process(path) as told:
            seen.append((path.name, told, mode(path)))
        assert not os.get_inheritable(fd)

    with umask(0), before_each("fchmod", look), before_each("fdatasync", look):
        make(folder, "file", b"content", durable=True)
    assert [told for _, *told in seen] == [["busy", 0o600]] * 2
    assert re.fullmatch(r"\.file\.[0-9a-f]{8}\.tmp", seen[0][0])


@pytest.mark.parametrize("make", [file_atomic.create, file_atomic.replace])
@pytest.mark.parametrize("step", ["link", "fsync"])
def test_a_new_file_stays_locked_until_its_name_is_on_the_disk(folder, path, make, step):
    if make is file_atomic.create:
        path.unlink()
    seen = []

    def look(*args, **kwargs):
        found = [each for each in path.parent.iterdir() if each.read_bytes() == b"new"]
        with other_process(found[0]) as told:
            seen.append(told)

    with before_each(step, look):
        make(folder, "file", b"new", durable=True)
    assert set(seen) == {"busy"}
    assert path.read_bytes() == b"new"


def test_a_new_file_is_synced_before_it_has_its_name_and_the_name_after(folder, tmp_path):
    with changes() as made:
        file_atomic.create(folder, "file", b"content", durable=True)
    assert made == ["pwrite", "fdatasync", "link", "unlink", "fsync"]
    with changes() as made:
        file_atomic.create(folder, "second", b"content", durable=False)
    assert made == ["pwrite", "link", "unlink"]


def test_a_new_file_of_no_bytes_is_a_file(folder, tmp_path):
    file_atomic.create(folder, "file", b"", durable=True)
    assert (tmp_path / "file").read_bytes() == b""


TAKEN = {
    "a file": lambda path: path.write_bytes(b"the old end"),
    "a folder": os.mkdir,
    "a link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_a_name_that_is_taken_is_not_touched_by_a_new_file(folder, tmp_path, quiet, take):
    take(tmp_path / "file")
    before = (tmp_path / "file").lstat()
    with pytest.raises(FileExistsError):
        file_atomic.create(folder, "file", b"content", durable=True)
    assert os.listdir(tmp_path) == ["file"]
    after = (tmp_path / "file").lstat()
    assert (after.st_ino, after.st_size, after.st_mode) == (before.st_ino, before.st_size, before.st_mode)


@pytest.mark.parametrize("call", ["fchmod", "pwrite", "fdatasync", "link", "unlink", "fsync"])
def test_a_new_file_of_which_a_step_fails_is_not_there(folder, tmp_path, quiet, call):
    with failing(call, errno.ENOSPC, first()), pytest.raises(OSError, match="Errno 28"):
        file_atomic.create(folder, "file", b"content", durable=True)
    assert os.listdir(tmp_path) == []


def test_a_new_file_that_is_interrupted_is_not_there(folder, tmp_path):
    def interrupt(fd):
        raise KeyboardInterrupt

    for name in ("fsync", "fdatasync"):
        with mock.patch.object(os, name, interrupt), pytest.raises(KeyboardInterrupt):
            file_atomic.create(folder, "file", b"content", durable=True)
        assert os.listdir(tmp_path) == []


def test_a_temporary_that_cannot_be_removed_does_not_hide_the_error(folder, tmp_path):
    with failing("link", errno.EACCES), failing("unlink", errno.EIO), pytest.raises(PermissionError):
        file_atomic.create(folder, "file", b"content", durable=True)
    (left,) = tmp_path.iterdir()
    with other_process(left) as told:
        assert told == "held"


@pytest.mark.parametrize("plant", [lambda path: path.write_bytes(b"theirs"), lambda path: path.symlink_to("victim")])
def test_a_temporary_is_never_what_was_there_before(folder, tmp_path, plant):
    (tmp_path / "victim").write_bytes(b"theirs")
    plant(tmp_path / ".file.0badf00d.tmp")
    with mock.patch.object(secrets, "token_hex", return_value="0badf00d"), pytest.raises(FileExistsError):
        file_atomic.replace(folder, "file", b"content", durable=True)
    assert (tmp_path / ".file.0badf00d.tmp").read_bytes() == b"theirs"


# --- one file in another's place -------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_in_the_place_of_another_leaves_the_old_one_to_its_readers(folder, path, fd, quiet, durable):
    file_atomic.replace(folder, "file", b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert os.pread(fd, 99, 0) == b"the old end"
    assert os.fstat(fd).st_nlink == 0
    assert os.listdir(path.parent) == ["file"]


def test_a_file_is_synced_before_it_takes_the_place_of_another_and_the_name_after(folder, path):
    with changes() as made:
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert made == ["pwrite", "fdatasync", "link", "replace", "fsync", "unlink"]
    with changes() as made:
        file_atomic.replace(folder, "file", b"new", durable=False)
    assert made == ["pwrite", "replace"]


def test_the_old_file_has_a_second_name_until_the_new_one_is_on_the_disk(folder, path):
    seen = []

    def look(_):
        seen.extend(each.name for each in path.parent.iterdir() if each.read_bytes() == b"the old end")

    with before_each("fsync", look):
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert re.fullmatch(r"\.file\.[0-9a-f]{8}\.tmp", *seen)


@pytest.mark.parametrize("call", ["fchmod", "pwrite", "fdatasync", "link", "replace", "fsync"])
def test_a_replacement_of_which_a_step_fails_leaves_the_old_file(folder, path, quiet, call):
    old = inode(path)
    with failing(call, errno.ENOSPC, first()), pytest.raises(OSError, match="Errno 28"):
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert inode(path) == old
    assert path.read_bytes() == b"the old end"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("call", ["fchmod", "pwrite", "replace"])
def test_a_replacement_that_is_not_synced_leaves_the_old_file_too(folder, path, quiet, call):
    with failing(call, errno.ENOSPC), pytest.raises(OSError, match="Errno 28"):
        file_atomic.replace(folder, "file", b"new", durable=False)
    assert path.read_bytes() == b"the old end"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_replacement_of_nothing_of_which_a_step_fails_leaves_nothing(folder, tmp_path, quiet, call):
    with failing(call, errno.ENOSPC, first()), pytest.raises(OSError, match="Errno 28"):
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert os.listdir(tmp_path) == []


def test_a_replacement_that_is_interrupted_leaves_the_old_file(folder, path):
    def interrupt(fd):
        raise KeyboardInterrupt

    with mock.patch.object(os, "fsync", interrupt), pytest.raises(KeyboardInterrupt):
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert path.read_bytes() == b"the old end"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_link_is_replaced_or_kept_as_the_link_it_is(folder, path, quiet, fails):
    link = path.with_name("link")
    link.symlink_to("file")
    with (
        failing("fsync", when=lambda *_: fails),
        pytest.raises(OSError, match="5") if fails else contextlib.nullcontext(),
    ):
        file_atomic.replace(folder, "link", b"new", durable=True)
    assert link.is_symlink() == fails
    assert path.read_bytes() == b"the old end"
    assert fails or link.read_bytes() == b"new"


@pytest.mark.parametrize("there", [False, True])
def test_a_change_that_cannot_be_taken_back_is_a_warning_and_the_first_error_stays(folder, path, caplog, there):
    if not there:
        path.unlink()
    back = failing("replace", errno.EACCES, not_first("replace")) if there else failing("unlink", errno.EACCES)
    with failing("fsync", errno.EIO), back, pytest.raises(OSError, match="Errno 5"):
        file_atomic.replace(folder, "file", b"new", durable=True)
    (record,) = caplog.records
    assert record.name == "agents_sessions"
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"could not take back the change of file ({os.strerror(errno.EACCES)})"


def test_a_second_name_that_cannot_be_removed_does_no_harm(folder, path, quiet):
    with failing("unlink"):
        file_atomic.replace(folder, "file", b"new", durable=True)
    assert path.read_bytes() == b"new"
    assert len(os.listdir(path.parent)) == 2


# --- removing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durable", "asked"), [(True, ["link", "unlink", "fsync", "unlink"]), (False, ["unlink"])])
def test_a_file_is_removed_for_good(folder, path, quiet, durable, asked):
    with changes() as made:
        file_atomic.remove(folder, "file", durable=durable)
    assert os.listdir(path.parent) == []
    assert made == asked


@pytest.mark.parametrize("call", ["link", "unlink", "fsync"])
def test_a_removal_of_which_a_step_fails_leaves_the_file(folder, path, quiet, call):
    old = inode(path)
    with failing(call, errno.EIO, first()), pytest.raises(OSError, match="Errno 5"):
        file_atomic.remove(folder, "file", durable=True)
    assert inode(path) == old
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_is_not_there_is_not_removed(folder, tmp_path, quiet, durable):
    with pytest.raises(FileNotFoundError):
        file_atomic.remove(folder, "file", durable=durable)
    assert os.listdir(tmp_path) == []


def test_a_damaged_file_is_kept_under_a_second_name(folder, path):
    names = set()
    for _ in range(3):
        with file_atomic.keep_copy(folder, "file") as aside:
            names.add(aside)
    assert len(names) == 3
    for name in names:
        assert re.fullmatch(r"file\.torn-[0-9a-f]{8}", name)
        assert inode(path.with_name(name)) == inode(path)
    with pytest.raises(FileNotFoundError):
        file_atomic.keep_copy(folder, "nowhere").__enter__()


@pytest.mark.parametrize("stays", [False, True])
def test_a_second_name_goes_if_nothing_replaced_the_file(folder, tmp_path, path, stays):
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(ZeroDivisionError))
        if stays:
            stack.enter_context(failing("unlink", errno.EACCES))
        stack.enter_context(file_atomic.keep_copy(folder, "file"))
        raise ZeroDivisionError
    assert len(os.listdir(tmp_path)) == 1 + stays


def test_a_link_is_kept_as_the_link_it_is(folder, path):
    path.with_name("link").symlink_to("file")
    with file_atomic.keep_copy(folder, "link") as aside:
        pass
    assert path.with_name(aside).is_symlink()


@pytest.mark.parametrize(("durable", "asked"), [(True, ["fsync"]), (False, [])])
def test_a_folder_is_removed_with_all_in_it_and_nothing_that_is_linked(folder, tmp_path, path, durable, asked):
    inner = tmp_path / "session" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.json").touch()
    (inner / "link").symlink_to(path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").touch()
    (inner.parent / "link").symlink_to(tmp_path / "other")
    with changes() as made:
        file_atomic.remove_tree(folder, "session", durable=durable)
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]
    assert os.listdir(tmp_path / "other") == ["kept"]
    assert path.read_bytes() == b"the old end"
    assert [name for name in made if name == "fsync"] == asked


def test_what_stands_in_the_place_of_a_folder_is_removed(folder, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "nowhere").symlink_to("none")
    for name in ("file", "link", "nowhere"):
        with changes() as made:
            file_atomic.remove_tree(folder, name, durable=True)
        assert made == ["unlink", "fsync"]
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == ["kept"]


def test_a_folder_that_is_not_there_is_nothing_to_remove_or_sync(folder):
    with changes() as made:
        file_atomic.remove_tree(folder, "nowhere", durable=True)
    assert made == []


def test_a_folder_that_cannot_be_removed_is_an_error(folder, tmp_path):
    (tmp_path / "session").mkdir()
    refuse = mock.patch.object(shutil, "rmtree", side_effect=PermissionError("refused"))
    with refuse, pytest.raises(PermissionError, match="refused"):
        file_atomic.remove_tree(folder, "session", durable=True)


def test_a_removal_does_not_take_the_name_back_from_who_has_it_by_then(folder, path, quiet):
    def take(fd):
        path.write_bytes(b"theirs")
        raise OSError(errno.EIO, "bad luck")

    with mock.patch.object(os, "fsync", take), pytest.raises(OSError, match="bad luck"):
        file_atomic.remove(folder, "file", durable=True)
    assert path.read_bytes() == b"theirs"
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_is_hidden_as_a_temporary(folder, tmp_path):
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "a.json").touch()
    hidden = file_atomic.hide(folder, "session")
    assert re.fullmatch(r"\.session\.[0-9a-f]{8}\.tmp", hidden)
    assert os.listdir(tmp_path) == [hidden]
    assert os.listdir(tmp_path / hidden) == ["a.json"]


def test_a_folder_that_is_not_there_is_not_hidden(folder, tmp_path):
    assert file_atomic.hide(folder, "session") is None
    (tmp_path / "session").mkdir()
    with failing("rename", errno.EACCES), pytest.raises(PermissionError):
        file_atomic.hide(folder, "session")
    assert os.listdir(tmp_path) == ["session"]


@pytest.fixture
def tree(tmp_path):
    """A folder as it is made here, with two files and a folder of one more."""
    with umask(0o077):
        (tmp_path / "session" / "inner").mkdir(parents=True)
        for name in ("a.json", "b.json", "inner/c.json"):
            (tmp_path / "session" / name).touch()
    return tmp_path / "session"


def test_what_is_made_here_is_private(folder, tree):
    assert file_atomic.is_private_tree(folder, "session") is True
    shutil.rmtree(tree / "inner")
    assert file_atomic.is_private_tree(folder, "session") is True


@pytest.mark.parametrize("name", [".", "a.json", "b.json", "inner", "inner/c.json"])
@pytest.mark.parametrize("change", [0o055, 0o044, 0o1000])
def test_what_others_may_read_was_not_made_here(folder, tree, name, change):
    (tree / name).chmod(mode(tree / name) | change)
    assert file_atomic.is_private_tree(folder, "session") is False


@pytest.mark.parametrize("target", ["a.json", "inner", "nowhere"])
@pytest.mark.parametrize("inside", [".", "inner"])
def test_a_link_was_not_made_here(folder, tree, target, inside):
    (tree / inside / "link").symlink_to(tree / target)
    assert file_atomic.is_private_tree(folder, "session") is False


def test_a_link_to_a_folder_or_a_file_is_no_private_folder(folder, tree):
    tree.with_name("link").symlink_to("session")
    assert file_atomic.is_private_tree(folder, "link") is False
    shutil.move(tree / "a.json", tree.with_name("file"))
    assert file_atomic.is_private_tree(folder, "file") is False


# --- sweeping --------------------------------------------------------------------------------------------------

NOW = 1_800_000_000


@pytest.fixture
def at_noon():
    with mock.patch.object(time, "time", return_value=NOW):
        yield


def left_behind(path, age=601):
    path.write_bytes(b"half")
    os.utime(path, (NOW, NOW - age))
    return path


@pytest.mark.parametrize(("age", "stays"), [(0, True), (599, True), (600, False), (601, False), (100_000, False)])
def test_a_temporary_is_swept_after_ten_minutes(folder, tmp_path, at_noon, age, stays):
    left = left_behind(tmp_path / ".file.0badf00d.tmp", age)
    file_atomic.sweep(folder)
    assert left.exists() == stays


def test_a_sweep_says_what_it_removed(folder, tmp_path, at_noon, caplog):
    left_behind(tmp_path / ".file.0badf00d.tmp")
    with caplog.at_level(logging.INFO):
        file_atomic.sweep(folder)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("agents_sessions", logging.INFO)
    assert record.getMessage() == "removed the stale temporary .file.0badf00d.tmp"


@pytest.mark.parametrize(
    "name",
    [
        "file.json",
        "file.0badf00d.tmp",
        ".file.json.turn",
        ".tmp.json",
        "tmp",
        "file.torn-1",
        ".notes.tmp",
        ".0badf00d.tmp",
        ".file.0badf00.tmp",
        ".file.0BADF00D.tmp",
        ".file.0badf00d.tmp~",
    ],
)
def test_a_sweep_takes_temporaries_only(folder, tmp_path, at_noon, name):
    left = left_behind(tmp_path / name)
    file_atomic.sweep(folder)
    assert left.exists()


def test_a_sweep_leaves_what_another_process_works_on(folder, tmp_path, at_noon):
    left = left_behind(tmp_path / ".file.0badf00d.tmp")
    with other_process(left) as told:
        assert told == "held"
        file_atomic.sweep(folder)
    assert left.exists()
    file_atomic.sweep(folder)
    assert not left.exists()


def test_a_sweep_goes_on_past_what_it_cannot_remove(folder, tmp_path, at_noon):
    os.mkfifo(tmp_path / ".a.0badf00d.tmp")
    (tmp_path / ".b.0badf00d.tmp").symlink_to("nowhere")
    for path in list(tmp_path.iterdir()):
        os.utime(path, (0, 0), follow_symlinks=False)
    for number in range(5):
        left_behind(tmp_path / f".{number}.0badf00d.tmp")
    file_atomic.sweep(folder)
    assert sorted(os.listdir(tmp_path)) == [".a.0badf00d.tmp", ".b.0badf00d.tmp"]


@pytest.mark.parametrize(("age", "stays"), [(599, True), (600, False)])
def test_a_folder_that_was_hidden_is_swept_with_all_in_it(folder, tmp_path, at_noon, caplog, age, stays):
    hidden = tmp_path / ".session.0badf00d.tmp"
    for inner in (hidden, hidden / "inner"):
        inner.mkdir(mode=0o700)
    (hidden / "inner" / "a.json").touch(mode=0o600)
    os.utime(hidden, (NOW, NOW - age))
    with caplog.at_level(logging.INFO):
        file_atomic.sweep(folder)
    assert hidden.exists() == stays
    assert ("removed the stale temporary .session.0badf00d.tmp" in caplog.text) != stays


def test_a_hidden_folder_of_someone_else_is_not_swept(folder, tmp_path, at_noon):
    hidden = tmp_path / ".work.0badf00d.tmp"
    hidden.mkdir(mode=0o700)
    (hidden / "thesis.txt").touch(mode=0o644)
    os.utime(hidden, (NOW, NOW - 601))
    file_atomic.sweep(folder)
    assert (hidden / "thesis.txt").exists()


def test_a_sweep_that_may_remove_nothing_says_nothing(folder, tmp_path, at_noon, quiet):
    left = left_behind(tmp_path / ".file.0badf00d.tmp")
    with failing("unlink", errno.EACCES):
        file_atomic.sweep(folder)
    with other_process(left) as told:
        assert told == "held"


def test_a_young_link_to_an_old_file_is_as_young_as_it_is(folder, tmp_path, at_noon):
    left_behind(tmp_path / "old")
    (tmp_path / ".file.0badf00d.tmp").symlink_to("old")
    file_atomic.sweep(folder)
    assert sorted(os.listdir(tmp_path)) == [".file.0badf00d.tmp", "old"]


def test_what_a_sweep_removes_is_locked_meanwhile(folder, tmp_path, at_noon):
    left = left_behind(tmp_path / ".file.0badf00d.tmp")
    seen = []

    def look(*args, **kwargs):
        with other_process(left) as told:
            seen.append(told)

    with before_each("unlink", look):
        file_atomic.sweep(folder)
    assert seen == ["busy"]
