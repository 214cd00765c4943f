"""A long conversation: 500 turns. What the model is asked with stays small, and every original is still there."""

import asyncio
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from agents import Agent, RunConfig
from agents.testing import ModelStep, ScriptedModel, assistant_message

from agents_sessions import Compacted, Compaction, SessionManager
from agents_sessions.model.tokens import estimated_tokens

TURNS = 500


def scripted(sizes: list[int]) -> ScriptedModel:
    """Return a model that notes how large its input is, about, and answers. A script, so that it takes seconds."""

    async def answer(call: Any) -> list[Any]:
        sizes.append(estimated_tokens(call.input))
        return [assistant_message("I have noted it down, and will tell you when it changes.")]

    return ScriptedModel([ModelStep.respond(answer)] * TURNS)


async def main(root: str) -> None:
    sizes: list[int] = []
    clerk = Agent(name="clerk", instructions="You keep a list.", model=scripted(sizes))
    # Without a summariser, the summary is composed of first words. An agent of yours writes better ones.
    compaction = Compaction(at_tokens=2_000, keep_turns=6)
    quiet = RunConfig(tracing_disabled=True)
    async with SessionManager(root, agents=[clerk], compaction=compaction, run_config=quiet) as manager:
        shortened: list[Compacted] = []
        manager.on(Compacted, shortened.append)
        session = await manager.create_session("clerk", session_id="list")
        begun = process_time()
        for number in range(TURNS):
            await manager.send_message(session.id, f"Item {number}: " + "a thing that has to be done soon, " * 4)
            if number + 1 == TURNS // 2:
                half = process_time() - begun
        whole = process_time() - begun

        print(f"{TURNS} turns in {whole:.1f} s of work; the second half took {(whole - half) / half:.2f} x the first")
        print(f"the model was asked with at most {max(sizes):,} tokens, about; shortened {len(shortened)} times")
        everything = await manager.get_turns(session.id)
        print(f"the history has all {len(everything)} turns, from {everything[0].text[:7]!r} on")
        print(f"\n{await manager.summaries.resume_message(session.id)}"[:420] + " …")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
