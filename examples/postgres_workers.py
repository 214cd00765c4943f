"""Two worker processes behind one web application, on one PostgreSQL (or Redis, or SQLite).

python examples/postgres_workers.py postgresql://chat@localhost/chat
python examples/postgres_workers.py                                    a SQLite file, where there is no server

Each request goes to any worker. Messages on one session wait for each other, wherever they are; one worker is killed in
the middle of a turn, and the other goes on. On a server that is when the lease of the dead worker has ended, which is
after half a minute; add ?lease=2 to see it sooner.
"""

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time

from agents import Agent
from offline import Json, run_config, users_texts

from agents_sessions import SessionManager
from agents_sessions.testing import assistant_message

clerk = Agent(name="clerk", instructions="Keep the list.")


def rules(request: Json) -> Json:
    if "wait for ever" in users_texts(request)[-1]:
        time.sleep(600)
    return assistant_message(f"On the list: {', '.join(users_texts(request))}.")


async def work(url: str) -> None:
    """Answer the requests that come in, one a line, as a worker of a web server does."""
    logging.getLogger("agents_sessions").setLevel(logging.ERROR)  # it would warn of the turn that was interrupted
    async with SessionManager(url, agents=[clerk], run_config=run_config(rules)) as manager:
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            await manager.get_or_create_session("clerk", session_id=request["session"])
            reply = await manager.send_message(request["session"], request["text"])
            print(reply.text, flush=True)


class Worker:
    """A process that answers."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        command = [sys.executable, __file__, url, "--worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, text: str) -> None:
        """Pass a message on, and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"session": "groceries", "text": text}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Wait for the next answer."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, text: str) -> None:
        """Pass a message on, and show its answer."""
        self.send(text)
        print(f"{self.name}  {self.answer()}")

    def stop(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate()


async def show(url: str) -> None:
    async with SessionManager(url) as manager:
        info = await manager.get_session("groceries")
        print(f"{info.context.turns} turns, {info.context.requests} model requests")
        for entry in await manager.get_history("groceries"):
            if entry.type == "turn":
                print(f"  {entry.turn}  {entry.status}")


def main(url: str) -> None:
    one, other = Worker(url, "worker 1"), Worker(url, "worker 2")
    try:
        one.ask("milk")
        other.ask("bread")
        other.send("wait for ever")
        while "wait for ever" not in asyncio.run(said(url)):
            time.sleep(0.05)
        print("worker 2 is killed while its model thinks")
        other.stop()
        one.ask("eggs")
    finally:
        for worker in (one, other):
            worker.stop()
    asyncio.run(show(url))


async def said(url: str) -> list[str]:
    async with SessionManager(url) as manager:
        return [message.text for message in await manager.get_recent_messages("groceries")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="postgresql://…, redis://…, or sqlite:///…")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        asyncio.run(work(arguments.url))
    elif arguments.url is not None:
        main(arguments.url)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(f"sqlite:///{folder}/sessions.db")
