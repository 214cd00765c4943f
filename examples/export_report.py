"""A support case as a page for a colleague, a Markdown file for the ticket, and a masked file for a bug report.

    python examples/export_report.py [folder]

Needs `pip install "agents-sessions[html]"`. Without OPENAI_API_KEY, a few rules play the model.
"""

import asyncio
import sys
from pathlib import Path

from agents import Agent, function_tool
from offline import Json, last_output, run_config

from agents_sessions import ExportOptions, SessionManager
from agents_sessions.testing import assistant_message, function_call


@function_tool
def find_invoice(order: str) -> str:
    """Find the invoice of an order."""
    return f'{{"order": "{order}", "card": "4111 1111 1111 1111", "log": "used sk-proj-0123456789abcdef0123"}}'


def rules(request: Json) -> Json:
    """Play the model: look the invoice up, then speak about it."""
    if last_output(request) is None:
        return function_call("find_invoice", {"order": "A-42"})
    return assistant_message("Order **A-42** was invoiced once, on card 4111 1111 1111 1111.")


async def main(folder: Path) -> None:
    agent = Agent(name="billing", instructions="Answer questions about invoices.", tools=[find_invoice])
    async with SessionManager(folder / "sessions", agents=agent, run_config=run_config(rules)) as manager:
        await manager.create_session("billing", session_id="case-7", name="Invoiced twice?", user_id="u-17")
        await manager.send_message("case-7", "Was order A-42 invoiced twice?")

        transfer = manager.transfer
        print("secrets in it:", await transfer.find_secrets("case-7"))
        masked = ExportOptions(mask="secrets")
        for name in ("case-7.html", "case-7.md"):
            report = await transfer.export_to_file("case-7", folder / name, options=masked, overwrite=True)
            print(f"wrote {name}, {report.size:,} bytes, masked {report.masked}")
        options = ExportOptions(mask="all")
        report = await transfer.export_to_file("case-7", folder / "bug-report.json", options=options, overwrite=True)
        print(f"wrote bug-report.json: {report.entries} entries without a word of what was said")


if __name__ == "__main__":
    chosen = Path(sys.argv[1] if len(sys.argv) > 1 else "report")
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(chosen))
