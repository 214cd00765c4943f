import json
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_sessions.model.lossless_json import (
    INT_BOUND,
    MAX_DEPTH,
    check_json,
    decode_json,
    encode_exactly,
    encode_json,
    holds_halves,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
KEYS = ANY_TEXT.filter(lambda text: not holds_halves(text))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


def same(one, other):
    """Compare as text: 1 == 1.0 == True, and dicts are equal in any order."""
    return json.dumps(one) == json.dumps(other)


def nested(levels, wrapped=lambda value: [value]):
    value = []
    for _ in range(levels - 1):
        value = wrapped(value)
    return value


WRAPPED = [lambda value: [value], lambda value: (value,), lambda value: {"x": value}]


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_what_was_taken_comes_back(value):
    check_json(value)
    assert same(decode_json(encode_json(value)), value)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_the_standard_library_reads_what_is_written(value):
    text = encode_json(value)
    assert same(json.loads(text), json.loads(json.dumps(value)))
    assert b"\n" not in text


@settings(max_examples=200, deadline=None)
@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_what_the_standard_library_writes_is_read(value, ascii_only, indent):
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:
        return
    assert same(decode_json(text), json.loads(text))
    assert same(decode_json(bytearray(text)), json.loads(text))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text('[]{}",:0123456789.eE+-\\u truefalsn\x00', max_size=30).map(str.encode))
def test_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(text):
    try:
        expected = json.loads(text.decode("utf-8"), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        with pytest.raises(ValueError, match=r"."):
            decode_json(text)
    else:
        assert same(decode_json(text), expected)


@pytest.mark.parametrize(
    "number", [1e22, 1e16, 0.1, 5e-324, 1.7976931348623157e308, -0.0, 1.0, 2**64, -(2**63), 10**30]
)
def test_a_number_keeps_its_value_and_its_type(number):
    back = decode_json(encode_json([number]))[0]
    assert type(back) is type(number)
    assert str(back) == str(number)  # -0.0 == 0.0


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        b"x",
        bytearray(b"x"),
        {1},
        object(),
        1j,
        {1: 2},
        {None: 1},
        {b"x": 1},
        [[[float("nan")]]],
        {"a": [{"b": b"x"}]},
        INT_BOUND,
        -INT_BOUND,
    ],
)
def test_what_json_does_not_have_is_refused(value):
    for wrapped in (value, [value], {"x": value}, (value,)):
        with pytest.raises(ValueError, match=r"^holds "):
            check_json(wrapped)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "x", "\ud800", Text("x"), [], {}])
def test_what_json_has_is_taken_at_any_depth(value):
    for wrapped in (value, [value], {"x": value}, [[{"x": value}]]):
        check_json(wrapped)
        assert same(decode_json(encode_json(wrapped)), wrapped)


def test_a_refusal_names_the_type_and_not_the_value():
    with pytest.raises(ValueError, match="'bytes'") as caught:
        check_json({"x": b"secret"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("wrapped", WRAPPED, ids=["list", "tuple", "dict"])
def test_the_deepest_value_comes_back(wrapped):
    value = nested(100, wrapped)
    check_json(value)
    assert same(decode_json(encode_json(value)), value)


@pytest.mark.parametrize("wrapped", WRAPPED, ids=["list", "tuple", "dict"])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 5000])
def test_a_deeper_value_is_refused(levels, wrapped):
    with pytest.raises(ValueError, match="deeper than 100 levels"):
        check_json(nested(levels, wrapped))


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="holds itself"):
        check_json(value)


def test_the_largest_integer_comes_back():
    largest = INT_BOUND - 1
    check_json(largest)
    assert decode_json(encode_json(largest)) == largest


def test_an_integer_of_more_than_four_thousand_digits_is_refused():
    check_json(10**3999)
    with pytest.raises(ValueError, match="more than 4,000 digits"):
        check_json(10**4000)


def test_a_value_takes_no_more_room_than_it_needs():
    for text, written in (("a", b"a"), ("\ud800", rb"\ud800")):
        assert encode_json({"x": [text, 1], "y": None}) == b'{"x":["' + written + b'",1],"y":null}'


