"""Master keys: where they come from, what is refused, and that none is ever shown."""

import base64
import os
import pickle

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from agents_sessions import KeyProvider, KeyRing
from agents_sessions.errors import InvalidValueError
from agents_sessions.stores.encryption.keyring import NotTheKeyError
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()
OTHER = base64.b64encode(bytes(32)).decode()


def opens(ring, other, key_id="k1"):
    return other.unwrap(key_id, ring.wrap(key_id, b"d" * 32, b"here"), b"here") == b"d" * 32


def test_a_single_key_is_the_current_one():
    assert KeyRing({"k1": KEY}).current() == "k1"


def test_of_several_keys_one_has_to_be_named():
    with pytest.raises(InvalidValueError, match="current"):
        KeyRing({"k1": KEY, "k2": OTHER})
    assert KeyRing({"k1": KEY, "k2": OTHER}, current="k2").current() == "k2"


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"x", "short", TEXT[:-4], "secret-key-äöü", 7, None], ids=repr)
def test_what_is_no_key_is_refused_and_not_shown(key):
    with pytest.raises(InvalidValueError) as caught:
        KeyRing({"k1": key})
    assert str(caught.value) == "the key 'k1' must be 32 bytes, or the same in base64; nothing was changed"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key_id", ["", "k 1", "k\n1", "k" * 81, 1], ids=repr)
def test_what_is_no_id_is_refused(key_id):
    with pytest.raises(InvalidValueError, match="ids"):
        KeyRing({key_id: KEY})


def test_no_key_is_in_the_repr_of_a_ring_or_of_a_store_or_in_a_pickle():
    ring = KeyRing({"k1": KEY})
    assert repr(ring) == "KeyRing(['k1'], current='k1')"
    for shown in (repr(MemoryStore(encryption=ring)), repr(FileStore("x", encryption=ring))):
        assert TEXT not in shown
    with pytest.raises(TypeError, match="plain"):
        pickle.dumps(ring)


def test_bytes_and_base64_are_the_same_key():
    assert opens(KeyRing({"k1": KEY}), KeyRing({"k1": TEXT}))


def test_a_generated_key_is_one_and_no_two_are_the_same():
    keys = {KeyRing.generate() for _ in range(10)}
    assert len(keys) == 10
    assert {len(base64.b64decode(key)) for key in keys} == {32}


def test_another_key_and_another_place_are_told_apart():
    wrapped = KeyRing({"k1": KEY}).wrap("k1", b"d" * 32, b"here")
    with pytest.raises(NotTheKeyError):
        KeyRing({"k1": OTHER}).unwrap("k1", wrapped, b"here")
    with pytest.raises(ValueError, match="damaged"):
        KeyRing({"k1": KEY}).unwrap("k1", wrapped, b"there")
    with pytest.raises(LookupError):
        KeyRing({"k2": KEY}).unwrap("k1", wrapped, b"here")


def test_keys_come_from_the_environment_the_first_one_is_current(monkeypatch):
    monkeypatch.setenv("AGENTS_SESSIONS_KEYS", f"k2:{OTHER} k1:{TEXT}")
    ring = KeyRing.from_env()
    assert ring.current() == "k2"
    assert opens(KeyRing({"k1": KEY}), ring)


@pytest.mark.parametrize("text", ["", TEXT, f"k1:{TEXT} k1:{OTHER}", ":", f"k1:{TEXT[:-8]}"], ids=repr)
def test_a_variable_without_keys_is_refused_and_not_shown(monkeypatch, text):
    monkeypatch.setenv("KEYS", text)
    with pytest.raises(InvalidValueError) as caught:
        KeyRing.from_env("KEYS")
    assert TEXT[:10] not in str(caught.value)


def test_keys_come_from_a_file_of_which_others_have_nothing(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# since November\nk2:{OTHER}\nk1:{TEXT}\n")
    path.chmod(0o600)
    assert KeyRing.from_file(path).current() == "k2"
    assert KeyRing.from_file(path, current="k1").current() == "k1"
    path.chmod(0o640)
    with pytest.raises(InvalidValueError, match="0640"):
        KeyRing.from_file(path)


def test_a_passphrase_gives_the_same_key_with_the_same_salt_only():
    one, same, other = (
        KeyRing.from_passphrase("correct horse battery", salt=salt, key_id="k1")
        for salt in (b"s" * 16, b"s" * 16, b"t" * 16)
    )
    assert opens(one, same)
    with pytest.raises(NotTheKeyError):
        opens(one, other)


@pytest.mark.parametrize(("passphrase", "salt"), [("short", b"s" * 16), ("long enough it is", b"s" * 15)])
def test_a_short_passphrase_or_salt_is_refused_and_not_shown(passphrase, salt):
    with pytest.raises(InvalidValueError) as caught:
        KeyRing.from_passphrase(passphrase, salt=salt)
    assert passphrase not in str(caught.value)


def test_argon2id_is_that_of_rfc_9106():
    made = Argon2id(
        salt=b"\2" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\4" * 12, secret=b"\3" * 8
    ).derive(b"\1" * 32)
    assert made.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_a_provider_of_ones_own_needs_three_methods():
    class Service:
        def current(self): ...
        def wrap(self, key_id, data_key, context): ...
        def unwrap(self, key_id, wrapped, context): ...

    assert isinstance(Service(), KeyProvider)
    with pytest.raises(InvalidValueError, match="KeyRing"):
        MemoryStore(encryption=os.urandom(32))
