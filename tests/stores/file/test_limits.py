"""The largest item and the largest session."""

import asyncio
import json
import os

import pytest
from agents import Agent, RunConfig, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from builders import KEY, info_of, said

from agents_sessions.errors import ReplyNotStoredError, SessionLimitError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.session import FileSession, StoredSession
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.lines import encode_entry
from agents_sessions.stores.file.limits import Limits
from agents_sessions.stores.file.store import FileStore
from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.copy import CopyContract
from agents_sessions.testing.contract.create import CreateContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.sidecars import SidecarContract

ITEM, SESSION = 400, 4000
AT = "2026-11-20T21:28:00.123Z"
QUIET = RunConfig(tracing_disabled=True)


class TestALimitedStore(AppendContract, CopyContract, CreateContract, RewriteContract, SidecarContract):
    """What is no larger than the limits is stored as ever. The parts that look at sizes."""

    async def make_store(self, folder):
        return FileStore(folder, durability="process", max_item_bytes=1 << 24, max_session_bytes=1 << 26)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path, max_item_bytes=ITEM, max_session_bytes=SESSION)


def of_bytes(size):
    empty = len(json.dumps({"role": "user", "content": ""}, separators=(",", ":")))
    return said("x" * (size - empty))


def create(store, *entries, **facts):
    asyncio.run(store.create(info_of(**facts), entries))


def append(store, *entries):
    return asyncio.run(store.append(KEY, entries))


def fill(store):
    """Add items until no more fit, and return how many did."""
    count = 0
    while True:
        try:
            append(store, of_bytes(ITEM))
        except SessionLimitError:
            return count
        count += 1


def said_bytes(store):
    """Return the size of a file without its padding."""
    return len(store.path(KEY).read_bytes().rstrip(b"\t\n"))


def unlimited(store):
    return FileStore(store.root, max_item_bytes=None, max_session_bytes=None)


@pytest.mark.parametrize("limits", [{"max_item_bytes": 0}, {"max_session_bytes": -1}, {"max_item_bytes": 1.5}])
def test_a_limit_is_a_number_of_bytes(tmp_path, limits):
    with pytest.raises(ValueError, match=f"{next(iter(limits))} must be a positive number of bytes, or None"):
        FileStore(tmp_path, **limits)


def test_the_largest_item_is_stored_and_one_byte_more_is_not(store):
    create(store)
    append(store, of_bytes(ITEM))
    before = store.path(KEY).read_bytes()
    with pytest.raises(SessionLimitError) as caught:
        append(store, said("small"), of_bytes(ITEM + 1))
    error = caught.value
    assert (error.session_id, error.agent_id) == ("order-42", "support")
    assert (error.size, error.setting, error.limit) == (ITEM + 1, "max_item_bytes", ITEM)
    assert str(error).endswith("an item has 401 bytes, and max_item_bytes is 400")
    assert store.path(KEY).read_bytes() == before


def test_an_item_is_measured_in_bytes_and_not_in_characters(store):
    create(store)
    with pytest.raises(SessionLimitError):
        append(store, said("ü" * 200))


def test_a_session_is_not_created_with_an_item_that_is_too_large(store):
    with pytest.raises(SessionLimitError, match="max_item_bytes"):
        create(store, said("small"), of_bytes(ITEM + 1))
    assert not store.path(KEY).exists()


def test_a_session_is_not_created_with_metadata_that_are_too_large(store):
    with pytest.raises(SessionLimitError, match="metadata"):
        create(store, metadata={"note": "x" * ITEM})
    assert not store.path(KEY).exists()


def test_a_session_is_not_created_larger_than_it_may_become(store):
    with pytest.raises(SessionLimitError, match="max_session_bytes"):
        create(store, *[of_bytes(ITEM)] * 12)
    assert not store.path(KEY).exists()


def test_a_session_that_is_full_takes_no_more_and_keeps_what_it_has(store):
    create(store)
    count = fill(store)
    before = store.path(KEY).read_bytes()
    assert count > 5
    assert SESSION - 2 * ITEM < said_bytes(store) <= SESSION
    with pytest.raises(SessionLimitError) as caught:
        append(store, of_bytes(ITEM))
    assert caught.value.setting == "max_session_bytes"
    assert caught.value.size > SESSION
    assert store.path(KEY).read_bytes() == before
    assert len(asyncio.run(store.items(KEY))) == count


def test_a_full_session_can_be_renamed_popped_and_emptied(store):
    create(store)
    fill(store)
    session = StoredSession(store, KEY)

    async def work():
        await store.rewrite(KEY, lambda history: history.with_facts(name="a name that makes the file longer"))
        await session.pop_item()
        await session.add_items([{"role": "user", "content": "room"}])
        await session.clear_session()
        return await session.get_items()

    assert asyncio.run(work()) == []


