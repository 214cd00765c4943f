"""Time travel: take a turn back, bring it back, answer a message again, and restore a checkpoint with its data."""

import asyncio
from tempfile import TemporaryDirectory

from agents import Agent
from offline import Json, run_config, users_texts

from agents_sessions import SessionManager
from agents_sessions.testing import assistant_message

cook = Agent(name="cook", instructions="You write down recipes. Answer with the list of ingredients so far.")


def rules(request: Json) -> Json:
    return assistant_message("So far: " + ", ".join(users_texts(request)) + ".")


async def main(root: str) -> None:
    async with SessionManager(root, agents=[cook], run_config=run_config(rules)) as manager:
        soup = (await manager.create_session("cook", session_id="soup")).id
        for text in ("leek", "potatoes", "chocolate"):
            reply = await manager.send_message(soup, text)
        print(f"said        {reply.text}")

        (gone,) = await manager.undo(soup)
        print(f"undo        {gone.text!r} is taken back, and cost {gone.usage.total_tokens} tokens all the same")
        await manager.redo(soup)
        print(f"redo        {len(await manager.get_turns(soup))} turns again")
        print(f"edit        {(await manager.edit_last_message(soup, 'cream')).text}")
        print(f"regenerate  {(await manager.regenerate(soup)).text}")

        saved = await manager.checkpoints.save(soup, {"portions": 4}, label="the plain soup")
        for text in ("chili", "honey"):
            await manager.send_message(soup, text)
        data = await manager.checkpoints.restore(soup, saved)
        print(f"restore     for {data['portions']}, with {[turn.text for turn in await manager.get_turns(soup)]}")

        hidden = [turn.text for turn in await manager.get_turns(soup, taken_back=True) if turn.taken_back]
        print(f"\nNothing was lost. Out of sight: {hidden}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
