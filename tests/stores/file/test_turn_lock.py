"""The file that is the lock of a session's turns: what it says of who has it, and what is left of it."""

import errno
import json
import os
from datetime import timedelta

import pytest

from agents_sessions.stores.file import turn_lock as file_turns
from agents_sessions.stores.file.turn_lock import Holder, Turn, forget_turn, this_process, try_turn

pytestmark = pytest.mark.usefixtures("nothing_stays_open_or_locked")

LOCK = ".s.json.turn"


@pytest.fixture
def held(folder):
    turn = try_turn(folder, "s.json")
    yield turn
    turn.release()


def test_a_turn_says_who_has_it_and_since_when(folder, held, tmp_path):
    assert json.loads((tmp_path / LOCK).read_bytes())["process"] == this_process()
    holder = try_turn(folder, "s.json")
    assert holder.process == this_process()
    assert timedelta(0) <= holder.held_for < timedelta(minutes=10)
    other = try_turn(folder, "other.json")
    assert isinstance(other, Turn)
    other.release()


def test_a_clock_that_was_set_back_makes_no_age_below_zero(folder, held, tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"process": "p", "since": "2999-01-01T00:00:00.000Z"}))
    assert try_turn(folder, "s.json").held_for == timedelta(0)


def test_a_turn_that_is_released_can_be_taken_and_leaves_nothing(folder, tmp_path):
    for _ in range(2):
        turn = try_turn(folder, "s.json")
        assert os.listdir(tmp_path) == [LOCK]
        turn.release()
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"process":"p"}',
        b'{"process":"p","since":"yesterday"}',
        b'{"process":"p","since":7}',
        b'{"process":"%s","since":"2026-11-20T21:28:00.123Z"}' % (b"p" * file_turns._HOLDER_BYTES),
    ],
)
def test_a_turn_whose_lock_is_not_readable_is_held_by_another_process(folder, held, tmp_path, content):
    (tmp_path / LOCK).write_bytes(content)
    assert try_turn(folder, "s.json") == Holder("another process", None)


def test_the_lock_of_a_turn_that_has_ended_is_forgotten(folder, tmp_path):
    (tmp_path / LOCK).write_bytes(b"{}")
    (tmp_path / ".other.json.turn").write_bytes(b"{}")
    forget_turn(folder, "s.json")
    assert os.listdir(tmp_path) == [".other.json.turn"]


def test_the_lock_of_a_turn_that_runs_is_not_forgotten(folder, held, tmp_path):
    forget_turn(folder, "s.json")
    assert os.listdir(tmp_path) == [LOCK]


def test_what_cannot_be_forgotten_is_left(folder, tmp_path):
    (tmp_path / LOCK).symlink_to("elsewhere")
    forget_turn(folder, "s.json")
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    forget_turn(folder, "s.json")
    assert os.listdir(tmp_path) == [LOCK]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_no_one_from_the_lock(folder, tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    (tmp_path / LOCK).write_text('{"process": "one that died", "since": "2026-01-01T00:00:00.000Z"}')
    monkeypatch.setattr(os, "pwrite", refuse)
    turn = try_turn(folder, "s.json")
    assert isinstance(turn, Turn)
    assert try_turn(folder, "s.json") == Holder("another process", None)
    turn.release()
    assert os.listdir(tmp_path) == []
