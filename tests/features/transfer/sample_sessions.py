"""Sessions that have something of everything, for the tests of what goes out and comes in."""

from agents_sessions.features.transfer.transfer import Transfer
from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.usage import TokenUsage
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing.contract.samples import LOSSLESS_ITEMS

KEY = SessionKey("triage", "order-42")
SIDECARS = {"checkpoints/1.json": b'{"label": "before refund"}', "picture": b"\x89PNG\xff\x00", "note": "Zoë".encode()}
RUN_STATE = {"run_state.json": b'{"context": {"api_key": "my-secret"}}'}

ROW = {**TokenUsage(requests=1, input_tokens=900, cached_tokens=300, output_tokens=100, total_tokens=1000).row()}
CALL = {"type": "function_call", "call_id": "c1", "name": "find_order", "arguments": '{"order":"A-42"}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": '{"state":"shipped"}'}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I look it up."}]}


def answer(text):
    """Return what a model says."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [part]}


def conversation(*, turn="t1", question="Wo ist es?", reply="It was shipped."):
    """Return the entries of one turn of a manager, with a tool and a handoff."""

    def of(agent, item):
        return item_entry(item, agent=agent, turn=turn)

    return [
        item_entry({"role": "user", "content": question}, turn=turn),
        of("triage", REASONING),
        of("triage", CALL),
        of("triage", OUTPUT),
        record_entry({"type": "usage", "requests": [{**ROW, "agent": "triage"}]}, turn=turn),
        record_entry({"type": "handoff", "from": "triage", "to": "billing"}, agent="triage", turn=turn),
        of("billing", answer(reply)),
        record_entry({"type": "usage", "requests": [{**ROW, "agent": "billing"}]}, turn=turn),
        record_entry({"type": "turn", "status": "completed", "usage": ROW, "duration_ms": 1200}, turn=turn),
    ]


def info_of(key=KEY, **facts):
    """Return the facts of a session that uses every one of them."""
    given = {"name": "Order 42", "user_id": "u-17", "metadata": {"plan": "pro"}, "tags": ("vip",), "later": [1, None]}
    return SessionInfo(id=key.session_id, agent_id=key.agent_id, **{**given, **facts})


def everything():
    """Return entries that a careless format would change, with gaps in their numbers."""
    numbered = [{**entry, "seq": 3 * place} for place, entry in enumerate(conversation(), 1)]
    return [*numbered, *(item_entry(item) for item in LOSSLESS_ITEMS)]


async def filled(store=None, entries=None, *, key=KEY, sidecars=SIDECARS, **facts):
    """Return a store with one session."""
    store = store or MemoryStore()
    await store.create(info_of(key, **facts), everything() if entries is None else entries, sidecars=sidecars)
    return store


def transfer_of(store=None):
    """Return the transfer of a store."""
    store = store or MemoryStore()
    return Transfer(store, SessionLookup(store))


async def contents(store, key=KEY):
    """Return all that a store has of a session, in a form that can be compared."""
    names = await store.list_sidecars(key)
    entries = [
        {name: value for name, value in entry.items() if name not in ("crc", "k", "n")}
        for entry in await store.entries(key)
    ]
    return await store.load(key), entries, {name: await store.read_sidecar(key, name) for name in names}


async def texts(store, key=KEY):
    """Return what was said in a session."""
    return [entry["item"].get("content") for entry in await store.entries(key) if "item" in entry]
