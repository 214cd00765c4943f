"""A view that is bound to one user: what is another's is not there."""

import asyncio
import inspect

import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message
from builders import info_of, said

from agents_sessions import TurnFinished
from agents_sessions.errors import InvalidValueError, SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.redaction import Redaction
from agents_sessions.model.search import SearchQuery
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.stores.scoped import OneUsersStore

HERS, HIS = SessionKey("a", "hers"), SessionKey("a", "his")


async def all_of(items):
    return [item async for item in items]


async def locked(store):
    async with store.turn_lock(HIS, timeout=0):
        pass


async def reserved(store):
    async with store.reserve("free"):
        return "held"


async def with_his_token(view, act):
    """Try something on a session of Bob's that was set aside."""
    (aside,) = await view._store.list_aside()
    try:
        return await act(aside.token)
    finally:
        assert await view._store.list_aside() == [aside]


ATTEMPTS = {
    "create": (lambda s: s.create(info_of(SessionKey("b", "his"))), SessionExistsError),
    "load": (lambda s: s.load(HIS), None),
    "entries": (lambda s: s.entries(HIS), SessionNotFoundError),
    "append": (lambda s: s.append(HIS, [said("x")]), SessionNotFoundError),
    "rewrite": (lambda s: s.rewrite(HIS, lambda h: h.with_facts(user_id="ann")), SessionNotFoundError),
    "delete": (lambda s: s.delete(HIS), SessionNotFoundError),
    "scan": (lambda s: all_of(s.scan()), "hers only"),
    "read_sidecar": (lambda s: s.read_sidecar(HIS, "state.json"), None),
    "write_sidecar": (lambda s: s.write_sidecar(HIS, "state.json", b"x"), SessionNotFoundError),
    "list_sidecars": (lambda s: s.list_sidecars(HIS), []),
    "delete_sidecar": (lambda s: s.delete_sidecar(HIS, "state.json"), False),
    "turn_lock": (locked, SessionNotFoundError),
    "set_aside": (lambda s: s.set_aside(HIS), SessionNotFoundError),
    "load_aside": (lambda s: with_his_token(s, s.load_aside), LookupError),
    "bring_back": (lambda s: with_his_token(s, s.bring_back), LookupError),
    "list_aside": (lambda s: s.list_aside(), []),
    "discard": (lambda s: with_his_token(s, s.discard), LookupError),
    "check": (lambda s: all_of(s.check()), []),
    "repair": (lambda s: s.repair(None, None), False),
    "renew_key": (lambda s: s.renew_key(HIS), SessionNotFoundError),
    "clear_copies": (lambda s: s.clear_copies(HIS), SessionNotFoundError),
    "every": (lambda s: all_of(s.every(SessionQuery())), "hers only"),
    "sizes": (lambda s: s.sizes([HIS]), [None]),
    "reserve": (reserved, "held"),
    "start_over": (lambda s: s.start_over(HIS), SessionNotFoundError),
    "items": (lambda s: s.items(HIS), SessionNotFoundError),
    "messages": (lambda s: s.messages(HIS, limit=5), SessionNotFoundError),
    "walk": (lambda s: all_of(s.walk(HIS)), SessionNotFoundError),
    "follow": (lambda s: all_of(s.follow(HIS, after=0)), SessionNotFoundError),
    "copy": (lambda s: s.copy(HIS, info_of(SessionKey("a", "mine"))), SessionNotFoundError),
    "query": (lambda s: s.query(SessionQuery()), "hers only"),
    "count": (lambda s: s.count(SessionQuery()), 1),
    "search": (lambda s: s.search(SearchQuery(text="words")), "hers only"),
    "purge": (lambda s: s.purge(), None),
    "is_running": (lambda s: s.is_running(HIS), False),
    "move": (lambda s: s.move(HIS, "b"), SessionNotFoundError),
    "redact": (lambda s: s.redact(HIS, Redaction.of_text("words", "")), SessionNotFoundError),
    "spend": (lambda s: all_of(s.spend(SessionQuery())), "hers only"),
    "spend_of": (lambda s: bobs_info_spend(s), SessionNotFoundError),
    "titled": (lambda s: bobs_title(s), [None]),
    "find": (lambda s: s.find("his"), []),
    "existing": (lambda s: s.existing(HIS), SessionNotFoundError),
    "aclose": (lambda s: s.aclose(), None),
}


async def bobs_info_spend(store):
    return await store.spend_of(info_of(HIS, context={"items": 1}))


async def bobs_title(store):
    shown = info_of(HIS, seq=1, context={"items": 1, "user_messages": 1})
    return [info.title for info in await store.titled([shown])]


async def prepared():
    store = MemoryStore()
    for key, user in ((HERS, "ann"), (HIS, "bob")):
        await store.create(info_of(key, user_id=user), [said("some words")])
    await store.write_sidecar(HIS, "state.json", b"bob's")
    hidden = info_of(SessionKey("a", "hidden"), user_id="bob")
    await store.create(hidden)
    await store.set_aside(hidden.key)
    return store


