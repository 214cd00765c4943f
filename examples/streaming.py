"""Words as they come: a streamed turn, one that the reader leaves early, and one that is cancelled."""

import asyncio
from tempfile import TemporaryDirectory

from agents import Agent
from offline import Json, run_config, users_texts

from agents_sessions import ReplyStream, SessionManager
from agents_sessions.testing import assistant_message

poet = Agent(name="poet", instructions="Answer with three lines of verse.")

VERSES = (
    "The file lies open on the floor,\neach line a word that was before,\nand every turn adds one line more.",
    "A reader leaves, the writer stays,\nand sets it down in all its phrase,\nto be found on other days.",
    "This one you will not hear to end,\nthe line is cut, and so, my friend,\nwhat is not said we do not send.",
)


def rules(request: Json) -> Json:
    return assistant_message(VERSES[len(users_texts(request)) - 1])


async def words(stream: ReplyStream, count: int | None = None) -> None:
    """Print the words of a stream, all or only the first."""
    async for delta in stream.text_deltas():
        print(delta, end="", flush=True)
        count = None if count is None else count - 1
        if count == 0:
            break
    print()


async def main(root: str) -> None:
    async with SessionManager(root, agents=[poet], run_config=run_config(rules, pause=0.03)) as manager:
        session = await manager.create_session("poet")

        stream = manager.stream_message(session.id, "A verse about files, please.")
        await words(stream)
        reply = await stream.reply()
        print(f"→ {reply.status}, {reply.usage.total_tokens} tokens\n")

        stream = manager.stream_message(session.id, "And one about readers.")
        await words(stream, count=4)
        reply = await stream.reply()  # the run goes on to its end, and the session is held as long
        print(f"→ {reply.status}; the history has all of it:\n{reply.text}\n")

        stream = manager.stream_message(session.id, "And a long one.")
        await words(stream, count=4)
        stream.cancel()
        reply = await stream.reply()
        print(f"→ {reply.status}; the history keeps the question alone:")
        for entry in await manager.get_recent_messages(session.id, limit=2):
            print(f"  {entry.role}: {entry.text.splitlines()[0]}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
