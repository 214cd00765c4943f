"""A default that differs from every value: it means "leave it as it is", where None is a value itself."""

from enum import Enum
from typing import Final, Literal, TypeAlias


class _NotGiven(Enum):
    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NotGiven: TypeAlias = Literal[_NotGiven.NOT_GIVEN]
NOT_GIVEN: Final = _NotGiven.NOT_GIVEN
"""The default of arguments that leave something unchanged, or to the manager, where None means something else."""


def given(**arguments: object) -> dict[str, object]:
    """Return the arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not NOT_GIVEN}
