"""A disk without hard links is told of when the first session is to be made there, and nothing is left on it."""

import asyncio
import errno
import os

import pytest

from agents_sessions.errors import SessionIOError
from agents_sessions.session import FileSession


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_hard_links_is_named_as_what_it_is(tmp_path, monkeypatch, number):
    def refuse(*_names, **_settings):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    session = FileSession("s", root=tmp_path)
    with pytest.raises(SessionIOError, match="session files need a disk with hard links; put the root on another") as e:
        asyncio.run(session.add_items([{"role": "user", "content": "hello"}]))
    assert e.value.errno == number
    assert list((tmp_path / "default").iterdir()) == []
