"""Branches: try two ways of the same conversation, see the family, compare them, and bring one home."""

import asyncio
from tempfile import TemporaryDirectory

from agents import Agent
from offline import Json, run_config, users_texts

from agents_sessions import SessionManager
from agents_sessions.testing import assistant_message

planner = Agent(name="planner", instructions="You plan journeys. Answer in one sentence.")


def rules(request: Json) -> Json:
    *before, wish = users_texts(request)
    if any("Merged from branch" in text for text in before):
        return assistant_message("Then we take the night train that was found there.")
    if "train" in wish:
        return assistant_message("The night train leaves Berlin at 20:30 and costs 89 EUR.")
    if "plane" in wish:
        return assistant_message("The plane leaves at 9:00 and costs 120 EUR.")
    return assistant_message("Vienna it is. By train or by plane?")


async def main(root: str) -> None:
    async with SessionManager(root, agents=[planner], run_config=run_config(rules)) as manager:
        trip = (await manager.create_session("planner", session_id="trip", name="Vienna")).id
        await manager.send_message(trip, "I want to go to Vienna in May.")

        by_train = (await manager.branches.fork(trip, name="by train", new_id="trip-train")).id
        for session_id, wish in ((by_train, "Look for a train."), (trip, "Look for a plane.")):
            print(f"{session_id:>10}  {(await manager.send_message(session_id, wish)).text}")

        print(f"\n{await manager.branches.tree(by_train)}\n")
        diff = await manager.branches.diff(trip, by_train)
        print(f"{diff.common_turns} turn in common, then: {[turn.text for turn in diff.only_in_a]}", end=" ")
        print(f"and: {[turn.text for turn in diff.only_in_b]}\n")

        await manager.branches.merge(by_train, trip, after="close")
        print((await manager.get_recent_messages(trip, limit=1))[0].text, end="\n\n")
        print(f"{trip:>10}  {(await manager.send_message(trip, 'What now?')).text}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