def test_a_full_session_still_takes_records(store):
    create(store)
    fill(store)
    for _ in range(20):
        append(store, record_entry({"type": "usage", "requests": []}))
    assert said_bytes(store) > SESSION


def test_a_replaced_history_is_measured_too(store):
    create(store, said("old"))
    session = StoredSession(store, KEY)
    with pytest.raises(SessionLimitError, match="max_item_bytes"):
        asyncio.run(session._atomic_replace_items([{"role": "user", "content": "x" * ITEM}]))
    with pytest.raises(SessionLimitError, match="max_session_bytes"):
        asyncio.run(session._atomic_replace_items([{"role": "user", "content": "x" * 300}] * 20))
    assert asyncio.run(session.get_items()) == [{"role": "user", "content": "old"}]


def test_metadata_cannot_be_made_too_large(store):
    create(store, said("one"))
    with pytest.raises(SessionLimitError, match="metadata"):
        asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(metadata={"note": "x" * ITEM})))
    assert asyncio.run(store.load(KEY)).metadata == {}


LARGE_FACTS = {
    "name": {"name": "n" * ITEM},
    "mode": {"mode": "m" * ITEM},
    "user": {"user_id": "u" * ITEM},
    "more": {"more": ["x" * ITEM]},
    "together": {"name": "n" * (ITEM // 2), "metadata": {"note": "x" * (ITEM // 2)}},
}


@pytest.mark.parametrize("name", LARGE_FACTS)
def test_a_header_cannot_be_too_large(store, name):
    with pytest.raises(SessionLimitError, match=r"its header with its metadata .* max_item_bytes"):
        create(store, **LARGE_FACTS[name])
    assert not store.path(KEY).exists()
    create(store, said("one"))
    before = store.path(KEY).read_bytes()
    with pytest.raises(SessionLimitError, match=r"its header with its metadata .* max_item_bytes"):
        asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(**LARGE_FACTS[name])))
    assert store.path(KEY).read_bytes() == before


def test_a_header_cannot_make_a_session_too_large(tmp_path):
    store = FileStore(tmp_path, max_item_bytes=None, max_session_bytes=SESSION)
    with pytest.raises(SessionLimitError, match="max_session_bytes"):
        create(store, metadata={"note": "x" * SESSION})
    create(store, said("one"))
    before = store.path(KEY).read_bytes()
    with pytest.raises(SessionLimitError, match="max_session_bytes"):
        asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(metadata={"note": "x" * SESSION})))
    assert store.path(KEY).read_bytes() == before


def test_a_header_that_was_stored_under_higher_limits_can_be_renamed_and_cut_and_not_grow(store):
    create(unlimited(store), said("one"), metadata={"note": "x" * 2 * SESSION})

    def changed(**facts):
        return asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(**facts)))

    assert changed(name="A name").name == "A name"
    with pytest.raises(SessionLimitError):
        changed(name="n" * ITEM)
    with pytest.raises(SessionLimitError):
        changed(metadata={"note": "x" * (2 * SESSION + 1)})
    assert changed(metadata={"note": "x" * (2 * SESSION - 1)}).name == "A name"
    asyncio.run(StoredSession(store, KEY).pop_item())
    assert asyncio.run(store.items(KEY)) == []


def test_what_was_stored_under_higher_limits_is_read_and_cut(store):
    create(unlimited(store), *[of_bytes(3 * ITEM)] * 5)

    async def work():
        session = StoredSession(store, KEY)
        assert len(await session.get_items()) == 5
        assert len(await session.get_items(2)) == 2
        assert len(await store.entries(KEY)) == 5
        await session.pop_item()
        await store.rewrite(KEY, lambda history: history.with_facts(name="Large"))
        assert len(await session.get_items()) == 4
        with pytest.raises(SessionLimitError):
            await session.add_items([{"role": "user", "content": "more"}])

    asyncio.run(work())


@pytest.mark.parametrize("harm", ["edited", "torn"])
def test_a_file_that_must_be_read_whole_to_mend_it_has_a_largest_size(store, harm):
    other = unlimited(store)
    create(other, *[of_bytes(ITEM)] * 20)
    append(other, said("last"))
    path = store.path(KEY)
    data = path.read_bytes()
    torn = data[: data.index(b'"last"')]
    path.write_bytes(json.dumps(json.loads(data), indent=1).encode() if harm == "edited" else torn)
    before = path.read_bytes()
    for act in (store.items(KEY), store.load(KEY), store.append(KEY, [said("more")]), store.rewrite(KEY, str)):
        with pytest.raises(SessionLimitError, match="edited or torn"):
            asyncio.run(act)
    assert path.read_bytes() == before
    assert len(asyncio.run(other.items(KEY))) == 20 + (harm == "edited")


