"""A chat server: many users at once, words as server-sent events, one session and one file per user.

python examples/web_chat.py            then open http://127.0.0.1:8000/?user=ada
python examples/web_chat.py --port 0   on any free port
"""

import argparse
import contextlib
import json
from collections.abc import AsyncIterator

import uvicorn
from agents import Agent
from offline import Json, run_config, users_texts
from openai import OpenAIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agents_sessions import SessionError, SessionManager
from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.testing import assistant_message

host = Agent(name="host", instructions="Chat. Be brief and kind.")


def rules(request: Json) -> Json:
    *before, now = users_texts(request)
    return assistant_message(f"You say {now!r}." + (f" Before that: {before[-1]!r}." if before else " Welcome!"))


def chat(root: str) -> Starlette:
    """Return the application: a page, the messages of a user, and a place to send one."""
    manager = SessionManager(root, agents=[host], run_config=run_config(rules, pause=0.02))

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def messages(request: Request) -> Response:
        user = request.path_params["user"]
        with contextlib.suppress(SessionNotFoundError):
            recent = await manager.get_recent_messages(user, agent_id="host")
            return JSONResponse([{"role": entry.role, "text": entry.text} for entry in recent])
        return JSONResponse([])

    async def send(request: Request) -> Response:
        user, text = request.path_params["user"], (await request.body()).decode()
        with contextlib.suppress(SessionExistsError):
            await manager.create_session("host", session_id=user, user_id=user)
        return StreamingResponse(words(user, text), media_type="text/event-stream")

    async def words(user: str, text: str) -> AsyncIterator[str]:
        stream = manager.stream_message(user, text, agent_id="host", lock_timeout=30)
        try:
            async for delta in stream.text_deltas():
                yield sse("delta", delta)
            reply = await stream.reply()
            yield sse("done", {"status": reply.status, "tokens": reply.usage.total_tokens})
        except (SessionError, OpenAIError) as error:  # busy, paused, closed; or the service does not answer
            yield sse("error", f" [{type(error).__name__}]")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager:
            yield

    path = "/users/{user}/messages"
    routes = [Route("/", page), Route(path, messages), Route(path, send, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


def sse(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


PAGE = """<!doctype html><meta charset=utf-8><title>chat</title>
<style>body{font:16px system-ui;max-width:40em;margin:2em auto} .user{color:#06c} input{width:100%;font:inherit}</style>
<div id=log></div><input id=box placeholder="Say something" autofocus>
<script>
const user = new URLSearchParams(location.search).get("user") || "guest"
const url = `/users/${encodeURIComponent(user)}/messages`
const line = (className, textContent) =>
  log.appendChild(Object.assign(document.createElement("p"), {className, textContent}))
fetch(url).then(r => r.json()).then(all => all.forEach(m => line(m.role, m.text)))
box.onchange = async () => {
  line("user", box.value)
  const response = await fetch(url, {method: "POST", body: box.value})
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const answer = line("assistant", "")
  box.value = ""
  let rest = ""
  for (let part; !(part = await reader.read()).done;) {
    const events = (rest + part.value).split("\\n\\n")
    rest = events.pop()
    for (const [, kind, data] of events.map(e => e.match(/event: (.*)\\ndata: (.*)/)))
      if (kind != "done") answer.textContent += JSON.parse(data)
  }
}
</script>"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="sessions", help="the folder of the sessions")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    uvicorn.run(chat(arguments.root), port=arguments.port)
