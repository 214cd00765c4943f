"""Objects that a forked child can go on with.

A thread of the parent may hold a mutex at the fork; in the child, no one will ever release it.
"""

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Renewed(Protocol):
    """What has a mutex of its own."""

    def _renew(self) -> None:
        """Take a new mutex, and forget or mend what a thread of the parent may have left half done."""


_all: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(renewed: Renewed) -> None:
    """Renew an object in every child that is forked while it lives."""
    _all.add(renewed)


def _renew_all() -> None:
    for renewed in list(_all):
        renewed._renew()


def run_in_child(action: Callable[[], object]) -> None:
    """Run something in every child that is forked from now on. A system without forks has none."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)


run_in_child(_renew_all)
