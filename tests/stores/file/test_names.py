import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.model.lossless_json import holds_halves
from agents_sessions.stores.file.layout import sidecar_of
from agents_sessions.stores.file.names import MAX_NAME_BYTES, decode_name, encode_name
from agents_sessions.testing.contract.samples import HOSTILE_IDS

IDS = st.text(st.characters(exclude_categories=(), exclude_characters="\0"), min_size=1, max_size=250).filter(
    lambda text: not holds_halves(text)
)
NASTY = st.text(st.sampled_from("./\\-%~:cCoOnN 0jJsSé\ud800"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "identifier",
    [
        "support",
        "order-42",
        "b7e151628aed2a6abf7158809cf4f3c7",
        "user@example.com",
        "a.b.c",
        "A_b=c",
        "x" * 180,
        "jsonx",
    ],
)
def test_a_typical_id_is_its_own_name(identifier):
    assert encode_name(identifier) == identifier


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("../x", "%2E.%2Fx"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("-rf", "%2Drf"),
        ("CON", "%43ON"),
        ("lpt1.txt", "%6Cpt1.txt"),
        ("console", "console"),
        ("ends.", "ends%2E"),
        ("X1", "X1"),
        ("é", "%C3%A9"),
        ("\ud800", "%ED%A0%80"),
        ("~", "%7E"),
        ("x.json", "x%2Ejson"),
        ("x.JSON.torn-1", "x%2EJSON.torn-1"),
        ("x.jsonl", "x.jsonl"),
    ],
)
def test_another_id_is_encoded(identifier, name):
    assert encode_name(identifier) == name


def test_an_extension_is_kept_where_it_may_be():
    assert encode_name("run_state.json", extension=True) == "run_state.json"


def test_a_long_id_becomes_a_prefix_and_a_hash():
    name = encode_name("Zoë " * 100)
    assert name.startswith("Zo%C3%AB%20Zo%C3%AB%20")
    assert len(name) <= MAX_NAME_BYTES
    assert name[-65] == "~"


@pytest.mark.parametrize("length", [181, 255, 5000])
def test_the_name_of_a_long_id_is_the_same_in_every_version(length):
    """Else an upgrade would no longer find the file."""
    assert encode_name("x" * length) == "x" * 100 + "~" + hashlib.sha256(b"x" * length).hexdigest()


def test_a_prefix_does_not_end_inside_an_escape():
    for shift in range(3):
        prefix, _, _ = encode_name("x" * shift + "é" * 200).partition("~")
        assert prefix[shift:].replace("%C3%A9", "") in ("", "%C3")


@pytest.mark.parametrize(
    "identifier",
    ["", "a\0b", "\0", None, 5, b"bytes", ["x"], "\ud83d\ude00", "é\ud83d\ude00", "x" * 300 + "\ud83d\ude00"],
)
def test_what_is_no_id_is_refused(identifier):
    with pytest.raises(SessionIdError, match="agent_id must be"):
        encode_name(identifier, what="agent_id")


@pytest.mark.parametrize("identifier", ["\ud83d", "a\ude00", "\ude00\ud83d", "\ud83d-\ude00"])
def test_an_id_with_other_halves_has_a_name_that_tells_it(identifier):
    assert decode_name(encode_name(identifier)) == identifier


def test_a_refusal_speaks_of_a_session_id_if_nothing_else_is_said():
    with pytest.raises(SessionIdError, match=r"^session_id must be"):
        encode_name("")


def assert_portable(name):
    assert name.isascii()
    assert 0 < len(name) <= MAX_NAME_BYTES
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.=@-%~")
    assert name[0] not in ".-"
    assert name[-1] not in ". "
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert not name.lower().endswith(".json")


@pytest.mark.parametrize("identifier", HOSTILE_IDS)
def test_a_hostile_id_has_a_portable_name(identifier):
    assert_portable(encode_name(identifier))


@given(IDS | NASTY)
def test_every_name_is_portable(identifier):
    assert_portable(encode_name(identifier))


@given(IDS | NASTY, IDS | NASTY)
def test_two_ids_have_two_names(one, other):
    assert (encode_name(one) == encode_name(other)) == (one == other)


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=15) | NASTY)
def test_a_name_tells_its_id(identifier):
    assert decode_name(encode_name(identifier)) == identifier
    assert decode_name(encode_name(identifier, extension=True)) == identifier


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("run_state.json", ["run_state.json"]),
        ("checkpoints/a b.json", ["checkpoints", "a%20b.json"]),
        ("../~", ["%2E%2E", "%7E"]),
    ],
)
def test_a_sidecar_has_a_file_name_and_maybe_a_folder(name, parts):
    folders, file = sidecar_of(SessionKey("a", "s"), name)
    assert [*folders, file] == ["a", "s", *parts]


@pytest.mark.parametrize("name", ["a/b/c", "x" * 61, "a/" + "é" * 31])
def test_a_sidecar_has_a_short_name(name):
    with pytest.raises(ValueError, match="a sidecar name is `name` or `folder/name`"):
        sidecar_of(SessionKey("a", "s"), name)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a\0"])
def test_a_part_of_a_sidecars_name_that_is_no_id_is_refused(name):
    with pytest.raises(SessionIdError, match=r"^sidecar name must be"):
        sidecar_of(SessionKey("a", "s"), name)
