"""JSON that gives back exactly what it took, or refuses.

Key order, integers up to 4,000 digits, floats to the last bit, any text with lone surrogates and U+2028 survive;
only a high and a low surrogate side by side become the one character that they are to every reader of JSON, and in a
key, which would become another key, they are refused. Fast encoders do not promise that (most turn NaN into null, one
2**64 into a float). The work is done by msgspec, which carries all but lone surrogates, behind a check for what it
would change in silence (NaN, bytes, keys that are numbers); what it refuses goes through the standard library. A
property test holds both against each other.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

MAX_DEPTH = 100
"""Deepest nesting of an item. Every reader stops somewhere, and the file adds a few levels of its own."""

_DIGITS = 4000
INT_BOUND = 10**_DIGITS
"""Integers have up to 4,000 digits. Readers, Python's own among them, stop at 4,300: a longer one could be written
and never be read again."""

UNDECODED = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises. Where JSON allows it all the same, the standard library has the last word."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""One half of a pair, maybe without the other: msgspec refuses that, and JSON does not."""

_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")

_BYTE = re.compile(r" \(byte (\d+)\)$")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def check_json(value: object) -> None:
    """Refuse what JSON cannot carry, or carries as something else.

    Raises:
        ValueError: NaN, Infinity, bytes, sets, objects, keys that are not strings or hold two halves of one
            character, or nesting beyond `MAX_DEPTH`, or an integer beyond 4,000 digits. The message names the type,
            never the value.
    """
    _check(value, 0)


def _check(value: object, depth: int) -> None:
    if isinstance(value, dict):
        _check_keys(value)
        _check_all(value.values(), depth + 1)
    elif isinstance(value, (list, tuple)):
        _check_all(value, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("holds NaN or an infinity, which JSON does not have")
    elif isinstance(value, int):
        if not -INT_BOUND < value < INT_BOUND:
            raise ValueError("holds an integer of more than 4,000 digits")
    elif value is not None and not isinstance(value, str):
        raise ValueError(f"holds a value of type {type(value).__name__!r}, which JSON does not have")


def _check_keys(keys: Iterable[object]) -> None:
    for key in keys:
        if not isinstance(key, str):
            raise ValueError(f"holds a key of type {type(key).__name__!r}; JSON keys are strings")
        if not key.isascii() and holds_halves(key):
            raise ValueError("holds a key with two halves of one character, which JSON would join")


def holds_halves(text: str) -> bool:
    """Tell whether a text holds a high and a low surrogate side by side, which JSON gives back as one character."""
    return _HALVES.search(text) is not None


def _check_all(values: Iterable[object], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels, or holds itself")
    for value in values:
        if type(value) is not str:
            _check(value, depth)


def encode_exactly(values: list[Any]) -> tuple[list[bytes], list[Any]] | None:
    """Return the texts of values, and the values that are read from them, if these are equal: then nothing was lost.

    None says that `check_json` must tell.
    """
    try:
        text = _encoder.encode_lines(values)
        found = _decoder.decode_lines(text)
        if found != values:
            return None
        texts = text.split(b"\n", len(values))[:-1]
        if _hides_something(text):
            for line, value in zip(texts, values, strict=True):
                if _hides_something(line):
                    check_json(value)
    except (*UNDECODED, TypeError):
        return None
    return texts, found


def _hides_something(text: bytes) -> bool:
    """Tell whether a text has room for what a comparison does not see: deep nesting, or an integer few readers take."""
    return len(text) > _DIGITS or text.count(b"{") + text.count(b"[") > MAX_DEPTH


def encode_json(value: object) -> bytes:
    """Return the UTF-8 text of a value on one line. The value must have passed `check_json`."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, TypeError):
        # A lone surrogate has no UTF-8 form; as \udXXX it travels. A subclass of str is a type msgspec does not take.
        return _ascii.encode(value).encode()


def decode_json(text: bytes | bytearray) -> Any:
    """Return the value of a JSON text. A number too large for a float comes as infinity, as in the standard library.

    Raises:
        ValueError: It is not JSON. The message says where and holds no content, unlike `json.JSONDecodeError`, whose
            `doc` attribute is the whole text.
    """
    try:
        return msgspec.json.decode(text)
    except UNDECODED as error:
        # The standard library takes up to six times the text, for a text that is refused as well.
        if not isinstance(error, msgspec.ValidationError) and _SURROGATE.search(text) is None:
            raise ValueError(_reason(error, text)) from None
    return _decode_slowly(text)


def _reason(error: Exception, text: bytes | bytearray) -> str:
    """Return what msgspec says, with a line and a column in the place of its byte."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    told = str(error).removeprefix("JSON is malformed: ")
    found = _BYTE.search(told)
    if found is None:
        return f"not JSON: {told}"
    place = int(found[1])
    line, column = text.count(b"\n", 0, place) + 1, place - text.rfind(b"\n", 0, place)
    return f"not JSON at line {line}, column {column}: {told[: found.start()]}"


def _decode_slowly(text: bytes | bytearray) -> Any:
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        reason = "nested too deeply"
    # Raised out here, so that it does not have an error for its context that holds the whole text.
    raise ValueError(reason)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name}")
