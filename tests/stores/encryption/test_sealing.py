"""What is sealed, what stays readable, and what becomes of keys and parts that do not fit."""

import asyncio
import base64
import hashlib
import hmac
import json
import os

import pytest
from builders import KEY, said
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agents_sessions import FileSession, KeyRing, MemoryStore, SessionManager
from agents_sessions.errors import (
    InvalidValueError,
    KeyDestroyedError,
    MissingKeyError,
    NotEncryptedError,
    PlaintextError,
    SessionCorruptedError,
    SessionVersionError,
    WrongKeyError,
)
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.stores.codec import Codec, SessionCodec
from agents_sessions.stores.file.store import FileStore

MASTER = bytes(range(32))
RING = KeyRing({"k1": MASTER})
WORDS = (b"plain secret", b"sidecar secret", b"name secret", b"tag secret", b"meta secret", b"user secret")


def encrypted(root, ring=RING):
    return FileStore(root, encryption=ring, durability="process")


async def write(store):
    info = SessionInfo(
        id=KEY.session_id,
        agent_id=KEY.agent_id,
        name="name secret",
        tags=("tag secret",),
        metadata={"a": "meta secret"},
        user_id="user secret",
    )
    await store.create(info, [said("plain secret 1")], sidecars={"a.json": b"sidecar secret 1"})
    await store.append(KEY, [said("plain secret 2"), said("plain secret 3")])
    await store.append(KEY, [said("plain secret 4")])
    await store.write_sidecar(KEY, "b.json", b"sidecar secret 2")
    return store


@pytest.fixture
def store(tmp_path):
    return asyncio.run(write(encrypted(tmp_path)))


READS = {
    "load": lambda store: store.load(KEY),
    "entries": lambda store: store.entries(KEY),
    "newest": lambda store: store.entries(KEY, limit=1),
    "items": lambda store: store.items(KEY),
    "sidecar": lambda store: store.read_sidecar(KEY, "a.json"),
    "append": lambda store: store.append(KEY, [said("x")]),
    "rewrite": lambda store: store.rewrite(KEY, lambda history: history.with_entries([])),
    "write sidecar": lambda store: store.write_sidecar(KEY, "c.json", b"x"),
    "start over": lambda store: store.start_over(KEY),
    "delete": lambda store: store.delete(KEY),
    "set aside": lambda store: store.set_aside(KEY),
}
LISTS = {
    "scan": lambda store: _all(store.scan()),
    "query": lambda store: store.query(SessionQuery()),
    "count": lambda store: store.count(SessionQuery()),
    "search": lambda store: store.search(SearchQuery(text="secret")),
}


async def _all(found):
    return [each async for each in found]


def refuses(store, error, acts):
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    for act in acts.values():
        with pytest.raises(error):
            asyncio.run(act(store))
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before


def test_what_is_sealed_comes_back_and_is_found(store):
    info = asyncio.run(store.load(KEY))
    texts = [item["content"] for item in asyncio.run(store.items(KEY))]
    assert texts == [f"plain secret {number}" for number in range(1, 5)]
    assert (info.name, info.tags, info.metadata, info.user_id) == (
        "name secret", ("tag secret",), {"a": "meta secret"}, "user secret",
    )  # fmt: skip
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"sidecar secret 1"
    assert len(asyncio.run(store.query(SessionQuery(tags=("tag secret",))))) == 1
    assert len(asyncio.run(store.search(SearchQuery(text="plain")))) == 4


def test_the_file_is_one_json_document_with_readable_ids_times_and_totals(store):
    document = json.loads(store.path(KEY).read_bytes())
    assert (document["id"], document["agent_id"]) == (KEY.session_id, KEY.agent_id)
    assert document["context"]["user_messages"] == 4
    assert sorted(document["history"][0]) == ["at", "crc", "sealed", "seq"]
    assert store.path(KEY).read_bytes().count(b"\n") == 1 + 4 + 1


def test_a_sealed_body_can_be_opened_by_what_the_documentation_says(store):
    document = json.loads(store.path(KEY).read_bytes())
    wrapped = base64.b64decode(document["codec"]["key"])
    context = json.dumps(["agents-sessions/1 key", *KEY, "k1"], separators=(",", ":")).encode()
    data_key = AESGCM(MASTER).decrypt(wrapped[8:20], wrapped[20:], context)
    sealing = AESGCM(hmac.digest(data_key, b"agents-sessions/1 seal", hashlib.sha256))
    sealed = base64.b64decode(document["history"][1]["sealed"])
    bound = json.dumps(["agents-sessions/1", *KEY], separators=(",", ":")).encode() + b"entry 2"
    assert json.loads(b"{%s}" % sealing.decrypt(sealed[:12], sealed[12:], bound))["item"]["content"] == "plain secret 2"


def test_the_primitive_is_aes_256_gcm_as_published():
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = AESGCM(key).encrypt(
        bytes.fromhex("cafebabefacedbaddecaf888"), plain, bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    )
    assert sealed.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_no_two_seals_are_the_same(store):
    entries = asyncio.run(store.entries(KEY))
    asyncio.run(store.rewrite(KEY, lambda history: history.with_entries([*entries[:1], *entries[1:]])))
    nonces = [base64.b64decode(line["sealed"])[:12] for line in json.loads(store.path(KEY).read_bytes())["history"]]
    assert len(set(nonces)) == 4