def test_a_listing_leaves_out_what_is_too_large_to_mend(store, caplog):
    create(store)
    other = store.path(KEY).with_name("other.json")
    other.write_bytes(b"{" + b" " * SESSION * 2)

    async def collect():
        return [info.id async for info in store.scan()]

    assert asyncio.run(collect()) == ["order-42"]
    assert "max_session_bytes" in caplog.text


def test_a_sidecar_has_a_largest_size(store):
    create(store)
    asyncio.run(store.write_sidecar(KEY, "state.json", b"x" * SESSION))
    with pytest.raises(SessionLimitError, match="a sidecar has 4,001 bytes, and max_session_bytes is 4,000"):
        asyncio.run(store.write_sidecar(KEY, "state.json", b"x" * (SESSION + 1)))
    assert asyncio.run(store.read_sidecar(KEY, "state.json")) == b"x" * SESSION
    os.truncate(store.path(KEY).with_suffix("") / "state.json", SESSION + 1)
    with pytest.raises(SessionLimitError):
        asyncio.run(store.read_sidecar(KEY, "state.json"))


def test_an_item_that_is_too_large_for_a_session_that_is_not_there(store):
    with pytest.raises(SessionLimitError):
        append(store, of_bytes(ITEM + 1))
    with pytest.raises(SessionNotFoundError):
        append(store, of_bytes(ITEM))


def test_a_bare_session_has_limits(tmp_path):
    session = FileSession("order-42", root=tmp_path, max_item_bytes=ITEM, max_session_bytes=SESSION)
    with pytest.raises(SessionLimitError):
        asyncio.run(session.add_items([{"role": "user", "content": "x" * ITEM}]))
    with pytest.raises(SessionLimitError):
        asyncio.run(session.add_items([{"role": "user", "content": "x" * 300}] * 20))
    assert asyncio.run(session.get_items()) == []


def test_there_are_limits_if_no_one_says_otherwise(tmp_path, monkeypatch):
    store = FileStore(tmp_path)
    create(store)
    with pytest.raises(SessionLimitError, match="max_item_bytes is 67,108,864"):
        append(store, said("x" * (64 << 20)))
    with open(store.path(KEY).with_name("other.json"), "wb") as file:
        file.write(b"{")
        file.truncate((2 << 30) + 1)
    with pytest.raises(SessionLimitError, match="max_session_bytes is 1,073,741,824"):
        asyncio.run(store.load(SessionKey("support", "other")))


# --- what is measured ------------------------------------------------------------------------------------------


def encoded(*entries):
    return [encode_entry(entry, "") for entry in entries]


def record(size):
    return record_entry({"type": "handoff", "from": "a", "to": "b" * size})


def written(*entries, **facts):
    numbered = [{**entry, "seq": seq} for seq, entry in enumerate(entries, 1)]
    return encode_document(
        Document({"id": "order-42", **facts}, numbered, len(numbered), fold(ContextStats(), numbered), AT)
    )


def test_the_largest_of_all_is_64_mib_an_item_and_1_gib_a_session():
    assert Limits() == (67_108_864, 1_073_741_824)
    Limits().check_file(KEY, "it", 1 << 30)
    with pytest.raises(SessionLimitError, match="it has 1,073,741,825 bytes, and max_session_bytes is 1,073,741,824"):
        Limits().check_file(KEY, "it", (1 << 30) + 1)
    with pytest.raises(SessionLimitError, match="max_item_bytes is 67,108,864"):
        Limits().check_items(KEY, [(b"", b'"item":' + bytes((64 << 20) + 1))])


def test_a_limit_may_be_one_byte_or_none():
    Limits(1, 1).check()
    Limits(None, None).check()
    with pytest.raises(ValueError, match="max_item_bytes must be a positive number of bytes, or None, not True"):
        Limits(True, 1).check()


def test_only_items_are_limited_and_not_records():
    batch = encoded(record(900), of_bytes(ITEM), record(ITEM))
    Limits(ITEM, None).check_items(KEY, batch)
    with pytest.raises(SessionLimitError):
        Limits(ITEM - 1, None).check_items(KEY, batch)
    Limits(None, 1).check_items(KEY, batch)


def test_a_session_may_have_its_largest_size():
    limits = Limits(None, SESSION)
    assert (limits.allow(SESSION), limits.allow(SESSION + 1)) == (True, False)
    limits.check_added(KEY, SESSION, [said("a")])
    limits.check_added(KEY, SESSION + 1, [record(1)])
    with pytest.raises(SessionLimitError, match=r"the session, with this, has 4,001 bytes, and max_session_bytes is"):
        limits.check_added(KEY, SESSION + 1, [record(1), said("a")])
    Limits(None, None).check_added(KEY, 1 << 40, [said("a")])
    Limits(None, None).check_file(KEY, "it", 1 << 40)


