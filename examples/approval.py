"""A tool that must be approved: one process asks, another decides. In between there is only the folder."""

import argparse
import asyncio
import subprocess
import sys
from tempfile import TemporaryDirectory

from agents import Agent, function_tool
from offline import Json, last_output, run_config, users_texts

from agents_sessions import SessionManager
from agents_sessions.testing import assistant_message, function_call


@function_tool(needs_approval=True)
def refund(order: int, amount: float) -> str:
    """Send money back."""
    return f"{amount:.2f} EUR sent back for order {order}"


clerk = Agent(name="clerk", instructions="You refund what the customer asks for.", tools=[refund])


def rules(request: Json) -> Json:
    output = last_output(request)
    if output is not None:
        return assistant_message(f"Done: {output}." if "sent back" in output else f"I could not do it: {output}")
    large = "everything" in users_texts(request)[-1]
    return function_call("refund", {"order": 42, "amount": 9999.0 if large else 19.9})


async def ask(root: str) -> None:
    async with SessionManager(root, agents=[clerk], run_config=run_config(rules)) as manager:
        for text in ("Please refund order 42.", "Please refund everything, always."):
            session = await manager.create_session("clerk", name=text)
            reply = await manager.send_message(session.id, text)
            print(f"customer    {text}\n            → {reply.status}")


async def decide(root: str) -> None:
    async with SessionManager(root, agents=[clerk], run_config=run_config(rules)) as manager:
        for session in reversed(await manager.list_sessions(agent_id="clerk")):
            for call in await manager.pending_approvals(session.id):
                print(f"supervisor  {call.agent} wants {call.tool} {call.arguments}")
                if "9999" in call.arguments:
                    reply = await manager.resume(session.id, reject={call.call_id: "only a director may send so much"})
                else:
                    reply = await manager.resume(session.id, approve=[call.call_id])
                print(f"            → {reply.status}\nclerk       {reply.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decide", metavar="ROOT", help="be the second process")
    second = parser.parse_args().decide
    if second is not None:
        asyncio.run(decide(second))
        return
    with TemporaryDirectory() as root:
        asyncio.run(ask(root))
        print("\n--- another process, tomorrow ---\n", flush=True)
        subprocess.run([sys.executable, __file__, "--decide", root], check=True)


if __name__ == "__main__":
    main()