def test_every_session_has_its_own_key(tmp_path):
    codec = encrypted(tmp_path)._files.codec
    one, two = codec.begin(KEY), codec.begin(KEY)
    with pytest.raises(SessionCorruptedError):
        two.decode_sidecar("a", one.encode_sidecar("a", b"x"))


# --- the errors ---


def test_a_wrong_key_is_an_error_and_nothing_is_touched(store):
    refuses(encrypted(store.root, KeyRing({"k1": os.urandom(32)})), WrongKeyError, {**READS, **LISTS})


def test_a_missing_key_is_an_error_that_names_it_and_nothing_is_touched(store):
    other = encrypted(store.root, KeyRing({"k2": MASTER}))
    refuses(other, MissingKeyError, {**READS, **LISTS})
    with pytest.raises(MissingKeyError, match="'k1'"):
        asyncio.run(other.load(KEY))


def test_a_plain_session_is_refused_where_sessions_are_encrypted(tmp_path):
    asyncio.run(write(FileStore(tmp_path)))
    refuses(encrypted(tmp_path), NotEncryptedError, READS)


def test_an_encrypted_session_is_refused_where_sessions_are_plain(store):
    plain = FileStore(store.root)
    for act in ("load", "entries", "items", "sidecar", "append", "delete"):
        with pytest.raises(SessionVersionError, match="encryption="):
            asyncio.run(READS[act](plain))


def destroy(store):
    data = store.path(KEY).read_bytes()
    wrapped = json.loads(data)["codec"]["key"].encode()
    store.path(KEY).write_bytes(data.replace(wrapped, b"A" * len(wrapped)))


def test_a_destroyed_key_is_an_error_and_the_session_can_still_be_deleted(store):
    destroy(store)
    refuses(store, KeyDestroyedError, {name: act for name, act in READS.items() if name != "delete"})
    asyncio.run(store.delete(KEY))
    assert asyncio.run(store.load(KEY)) is None


@pytest.mark.parametrize("way", ["delete", "trash"])
def test_a_deletion_destroys_the_key_before_it_removes_the_file(store, way):
    async def remove():
        await (store.delete(KEY) if way == "delete" else store.discard((await store.set_aside(KEY)).token))

    with store.path(KEY).open("rb") as file:  # as it lies on the disk after its name is gone
        asyncio.run(remove())
        assert set(json.loads(file.read())["codec"]["key"]) == {"A"}


def test_a_damaged_wrapped_key_is_damage_and_not_a_wrong_key(store):
    data = store.path(KEY).read_bytes()
    wrapped = json.loads(data)["codec"]["key"]
    turned = wrapped[:40] + ("B" if wrapped[40] != "B" else "C") + wrapped[41:]
    store.path(KEY).write_bytes(data.replace(wrapped.encode(), turned.encode()))
    refuses(store, SessionCorruptedError, {name: READS[name] for name in ("load", "entries", "append", "sidecar")})


def test_a_plain_sidecar_beside_an_encrypted_session_is_not_believed(store):
    place = next(store.root.rglob("a.json"))
    place.write_bytes(b"sidecar secret 1")
    with pytest.raises(PlaintextError, match=r"a\.json"):
        asyncio.run(store.read_sidecar(KEY, "a.json"))


def test_a_sidecar_under_another_name_is_damage(store):
    place = next(store.root.rglob("a.json"))
    place.write_bytes(next(store.root.rglob("b.json")).read_bytes())
    with pytest.raises(SessionCorruptedError, match=r"a\.json"):
        asyncio.run(store.read_sidecar(KEY, "a.json"))


def test_nothing_is_written_beside_a_damaged_session(store):
    data = store.path(KEY).read_bytes()
    store.path(KEY).write_bytes(data.replace(b'"seal":', b'"sea1":'))
    with pytest.raises(SessionCorruptedError):
        asyncio.run(store.write_sidecar(KEY, "c.json", b"plain secret"))


# --- where it is given ---


def test_a_file_session_is_encrypted(tmp_path):
    session = FileSession("s1", root=tmp_path, encryption=RING)
    asyncio.run(session.add_items([{"role": "user", "content": "plain secret"}]))
    assert b"plain secret" not in session.path.read_bytes()
    assert asyncio.run(FileSession("s1", root=tmp_path, encryption=RING).get_items())[0]["content"] == "plain secret"


def test_a_manager_encrypts_its_folder_and_leaves_a_store_its_own_keys(tmp_path):
    assert SessionManager(tmp_path, encryption=RING).store.encrypted
    with pytest.raises(InvalidValueError, match="store"):
        SessionManager(MemoryStore(), encryption=RING)
    with pytest.raises(InvalidValueError, match="sqlite"):
        SessionManager("sqlite:///x.db", encryption=RING)


def test_a_codec_and_keys_are_not_both_given():
    class Own(Codec):
        def begin(self, key):
            return SessionCodec()

    with pytest.raises(InvalidValueError, match="codec"):
        MemoryStore(codec=Own(), encryption=RING)
