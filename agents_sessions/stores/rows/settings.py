"""What the settings of a database store may be."""

import re
from typing import get_args

from agents_sessions.stores.base import Durability

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,30}")


def check_durability(durability: str) -> None:
    """Refuse a durability that is none.

    Raises:
        ValueError: It is neither `full` nor `process`.
    """
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be 'full' or 'process', not {durability!r}")


def check_name(what: str, name: str) -> None:
    """Refuse a name of a table that would have to be quoted.

    Raises:
        ValueError: It is none.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{what} must be up to 31 small letters, digits and underscores, not {name!r:.80}")