def test_every_operation_of_a_store_is_tried_here():
    public = {
        name
        for name, value in vars(SessionStore).items()
        if name[0] != "_" and callable(value) and (inspect.isroutine(value)) and name != "place"
    }
    assert set(ATTEMPTS) == public


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_operation_sees_or_touches_what_is_anothers(name):
    act, expected = ATTEMPTS[name]

    async def work():
        store = await prepared()
        before = await store.load(HIS), await store.entries(HIS), await store.read_sidecar(HIS, "state.json")
        view = OneUsersStore(store, "ann")
        if isinstance(expected, type):
            with pytest.raises(expected):
                await act(view)
        elif expected == "hers only":
            found = await act(view)
            assert [getattr(each, "key", each) for each in found] == [HERS]
        else:
            assert await act(view) == expected
        assert before == (await store.load(HIS), await store.entries(HIS), await store.read_sidecar(HIS, "state.json"))

    asyncio.run(work())


def test_a_question_about_another_user_has_no_answer():
    async def work():
        view = OneUsersStore(await prepared(), "ann")
        query = SessionQuery(user_id="bob")
        assert list(await view.query(query)) == []
        assert await view.count(query) == 0
        assert list(await view.search(SearchQuery(text="words", sessions=query))) == []
        assert await view.count(SessionQuery(user_id="ann")) == 1

    asyncio.run(work())


def answering(*answers):
    model = ScriptedModel([[assistant_message(answer)] for answer in answers])
    return SessionManager(
        MemoryStore(), agents=[Agent(name="a", model=model)], run_config=RunConfig(tracing_disabled=True)
    )


def test_a_view_does_all_that_a_manager_does_with_its_own_sessions():
    async def work():
        manager = answering("hello Ann", "hello Bob")
        heard = []
        manager.on(TurnFinished, heard.append)
        view = manager.for_user("ann")
        info = await view.create_session("a", session_id="mine")
        assert info.user_id == "ann"
        reply = await view.send_message("mine", "words")
        assert reply.text == "hello Ann"
        assert len(heard) == 1
        assert [info.id for info in await view.list_sessions()] == ["mine"]
        assert len(await view.search("words")) == 1
        await view.update_session("mine", name="about words")
        assert (await manager.get_session("mine")).name == "about words"
        await view.delete_session("mine")
        assert await manager.count_sessions() == 0

    asyncio.run(work())


def test_a_view_pages_through_its_own_sessions():
    async def work():
        manager = answering()
        for user in ("ann", "bob"):
            await manager.create_sessions(
                {"agent_id": "a", "session_id": f"{user}{n}", "user_id": user, "name": "tea"} for n in range(5)
            )
        view, seen, hits, cursor = manager.for_user("ann"), [], [], None
        while True:
            page = await view.list_sessions(limit=2, cursor=cursor)
            seen += [info.id for info in page]
            if (cursor := page.next_cursor) is None:
                break
        while True:
            page = await view.search("tea", limit=2, cursor=cursor)
            hits += [hit.session_id for hit in page]
            if (cursor := page.next_cursor) is None:
                break
        assert sorted(seen) == sorted(hits) == [f"ann{number}" for number in range(5)]

    asyncio.run(work())


def test_the_sessions_of_others_are_not_there_for_a_view():
    async def work():
        manager = answering("never")
        await manager.create_session("a", session_id="bobs", user_id="bob")
        view = manager.for_user("ann")
        for act in (
            lambda: view.get_session("bobs"),
            lambda: view.get_session("bobs", agent_id="a"),
            lambda: view.send_message("bobs", "hello", agent_id="a"),
            lambda: view.add_message("bobs", "hello", agent_id="a"),
            lambda: view.update_session("bobs", agent_id="a", name="mine"),
            lambda: view.clear_session("bobs", agent_id="a"),
            lambda: view.delete_session("bobs", agent_id="a"),
            lambda: view.get_history("bobs", agent_id="a"),
            lambda: view.session("bobs", agent_id="a").get_items(),
            lambda: view.resolve("bobs"),
        ):
            with pytest.raises(SessionNotFoundError):
                await act()
        with pytest.raises(SessionExistsError):
            await view.create_session("a", session_id="bobs")
        with pytest.raises(InvalidValueError, match="user_id must be 'ann'"):
            await view.create_session("a", user_id="bob")
        mine = await view.create_session("a")
        with pytest.raises(InvalidValueError, match="user_id must be 'ann'"):
            await view.update_session(mine.id, user_id="bob")
        assert await view.for_user("bob").count_sessions() == 0
        assert (await manager.get_session("bobs")).seq == 0

    asyncio.run(work())


@pytest.mark.parametrize("user", [None, "", 7])
def test_a_view_is_of_a_user(user):
    with pytest.raises(InvalidValueError, match="user_id"):
        SessionManager(MemoryStore()).for_user(user)
