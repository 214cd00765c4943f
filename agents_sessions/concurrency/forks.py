"""Keep objects usable in a forked child.

A thread of the parent may hold a mutex at the moment of the fork. That thread does not exist in the child, so nobody
would ever release the mutex there.
"""

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Renewed(Protocol):
    """An object with a mutex of its own."""

    def _renew(self) -> None:
        """Take a new mutex, and drop or repair what a thread of the parent may have left half done."""


_all: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(renewed: Renewed) -> None:
    """Renew an object in every child that is forked while it lives."""
    _all.add(renewed)


def _renew_all() -> None:
    for renewed in list(_all):
        renewed._renew()


def run_in_child(action: Callable[[], object]) -> None:
    """Run an action in every child that is forked from now on. Where the system cannot fork, do nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)


run_in_child(_renew_all)
