"""Plan mode: the session's mode decides which tools its agent gets. One history, two agents, one name."""

import asyncio
from tempfile import TemporaryDirectory

from agents import Agent, function_tool
from offline import Json, last_output, run_config, tools, users_texts

from agents_sessions import SessionInfo, SessionManager
from agents_sessions.testing import assistant_message, function_call

files = {"notes.txt": "buy milk"}


@function_tool
def read_file(name: str) -> str:
    """Read a file."""
    return files[name]


@function_tool
def write_file(name: str, text: str) -> str:
    """Write a file."""
    files[name] = text
    return f"{name} is written"


def coder(session: SessionInfo) -> Agent:
    """Return the agent of a session; the manager calls it at every turn."""
    if session.mode == "plan":
        instructions = "You plan. Read files, change nothing, and answer with a plan in one sentence."
        return Agent(name="coder", instructions=instructions, tools=[read_file])
    return Agent(name="coder", instructions="You carry out what was planned.", tools=[read_file, write_file])


def rules(request: Json) -> Json:
    output = last_output(request)
    if output is not None:
        done = "written" in output
        return assistant_message(
            "Done." if done else f"The file says {output!r}. I plan to write 'buy oat milk' instead."
        )
    if "write_file" in tools(request) and "Go ahead" in users_texts(request)[-1]:
        return function_call("write_file", {"name": "notes.txt", "text": "buy oat milk"})
    return function_call("read_file", {"name": "notes.txt"})


async def main(root: str) -> None:
    async with SessionManager(root, agents=coder, run_config=run_config(rules)) as manager:
        session = await manager.create_session("coder", mode="plan")
        reply = await manager.send_message(session.id, "I drink oat milk now. Can you change notes.txt?")
        print(f"plan   {reply.text}\n       notes.txt: {files['notes.txt']}")

        await manager.update_session(session.id, mode="build")
        reply = await manager.send_message(session.id, "Go ahead.")
        print(f"build  {reply.text}\n       notes.txt: {files['notes.txt']}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
