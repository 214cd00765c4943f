"""Conversations that no one can read without the key: what lies on the disk, a wrong key, and a new key.

No model is asked: the conversation is written as a turn would leave it.
"""

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from agents_sessions import KeyRing, SessionManager
from agents_sessions.errors import WrongKeyError
from agents_sessions.model.entries import item_entry

SECRET = "my card is 4111 1111 1111 1111"


async def main(root: str) -> None:
    first, second = KeyRing.generate(), KeyRing.generate()

    async with SessionManager(root, encryption=KeyRing({"k1": first})) as manager:
        session = await manager.create_session("support", session_id="order-42", name="Order 42")
        await manager.store.append(session.key, [item_entry({"role": "user", "content": SECRET})])
        print(f"with the key: {(await manager.store.items(session.key))[0]['content']}")
        file = Path(root, "support", "order-42.json").read_text()  # noqa: ASYNC240 -- nobody else waits here
        print(f"on the disk: {file.count(SECRET)} times the secret, {file.count('Order 42')} times the name")
        print(file.splitlines()[1][:100], "…")

    try:
        async with SessionManager(root, encryption=KeyRing({"k1": KeyRing.generate()})) as manager:
            await manager.list_sessions()
    except WrongKeyError as error:
        print(f"with another key: {error}")

    async with SessionManager(root, encryption=KeyRing({"k1": first, "k2": second}, current="k2")) as manager:
        report = await manager.encryption.rotate_keys()
        print(f"rotated: {report.rotated}, the old key is still needed: {not report.is_complete}")

    async with SessionManager(root, encryption=KeyRing({"k2": second})) as manager:
        print(f"with the new key alone: {len(await manager.store.items(session.key))} item")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--root", help="a folder for the sessions; by default one that is removed at the end")
    given = arguments.parse_args()
    with TemporaryDirectory() as folder:
        asyncio.run(main(given.root or folder))
