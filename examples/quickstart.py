"""A conversation that goes on in a second process: two agents, a handoff, a tool, and the file that holds it all.

It runs with no key and no network: the real OpenAI client talks to a local transport that speaks the Responses
API. With `OPENAI_API_KEY` set it talks to the service instead.

    python examples/quickstart.py                  in a temporary folder
    python examples/quickstart.py --root sessions  keeps the file
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from agents import Agent, RunConfig, function_tool

from agents_sessions import FileStore, HandoffEntry, HistoryEntry, ItemEntry, SessionManager
from agents_sessions.testing import LocalResponses, assistant_message, function_call, handoff

WIDTH = min(shutil.get_terminal_size((110, 40)).columns, 120)


# --- the application: two agents, one of them with a tool ---


@function_tool
def find_invoices(order: int) -> str:
    """Find the invoices of an order."""
    return f"order {order}: invoice 7001 of 19.90 EUR, invoice 7002 of 19.90 EUR (duplicate)"


billing = Agent(
    name="billing",
    handoff_description="Knows invoices and refunds.",
    instructions="You settle questions of money in two sentences. Look invoices up before you speak of them.",
    tools=[find_invoices],
)
triage = Agent(
    name="triage",
    instructions="You greet customers. Hand every question of money to billing.",
    handoffs=[billing],
)


async def first_process(root: Path) -> str:
    title(f"process {os.getpid()}", "a customer writes to triage")
    async with SessionManager(root, agents=[triage], run_config=run_config()) as manager:
        session = await manager.create_session("triage", user_id="u-17", name="Charged twice")
        await turn(manager, session.id, "Hello! I was charged twice for order 42. Can you look into it?")
        return session.id


async def second_process(root: Path) -> None:
    title(f"process {os.getpid()}", "starts with nothing but the folder")
    async with SessionManager(root, agents=[triage], run_config=run_config()) as manager:
        session = (await manager.list_sessions(user_id="u-17"))[0]
        note(f"found {session.name!r}: {session.context.items} items, last agent {session.context.last_agent}")
        await turn(manager, session.id, "Thank you. When will I have my money back?")


async def look_back(root: Path, session_id: str) -> None:
    async with SessionManager(root) as manager:
        session = await manager.get_session(session_id)
    title("statistics", "running totals, read in one step at any length of the history")
    stats = session.context
    print(f"  {stats.turns} turns   {stats.user_messages} + {stats.assistant_messages} messages   ", end="")
    print(f"{stats.function_calls} calls   {stats.handoffs} handoff   last agent: {stats.last_agent}")
    print(f"  {stats.requests} model requests   {stats.input_tokens} tokens in, {stats.output_tokens} out")
    path = FileStore(root).path(session.key)
    title("the file", f"{path.parent.name}/{path.name}, one entry a line (shortened here)")
    for line in path.read_text().splitlines():
        print("  " + shortened(line))


async def turn(manager: SessionManager, session_id: str, text: str) -> None:
    say("customer", text)
    reply = await manager.send_message(session_id, text)
    for entry in reply.entries:
        show(entry)
    requests = "1 model request" if reply.usage.requests == 1 else f"{reply.usage.requests} model requests"
    note(f"{requests}, {reply.usage.total_tokens} tokens; the next message goes to {reply.last_agent}")


# --- the model: the service if there is a key, else a few rules behind the same client ---


def run_config() -> RunConfig:
    if os.environ.get("OPENAI_API_KEY"):
        return RunConfig()
    return LocalResponses(model).run_config()


def model(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request by what it offers and holds, as the service would: nothing is remembered here."""
    tools = {tool["name"] for tool in request.get("tools", [])}
    history = request["input"]
    if "transfer_to_billing" in tools:
        return handoff("billing")
    found = [item["output"] for item in history if str(item.get("output")).startswith("order")]
    if not found:
        order = re.search(r"order (\d+)", json.dumps(history))
        return function_call("find_invoices", {"order": int(order[1]) if order else 0})
    order, amount = re.findall(r"order (\d+).*invoice 7002 of ([\d.]+ EUR)", found[-1])[0]
    if history[-1].get("role") == "user":
        return assistant_message(f"The {amount} for order {order} will be on your account within three days.")
    return assistant_message(f"You are right: order {order} was invoiced twice. I have sent {amount} back to you.")


# --- what you see ---


def show(entry: HistoryEntry) -> None:
    if isinstance(entry, HandoffEntry):
        note(f"{entry.from_agent} hands over to {entry.to_agent}")
    elif isinstance(entry, ItemEntry) and entry.kind == "assistant":
        say(entry.agent or "", entry.text)
    elif isinstance(entry, ItemEntry) and entry.item.get("name") == "find_invoices":
        note(f"{entry.agent} calls {entry.item['name']} {entry.item['arguments']}")


def title(what: str, of: str) -> None:
    print(f"\n{styled(1, what)} {styled(2, '· ' + of)}\n", flush=True)


def say(who: str, text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=f"  {who:>8}  ", subsequent_indent=" " * 12), flush=True)


def note(text: str) -> None:
    print(styled(2, f"{'':>10}  → {text}"), flush=True)


def styled(code: int, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def shortened(line: str) -> str:
    """Return a line of the file without checksums, times and ids, cut to the width of the screen."""
    line = re.sub(r'"(crc|at|turn|k|n|call_id|id|salt)":("[^"]*"|\d+),', "", line)
    return line if len(line) <= WIDTH - 2 else f"{line[: WIDTH - 3]}…"


# --- both processes are this program ---


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the folder of the sessions; by default a temporary one")
    parser.add_argument("--go-on", action="store_true", help="be the second process")
    arguments = parser.parse_args()
    if arguments.go_on:
        asyncio.run(second_process(arguments.root))
        return
    service = "the OpenAI service" if os.environ.get("OPENAI_API_KEY") else "a few local rules behind the real client"
    print(styled(2, f"\nThe model: {service}."))
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.root or Path(temporary)
        session_id = asyncio.run(first_process(root))
        subprocess.run([sys.executable, __file__, "--root", root, "--go-on"], check=True)
        asyncio.run(look_back(root, session_id))
    print()


if __name__ == "__main__":
    main()
