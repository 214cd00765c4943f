"""A support inbox of two thousand conversations: listed, paged, searched, counted and closed. No model is asked."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from tempfile import TemporaryDirectory

from agents_sessions import FileStore, SessionInfo, SessionManager
from agents_sessions.model.entries import Entry, item_entry, now, timestamp

CONVERSATIONS = 2000
OPENINGS = [
    "Where is my order {n}? It should have come on Monday.",
    "I was charged twice for order {n}. Please send me a refund.",
    "How do I change the delivery address of order {n}?",
    "订单{n}已经三天没有更新了。",
    "La bouilloire de la commande {n} est arrivée cassée.",
]
ANSWERS = ["I have looked it up for you.", "That is settled, you will hear from us.", "A refund is on its way."]


def conversation(number: int, rng: random.Random) -> tuple[SessionInfo, list[Entry]]:
    """Return one conversation of the last thirty days."""
    begun = now() - timedelta(minutes=rng.randrange(30 * 24 * 60))
    info = SessionInfo(
        id=f"ticket-{number:04}",
        agent_id="support",
        user_id=f"user-{rng.randrange(300)}",
        name=f"Order {number}",
        tags=("urgent",) if rng.random() < 0.05 else (),
        metadata={"channel": rng.choice(["mail", "chat"])},
        created_at=begun,
    )
    entries = []
    for turn in range(rng.randint(1, 4)):
        asked = item_entry({"role": "user", "content": rng.choice(OPENINGS).format(n=number)})
        answer = item_entry({"role": "assistant", "content": rng.choice(ANSWERS)}, agent="support")
        at = timestamp(begun + timedelta(minutes=turn))
        entries += [Entry(**asked, at=at), Entry(**answer, at=at)]
    return info, entries


async def fill(store: FileStore) -> None:
    rng = random.Random(12)
    for number in range(CONVERSATIONS):
        await store.create(*conversation(number, rng))


async def pages(manager: SessionManager, user: str) -> AsyncIterator[list[str]]:
    cursor = None
    while True:
        page = await manager.list_sessions(user_id=user, limit=3, cursor=cursor)
        yield [info.id for info in page]
        if (cursor := page.next_cursor) is None:
            return


async def search(manager: SessionManager, text: str) -> None:
    hits = await manager.search(text, limit=2)
    for hit in hits:
        shown = hit.snippet
        for mark in reversed(hit.marks):
            shown = f"{shown[: mark.start]}[{shown[mark.start : mark.end]}]{shown[mark.end :]}"
        print(f"  {text!r}: {hit.session_id} entry {hit.seq}: {shown}")


def indexing(done: int, of: int) -> None:
    """Say how far the first look has come, as a program with a bar would."""
    if done % 1000 == 0:
        print(f"  {done} of {of} read")


async def main(root: str) -> None:
    store = FileStore(root, durability="process", on_indexing=indexing)
    await fill(store)
    async with SessionManager(store) as manager:
        print(f"{await manager.count_sessions()} sessions, {await manager.get_active_session_count()} active")

        begun = time.perf_counter()
        newest = await manager.list_sessions(limit=5)
        print(f"The last active, in {(time.perf_counter() - begun) * 1000:.0f} ms:")
        for info in newest:
            print(f"  {info.short_id}  {info.last_active_at:%d %b %H:%M}  {info.name}, {info.context.items} items")

        print("One user, three at a time:")
        async for page in pages(manager, "user-7"):
            print("  ", *page)

        print("Searched:")
        for text in ("refund order 1", '"delivery address"', "订单", "commande cassee"):
            await search(manager, text)

        urgent = await manager.count_sessions(tags=["urgent"], metadata={"channel": "mail"})
        print(f"{urgent} are urgent and came by mail")

        mine = manager.for_user("user-7")
        print(f"user-7 sees {await mine.count_sessions()} sessions and {len(await mine.search('refund'))} hits")

        outcomes = await manager.delete_sessions(created_before=now() - timedelta(days=29))
        print(f"{sum(outcome.ok for outcome in outcomes)} old ones deleted, {await manager.count_sessions()} left")

        report = await manager.statistics.report(tags=["urgent"])
        print("\n".join(report.to_markdown().splitlines()[:8]))
    await store.aclose()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
