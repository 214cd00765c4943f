"""In which order sessions are found: that of the names of their files."""

import asyncio

from builders import info_of

from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.names import encode_name

ORDERED = ["é", "B", "a b", "a", "b-c", "b", "b0", "x" * 300, "xy"]
"""Ids in the order of their files, which is not that of their characters."""


def test_scan_and_find_go_by_the_names_of_files(store):
    keys = [SessionKey(agent, session_id) for agent in ("Zoë", "a b", "a-b") for session_id in ORDERED]

    async def work():
        for key in sorted(keys):
            await store.create(info_of(key))
        return [info.key async for info in store.scan()], await store.find("b")

    assert sorted(ORDERED, key=lambda session_id: encode_name(session_id) + ".json") == ORDERED
    assert asyncio.run(work()) == (keys, [key for key in keys if key.session_id == "b"])