@pytest.mark.parametrize(
    "text", [b"NaN", b"[Infinity]", b"-Infinity", b"", b"[1,]", b"{", b"\xff", b'"\xed\xa0\x80"', b"[" * 10**5]
)
def test_what_is_no_json_is_refused_without_its_content(text):
    with pytest.raises(ValueError, match=r".") as caught:
        decode_json(b'["secret",' + text + b"]" if text else text)
    assert "secret" not in repr(caught.value)
    assert not hasattr(caught.value, "doc")


def test_a_half_of_a_pair_meets_its_other_half():
    """Two surrogates side by side are one character to every reader of JSON."""
    assert decode_json(encode_json("\ud83d\ude00")) == json.loads(json.dumps("\ud83d\ude00")) == "\U0001f600"


@pytest.mark.parametrize("key", ["\ud83d\ude00", "a\ud83d\ude00b", "-\ud800\udc00", "x\udbff\udfff", "é\ud83d\ude00"])
def test_a_key_of_two_halves_is_refused(key):
    """It would meet the key that they spell, and one of the two values would be lost."""
    for value in ({key: 1}, {key: 1, "\U0001f600": 2}, [{"x": {key: 1}}]):
        with pytest.raises(ValueError, match="two halves of one character") as caught:
            check_json(value)
        assert caught.value.args[0].isascii()


@pytest.mark.parametrize("key", ["\U0001f600", "\ud83d", "a\ude00", "\ude00\ud83d", "a\ud83d\ud83d", "\ud83d \ude00"])
def test_a_key_of_other_halves_comes_back(key):
    check_json({key: 1})
    assert decode_json(encode_json({key: 1})) == {key: 1}


HALF = b'"\\ud800",'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'["\xff"]', "not UTF-8"),
        (b"[" + HALF + b'"\xff"]', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + HALF + b"[" * 100_000, "nested too deeply"),
        (b"[" + HALF + b"NaN]", "not JSON: NaN"),
        (b"[}", "not JSON at line 1, column 2: invalid character"),
        (b"\n[1,\n2,}", "not JSON at line 3, column 3: invalid character"),
        (b"[" + HALF + b"\n}", "not JSON at line 2, column 1: Expecting value"),
    ],
)
def test_a_reason_tells_where_and_not_what(text, reason):
    with pytest.raises(ValueError, match=r"^not|^nested") as caught:
        decode_json(text)
    assert str(caught.value).strip() == reason
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@settings(max_examples=400, deadline=None)
@given(st.lists(JSON, max_size=4))
def test_what_is_encoded_exactly_is_what_is_encoded_otherwise(values):
    exact = encode_exactly(values)
    if exact is not None:
        texts, found = exact
        assert texts == [encode_json(value) for value in values]
        assert same(found, values)


def test_nearly_everything_is_encoded_exactly():
    assert encode_exactly([{"a": [1, 1.5, "ü\u2028\n", None, True]}, 2**200]) is not None


class Kind(Enum):
    A = "a"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), b"x", {1}, frozenset("a"), (1,), {1: 2}, {None: 1}, {1.5: 1}, Decimal(1),
        UUID(int=1), Kind.A, object(), "\ud800", {"\ud83d\ude00": 1}, 10**4000, -(10**4000), nested(MAX_DEPTH + 1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_would_be_lost_or_is_in_doubt_is_not_encoded_exactly(value):
    assert encode_exactly([{"a": value}]) is None
    assert encode_exactly([1, {"a": [value]}]) is None


def test_a_value_that_holds_itself_is_not_encoded_exactly():
    value = []
    value.append(value)
    assert encode_exactly([value]) is None


def test_a_long_text_and_many_lists_are_looked_at_and_encoded_exactly():
    values = [{"a": "x" * 10_000}, [[]] * 1000, nested(MAX_DEPTH), 10**3999]
    assert encode_exactly(values) == ([encode_json(value) for value in values], values)
