"""What the tests of trash, retention, archive, diagnostics and erasure share: stores, sessions and their age."""

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message

from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model import entries, query
from agents_sessions.model.entries import item_entry, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

KEY = SessionKey("support", "order-42")
QUIET = RunConfig(tracing_disabled=True)
NOW = entries.now()


def open_store(kind, folder):
    return MemoryStore() if kind == "memory" else FileStore(folder / "sessions", durability="process")


def within(store, act, *agents, **options):
    """Do something with a manager."""

    async def run():
        options.setdefault("agents", agents or [chatty()])
        async with SessionManager(store, run_config=QUIET, **options) as manager:
            return await act(manager)

    return asyncio.run(run())


def chatty(name="support", answers=20):
    return Agent(name=name, model=ScriptedModel([[assistant_message(f"answer {n}")] for n in range(answers)]))


def said(text, days_ago=0.0, **labels):
    entry = item_entry({"role": "user", "content": text}, **labels)
    return {**entry, "at": timestamp(NOW - timedelta(days=days_ago))}


async def make(store, session_id="order-42", *, agent="support", days_ago=0.0, size=1, text="hello", **facts):
    """Make a session whose last activity was so many days ago."""
    moment = NOW - timedelta(days=days_ago)
    facts = {"created_at": moment, "updated_at": moment, **facts}
    info = SessionInfo(id=session_id, agent_id=agent, **facts)
    return await store.create(info, [said(text, days_ago) for _ in range(size)])


async def whole(store, key=KEY):
    """Return all of a session but when it last changed."""
    info = await store.load(key)
    names = await store.list_sidecars(key)
    facts = info.model_dump(exclude={"updated_at", "refreshed_at", "expires_at"})
    entries = [
        (entry["seq"], entry["at"], entry.get("item", entry.get("record"))) for entry in await store.entries(key)
    ]
    return facts, entries, {name: await store.read_sidecar(key, name) for name in names}


@contextmanager
def later(**length):
    """Let the clock that decides about age be ahead."""
    ahead = timedelta(**length)
    with mock.patch.object(query, "now", side_effect=lambda: entries.now() + ahead):
        yield
