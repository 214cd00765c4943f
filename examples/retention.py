"""Keep a folder of conversations small, and lose none: rules with a preview, trash, archive, and a look at its health.

No model is asked: the conversations are written as a chat of last year would have left them.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from agents_sessions import Policy, SessionInfo, SessionManager
from agents_sessions.model.entries import item_entry, timestamp


async def remember(manager: SessionManager, name: str, days: int, **facts: object) -> None:
    """Store a conversation whose last word was spoken so many days ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    info = SessionInfo.model_validate(
        {"id": name, "agent_id": "support", "created_at": then, "updated_at": then, **facts}
    )
    question = item_entry({"role": "user", "content": f"A question about {name}. " * 40})
    await manager.store.create(info, [{**question, "at": timestamp(then)}])


async def main(root: str) -> None:
    async with SessionManager(root, trash="30d") as manager:
        for number, days in enumerate((400, 200, 120, 60, 20, 1), 1):
            await remember(manager, f"order-{number}", days, user_id="ann" if number % 2 else "bob")
        await remember(manager, "contract", 500, pinned=True)

        policy = Policy(keep_last=3, max_idle="90d")
        plan = await manager.retention.preview(policy)
        print(f"the plan:\n{plan}\n")

        await manager.store.append(plan.removals[-1].key, [item_entry({"role": "user", "content": "I am back!"})])
        report = await manager.retention.apply(plan)
        print(
            f"{report.sessions} went to the trash; {report.skipped[0].key.session_id} stays: {report.skipped[0].reason}"
        )

        back = await manager.trash.restore("order-1")
        print(f"{back.id} is back with {back.context.items} message")

        archived = await manager.archive.archive("order-4")
        print(f"{archived.session_id} is archived in {archived.path.name.split('.', 1)[1][9:]}, {archived.size} bytes")
        await manager.archive.restore(archived.session_id)

        for entry in await manager.retention.log():
            print(f"log: {entry.key.session_id} went to the {entry.to} by {entry.rule}")

        findings = await manager.diagnostics.check(thorough=True)
        print(f"{len(findings)} findings")

        gone = await manager.delete_user_sessions("ann", erase=True)
        print(f"ann is forgotten: {gone.sessions} sessions, complete: {gone.is_complete}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="where to put the sessions; by default a folder that is removed")
    options = parser.parse_args()
    if options.root:
        asyncio.run(main(options.root))
    else:
        with TemporaryDirectory() as folder:
            asyncio.run(main(folder))
