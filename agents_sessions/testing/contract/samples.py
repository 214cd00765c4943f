"""The sessions, ids and items that the tests of the contract use."""

from typing import Any

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, item_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import MAX_DEPTH
from agents_sessions.stores.base import Change

KEY = SessionKey("support", "order-42")
HUGE = 10**30

HOSTILE_IDS = [
    "../x",
    "..",
    ".",
    ".hidden",
    "-rf",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "CON",
    "con.txt",
    "x.json",
    "x.json.torn-01234567",
    "trailing.",
    "with space",
    "new\nline",
    "%41",
    "~",
    "name:stream",
    "Zoë",
    "日本語",
    "\U0001f600",
    "\ud800",
    "e\u0301",
    "x" * 300,
    "ü" * 300,
    "*",
    "history",
]
"""Ids that have led a store out of its folder, into another session, or nowhere. All of them are allowed."""

LOSSLESS_ITEMS: list[Item] = [
    {},
    {"role": "user", "content": "Grüße, 日本語, \U0001f600"},
    {"text": "lone \ud800 and \udfff surrogates", "\udead": "in a key"},
    {"text": "line\u2028separator\u2029and\x85next\x00nul\x7f\r\n"},
    {"text": '"],"context":{}}\n],"context":{"items":9},"updated_at":"x","seal":{"crc":"00000000"}}\n'},
    {"big": 2**64, "bigger": -(10**3999), "byte": 255, "zero": 0},
    {"float": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308, "power": 1e22, "minus": -0.0, "whole": 1.0},
    {"yes": True, "no": False, "none": None, "one": 1},
    {"z": 1, "a": 2, "m": {"z": 1, "a": 2}, "": 3},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": [1, 2]}'},
    {"seq": 7, "crc": "00000000", "k": 2, "n": 3, "id": None, "history": [], "seal": {}},
]
"""Items that a careless encoder changes."""


def nested(levels: int) -> Item:
    """Return an item of so many levels."""
    value: Any = "core"
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value}
    return {"in": value}


REFUSED_ITEMS: list[object] = [
    {"x": float("nan")},
    {"x": [float("inf")]},
    {"x": {"y": -float("inf")}},
    {"x": b"bytes"},
    {"x": {1, 2}},
    {"x": object()},
    {1: "x"},
    {"x": {None: 1}},
    {"\ud83d\ude00": 1, "\U0001f600": 2},
    {"x": 10**5000},
    nested(MAX_DEPTH + 1),
    nested(5000),
    "text",
    ["list"],
    None,
    7,
]
"""What JSON does not carry, or carries as something else."""


def said(text: str) -> Entry:
    """Return a user's message as a new entry."""
    return item_entry({"role": "user", "content": text})


def texts(entries: list[Entry]) -> list[object]:
    """Return what the messages of a history say."""
    return [entry["item"].get("content") for entry in entries if "item" in entry]


def info_of(key: SessionKey = KEY, **facts: Any) -> SessionInfo:
    """Return a new session of that key."""
    return SessionInfo(id=key.session_id, agent_id=key.agent_id, **facts)


def without_last(count: int) -> Change:
    """Return a change that removes the newest entries."""
    return lambda history: history.with_entries(history.entries[:-count])
