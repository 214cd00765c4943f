"""Any file at all: what is a session, and every kind of damage."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_bytes import bodies, contents, grown, new_file, said

from agents_sessions.stores.file.format.document import encode_document
from agents_sessions.stores.file.format.header import Damage, NewerFormat
from agents_sessions.stores.file.format.reading import check_begin, decode_document

FILE = grown([said("b")], [said("c")], start=[said("a")])


@pytest.mark.parametrize(
    ("begin", "why"),
    [
        (b"", "it is empty"),
        (b" \r\n\t", "it is empty"),
        (bytes(4096), "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"\xef\xbb\xbf\n\0", "it is empty"),
        (b"[", "it does not begin as JSON"),
        (b"\0{", "it does not begin as JSON"),
        (b"\x0b{", "it does not begin as JSON"),
        (b"X{", "it does not begin as JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{", "it does not begin as JSON"),
    ],
)
def test_what_begins_as_no_object_tells_why(begin, why):
    with pytest.raises(Damage, match=f"^{why}$"):
        check_begin(begin)
    with pytest.raises(Damage, match=f"^{why}$"):
        decode_document(begin)


@pytest.mark.parametrize("begin", [b"{", b" \r\n\t{", b"\xef\xbb\xbf{", b"\xef\xbb\xbf\r\n{"])
def test_what_begins_as_an_object_may_be_one(begin):
    check_begin(begin)


def test_an_object_begins_near_the_begin_of_a_file():
    text = json.dumps(json.loads(FILE)).encode()
    assert contents(decode_document(b" " * 4095 + text)) == ["a", "b", "c"]
    with pytest.raises(Damage):
        decode_document(b" " * 4096 + text)


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0x00, 0xFF, ord('"'), ord("}"), ord("\n")])
def test_a_wrong_byte_anywhere_never_loses_more_than_the_last_batch(value):
    data = grown([said("b")], [said("c"), said("d")], start=[said("a")])
    for place in range(len(data)):
        spoiled = data[:place] + bytes([value]) + data[place + 1 :]
        try:
            decoded = decode_document(spoiled)
        except (Damage, NewerFormat):
            continue
        if decoded.shape == "torn":
            assert contents(decoded)[:2] == ["a", "b"]
            assert len(decoded.entries) in (2, 4)
        else:
            assert len(decoded.entries) == 4


def test_damage_above_the_last_batch_is_refused():
    data = grown([said("b")], [said("c")], start=[said("a")])
    place = data.index(b'"content":"b"')
    with pytest.raises(Damage):
        decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_in_a_file_that_was_written_whole_is_refused():
    data = new_file([said("a"), said("b")])
    place = data.index(b'"content":"b"')
    with pytest.raises(Damage):
        decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_of_two_batches_is_refused():
    data = grown([said("a")], [said("b")], [said("c")])
    place = data.index(b'"content":"b"')
    spoiled = data[:place] + b"\0" + data[place + 1 :]
    with pytest.raises(Damage):
        decode_document(spoiled[: spoiled.index(b'],"context":') + 10])


def test_damage_of_the_header_is_refused():
    data = grown([said("a")])
    with pytest.raises(Damage):
        decode_document(b"\0" + data[1:])


def test_a_reason_holds_nothing_of_the_conversation():
    data = grown([said("secret")], [said("secret")], [said("secret")])
    told = []
    for place in range(data.index(b"secret") - 30, len(data), 3):
        try:
            decode_document(data[:place] + b"\0" + data[place + 1 :])
        except Damage as damage:
            told.append(damage)
    assert told
    assert not [damage for damage in told if "secret" in repr(damage) or damage.__cause__ is not None]


def test_two_documents_in_one_file_are_damage():
    data = grown([said("b")], start=[said("a")])
    with pytest.raises(Damage):
        decode_document(data + data)


FOREIGN = {
    "empty": b"",
    "a newline": b"\n",
    "zeros": bytes(5000),
    "blank": b" \r\n\t\0",
    "text": b"hello",
    "binary": bytes(range(256)) * 20,
    "utf-16": new_file([said("a")]).decode().encode("utf-16"),
    "latin-1": new_file([said("a")]).decode().encode("latin-1"),
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text in json": b'"x"',
    "object": b"{}",
    "another format": b'{"format":"openai/1","history":[]}',
    "no version": b'{"format":"agents-sessions","history":[]}',
    "a version that is no number": b'{"format":"agents-sessions/x","history":[]}',
    "a negative version": b'{"format":"agents-sessions/-1","history":[]}',
    "a format that is not text": b'{"format":1,"history":[]}',
    "no history": b'{"format":"agents-sessions/1"}',
    "history that is an object": b'{"format":"agents-sessions/1","history":{}}',
    "an entry that is null": b'{"format":"agents-sessions/1","history":[null]}',
    "an entry that is a number": b'{"format":"agents-sessions/1","history":[1]}',
    "an entry without a body": b'{"format":"agents-sessions/1","history":[{}]}',
    "an entry with two bodies": b'{"format":"agents-sessions/1","history":[{"item":{},"record":{}}]}',
    "an item that is a list": b'{"format":"agents-sessions/1","history":[{"item":[]}]}',
    "an agent that is a number": b'{"format":"agents-sessions/1","history":[{"item":{},"agent":1}]}',
    "a time that is a number": b'{"format":"agents-sessions/1","history":[{"item":{},"at":1}]}',
    "a record without a type": b'{"format":"agents-sessions/1","history":[{"record":{}}]}',
    "usage without requests": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage"}}]}',
    "usage of text": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage","requests":["x"]}}]}',
    "usage of odd numbers": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage","requests":'
    b'[{"requests":1e308,"total_tokens":1},{"requests":1' + b"0" * 400 + b"}]}}]}",
    "a number beyond a float": b'{"format":"agents-sessions/1","history":[{"item":{"x":1e400}}]}',
    "a fact beyond a float": b'{"format":"agents-sessions/1","x":1e400,"history":[]}',
    "a number beyond reading": b'{"format":"agents-sessions/1","history":[{"item":{"x":' + b"1" * 5000 + b"}}]}",
    "NaN": b'{"format":"agents-sessions/1","history":[{"item":{"x":NaN}}]}',
    "deep": b"[" * 100_000,
    "deep item": b'{"format":"agents-sessions/1","history":[{"item":{"x":' + b"[" * 150 + b"]" * 150 + b"}}]}",
    "a header alone": new_file().split(b"\n")[0][:-3] + b"\n",
    "a header that is cut": new_file()[:40],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_session_is_damage(name):
    with pytest.raises(Damage):
        decode_document(FOREIGN[name])


@pytest.mark.parametrize("version", ["2", "10", "1000000", "9" * 5000])
def test_a_newer_version_is_refused_as_such(version):
    data = new_file([said("a")]).replace(b"agents-sessions/1", b"agents-sessions/" + version.encode())
    with pytest.raises(NewerFormat):
        decode_document(data)
    with pytest.raises(NewerFormat):
        decode_document(b'{"format":"agents-sessions/' + version.encode() + b'"}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["format", "seq", "history", "item", "record", "type", "seal", "context", "at", "requests", "k"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["agents-sessions/1", "agents-sessions/2", None]))
def test_any_json_is_a_session_or_damage(value, name):
    if isinstance(value, dict) and name is not None:
        value["format"] = name
    try:
        decoded = decode_document(json.dumps(value).encode())
    except (Damage, NewerFormat):
        return
    assert bodies(decode_document(bytes(encode_document(decoded)))) == bodies(decoded)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 300))
def test_any_bytes_anywhere_are_a_session_or_damage(junk, place, removed):
    data = grown([said("b")], [said("c"), said("d" * 300)], start=[said("a")])
    spoiled = data[:place] + junk + data[place + removed :]
    try:
        decoded = decode_document(spoiled)
    except (Damage, NewerFormat):
        return
    assert bodies(decode_document(bytes(encode_document(decoded)))) == bodies(decoded)
