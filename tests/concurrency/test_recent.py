"""What is remembered of what was met last."""

import subprocess
import sys
import threading

import pytest

from agents_sessions.concurrency.recent import Recent


def test_what_was_put_is_there():
    recent = Recent(2)
    recent.put("a", 1)
    assert (recent.get("a"), recent.get("b"), len(recent)) == (1, None, 1)


def test_the_oldest_is_forgotten_above_the_size():
    recent = Recent(2)
    for number, name in enumerate("abc"):
        recent.put(name, number)
    assert [recent.get(name) for name in "abc"] == [None, 1, 2]
    assert len(recent) == 2


def test_what_is_put_again_is_the_newest():
    recent = Recent(2)
    for name in "abac":
        recent.put(name, name)
    assert [recent.get(name) for name in "abc"] == ["a", None, "c"]


def test_everything_can_be_forgotten():
    recent = Recent(2)
    recent.put("a", 1)
    recent.clear()
    assert (recent.get("a"), len(recent)) == (None, 0)


@pytest.mark.parametrize("change", [lambda recent: recent.put("b", 2), Recent.clear], ids=["put", "clear"])
def test_a_thread_changes_nothing_while_another_one_does(change):
    recent = Recent(2)
    recent.put("a", 1)
    thread = threading.Thread(target=change, args=(recent,))
    with recent._mutex:
        thread.start()
        thread.join(0.05)
        assert (recent.get("a"), len(recent)) == (1, 1)
    thread.join(10)
    assert recent.get("b") == 2 or len(recent) == 0


def test_a_child_that_is_forked_while_a_thread_writes_can_write():
    script = """if True:
        import os
        from agents_sessions.concurrency.recent import Recent
        recent = Recent(2)
        with recent._mutex:
            child = os.fork()
            if child == 0:
                recent.put("a", 7)
                os._exit(recent.get("a"))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "7\n"
