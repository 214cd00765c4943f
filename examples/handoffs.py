"""Three agents: each turn goes on with the agent that ended the last one, and every handoff is on record."""

import asyncio
from tempfile import TemporaryDirectory

from agents import Agent
from offline import Json, run_config, tools, users_texts

from agents_sessions import HandedOff, SessionManager
from agents_sessions.testing import assistant_message, handoff

refunds = Agent(
    name="refunds",
    handoff_description="Sends money back.",
    instructions="You are the refunds desk. Answer in one sentence.",
)
billing = Agent(
    name="billing",
    handoff_description="Knows invoices.",
    instructions="You are the billing desk. Answer in one sentence. Hand wishes for a refund to refunds.",
    handoffs=[refunds],
)
triage = Agent(
    name="triage",
    instructions="You are the front desk. Answer in one sentence. Hand questions about invoices to billing.",
    handoffs=[billing],
)


def rules(request: Json) -> Json:
    wish = users_texts(request)[-1]
    if "invoice" in wish and "transfer_to_billing" in tools(request):
        return handoff("billing")
    if "refund" in wish and "transfer_to_refunds" in tools(request):
        return handoff("refunds")
    desk = request["instructions"].split(".")[0].removeprefix("You are ")
    return assistant_message(f"This is {desk}. You said: {wish}")


async def main(root: str) -> None:
    async with SessionManager(root, agents=[triage], run_config=run_config(rules)) as manager:
        manager.on(HandedOff, lambda event: print(f"{'':10}→ {event.from_agent} hands over to {event.to_agent}"))
        session = await manager.create_session("triage")
        for text in ("Good morning!", "There is an invoice too many.", "I want a refund.", "How long will it take?"):
            reply = await manager.send_message(session.id, text)
            print(f"{reply.last_agent:>8}  {reply.text}")

        reply = await manager.send_message(session.id, "Something else, please.", start="entry")
        print(f"{reply.last_agent:>8}  {reply.text}")

        stats = (await manager.get_session(session.id)).context
        print(f"\n{stats.turns} turns, {stats.handoffs} handoffs, the next message goes to {stats.last_agent}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
