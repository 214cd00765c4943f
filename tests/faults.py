"""The one injector of faults: the system calls that the lowest modules make, counted, and made to fail.

By name and number (`fail`), for the call that a test means; or at a place in the order of all calls (`at`), for the
tests that let every call of an operation fail in turn.
"""

import fcntl
import os
import sys
from unittest import mock

from system_calls import CALLS, LOWEST

EVERY = range(1, 10_000)
_LOWEST = {module.__file__ for module in LOWEST}


class Calls:
    """Counts the calls that the lowest modules and what they use make, while its block runs."""

    def __init__(self):
        self._failing, self._place, self._action, self._acting = {}, None, None, False
        self.clear()

    def clear(self):
        """Count from zero again."""
        self.made = []
        self.read = self.written = 0

    def fail(self, name, number, nth=EVERY):
        """From now on, let the calls of a name fail whose number is among `nth`, counted from 1."""
        self.clear()
        self._failing[name] = number, nth

    def heal(self):
        self._failing.clear()

    def at(self, place, action):
        """Let something happen at the call of this place, counted from 0, instead of it if it raises."""
        self._place, self._action = place, action
        return self

    def of(self, *names):
        return [name for name in self.made if name in names]

    @property
    def where(self):
        return f"call {self._place}, {self.made[self._place : self._place + 1]}"

    def __enter__(self):
        self._patches = [
            mock.patch.object(module, name, self._watched(name, getattr(module, name)))
            for name in CALLS
            for module in (os, fcntl)
            if hasattr(module, name)
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_):
        for patch in self._patches:
            patch.stop()

    def _watched(self, name, real):
        def call(*args, **kwargs):
            # A failed close makes the standard library's rmtree close once more, which is no business of ours.
            if self._acting or not _is_from_the_lowest(1 if name == "close" else 8):
                return real(*args, **kwargs)
            self.made.append(name)
            if self._is_to_fail(name):
                if name == "close":  # Linux closes all the same.
                    real(*args, **kwargs)
                self._fail(name)
            result = real(*args, **kwargs)
            self.written += result if name == "pwrite" else 0
            self.read += result if name == "preadv" else 0
            return result

        return call

    def _is_to_fail(self, name):
        _, nth = self._failing.get(name, (None, ()))
        return len(self.made) - 1 == self._place or self.made.count(name) in nth

    def _fail(self, name):
        number, nth = self._failing.get(name, (None, ()))
        if self.made.count(name) in nth:
            raise OSError(number, os.strerror(number))
        self._acting = True
        try:
            self._action()
        finally:
            self._acting = False


def failing(number):
    """Return an action that fails with this error."""

    def fail():
        raise OSError(number, os.strerror(number))

    return fail


def _is_from_the_lowest(depth):
    frame = sys._getframe(2)
    for _ in range(depth):
        if frame is None:
            return False
        if frame.f_code.co_filename in _LOWEST:
            return True
        frame = frame.f_back
    return False