def test_a_file_that_does_not_grow_is_not_measured():
    data = written(said("a"))
    Limits(None, 1).check_document(KEY, len(data), [said("a")], len(data))
    with pytest.raises(SessionLimitError):
        Limits(None, 1).check_document(KEY, len(data), [said("a")], len(data) - 1)


def test_of_a_file_that_is_written_whole_the_added_items_are_measured():
    large = [of_bytes(ITEM + 1), record(ITEM)]
    data = written(*large)
    Limits(ITEM, None).check_document(KEY, len(data), [said("a"), record(ITEM)])
    with pytest.raises(SessionLimitError, match="an item has 401 bytes"):
        Limits(ITEM, None).check_document(KEY, len(data), large)


# --- in a turn -------------------------------------------------------------------------------------------------


@function_tool
def search() -> str:
    """Find far too much."""
    return "x" * ITEM


def send(store, *steps, content="hello", **agent):
    async def run():
        model = ScriptedModel(list(steps))
        async with SessionManager(
            store, agents=[Agent(name="support", model=model, **agent)], run_config=QUIET
        ) as manager:
            return await manager.send_message("order-42", content)

    return asyncio.run(run())


def runs(store):
    records = [entry["record"] for entry in asyncio.run(store.entries(KEY)) if "record" in entry]
    return [(record["status"], record.get("error")) for record in records if record["type"] == "turn"]


def test_a_message_that_is_too_large_never_reaches_the_model(store):
    create(store)
    with pytest.raises(SessionLimitError):
        send(store, content="x" * ITEM)
    assert runs(store) == [("failed", "SessionLimitError")]
    assert b"xxx" not in store.path(KEY).read_bytes()
    assert send(store, [assistant_message("here")]).text == "here"


def test_a_tool_that_returns_too_much_ends_the_turn(store):
    create(store)
    with pytest.raises(SessionLimitError):
        send(store, [function_call("search", "{}", call_id="c1")], tools=[search])
    assert runs(store) == [("failed", "SessionLimitError")]
    assert b"xxx" not in store.path(KEY).read_bytes()


def test_an_answer_that_is_too_large_is_in_the_error(store):
    create(store)
    with pytest.raises(ReplyNotStoredError) as caught:
        send(store, [assistant_message("x" * ITEM)])
    assert caught.value.reply.text == "x" * ITEM
    assert isinstance(caught.value.__cause__, SessionLimitError)
    assert send(store, [assistant_message("here")]).text == "here"
    assert [status for status, _ in runs(store)] == ["failed", "completed"]


def test_a_turn_on_a_full_session_is_recorded_as_failed(store):
    create(store)
    fill(store)
    size = said_bytes(store)
    for _ in range(3):
        with pytest.raises(SessionLimitError):
            send(store, content="y" * 370)
    assert runs(store) == [("failed", "SessionLimitError")] * 3
    assert said_bytes(store) < size + 1500


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


@pytest.mark.parametrize("full", [False, True])
def test_a_message_too_large_to_be_kept_with_its_decision_decides_nothing(tmp_path, full):
    store = FileStore(tmp_path, durability="process", max_item_bytes=1000, max_session_bytes=8000)
    create(store)
    send(store, [function_call("pay", "{}", call_id="c1")], tools=[pay])
    while full and store.path(KEY).stat().st_size < 7200:
        asyncio.run(store.append(KEY, [item_entry({"role": "assistant", "content": "x" * 300})]))
    before = store.path(KEY).read_bytes()

    async def run():
        agents = [Agent(name="support", model=ScriptedModel([[assistant_message("done")]]), tools=[pay])]
        async with SessionManager(store, agents=agents, run_config=QUIET) as manager:
            with pytest.raises(SessionLimitError, match="max_session_bytes" if full else "max_item_bytes"):
                await manager.send_message("order-42", "y" * (880 if full else 1100), on_pending="reject")
            return await manager.pending_approvals("order-42")

    assert [call.call_id for call in asyncio.run(run())] == ["c1"]
    assert store.path(KEY).read_bytes() == before


def test_what_must_be_read_to_be_mended_may_be_twice_as_large():
    limits = Limits(None, 100)
    for size, times in ((100, 1), (200, 2), (101, 2)):
        limits.check_file(KEY, "its file", size, times=times)
    for size, times in ((101, 1), (201, 2)):
        with pytest.raises(SessionLimitError):
            limits.check_file(KEY, "its file", size, times=times)
