"""The smallest change to an existing application: one session, given to the Runner. Run it twice."""

import asyncio

from agents import Agent, Runner
from offline import Json, run_config, users_texts

from agents_sessions import FileSession
from agents_sessions.testing import assistant_message


def rules(request: Json) -> Json:
    *before, now = users_texts(request)
    return assistant_message(f"You say {now!r}. Before that you wrote {len(before)} messages.")


async def main() -> None:
    agent = Agent(name="support", instructions="Tell how many messages the user wrote before this one.")
    session = FileSession("order-42", agent_id="support")  # sessions/support/order-42.json
    result = await Runner.run(agent, "Where is my order?", session=session, run_config=run_config(rules))
    print(result.final_output)
    print((await session.info()).context.items, "items in sessions/support/order-42.json")


if __name__ == "__main__":
    asyncio.run(main())
