"""Data of other packages in a session: what it is as JSON, and what of it fits a type."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.history import refusals
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json


def check_extension(name: str) -> None:
    """Refuse what cannot be the name of anyone's data."""
    if not isinstance(name, str) or not name:
        raise InvalidValueError({"name": f"of an extension must be a non-empty string, not {name!r:.80}"})


def json_of(name: str, value: object) -> Any:
    """Return a value as plain JSON data of its own.

    Raises:
        InvalidValueError: It cannot be stored without loss.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif is_dataclass(value) and not isinstance(value, type):
        value = TypeAdapter(type(value)).dump_python(value, mode="json")
    try:
        check_json(value)
    except ValueError as error:
        raise InvalidValueError({f"extension {name!r:.80}": str(error)}) from None
    return decode_json(encode_json(value))


def value_of(name: str, data: object, kind: type[Any] | None) -> Any:
    """Return stored data as a value of a kind, or as it is.

    Raises:
        InvalidValueError: It does not fit.
    """
    if data is None or kind is None:
        return data
    try:
        return TypeAdapter(kind).validate_json(encode_json(data))
    except ValidationError as error:
        wrong = ", ".join(f"{field} {reason}" for field, reason in refusals(error).items())
    raise InvalidValueError({f"extension {name!r:.80}": f"is no {kind.__name__}: {wrong}"})
