"""What a turn costs through the manager, and what the same run costs without it.

The model is scripted and costs nothing: what is left is the SDK's work and ours.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message
from agents.usage import Usage

from agents_sessions import FileSession, SessionManager
from benchmarks.contenders import OURS, SQLITE, Session, close
from benchmarks.measure import Arm, figure, interleave
from benchmarks.report import Row

_QUIET = RunConfig(tracing_disabled=True)
_ANSWER = "Your order was shipped on Monday and should arrive within three working days."
_PLAIN = "Runner.run alone"
_UNMANAGED = "without manager"

Prepared = Callable[[], Coroutine[Any, Any, object]]


async def sends(folder: Path, names: Callable[[], str], rounds: int) -> list[Row]:
    """One message on an empty history: managed, with `SQLiteSession`, and with no session at all."""
    manager = _manager(folder / "managed", rounds * 2)
    open_ones: list[Session] = []

    def with_sqlite() -> Coroutine[Any, Any, object]:
        open_ones.append(SQLITE.open(folder, names()))
        return Runner.run(talker, "Where is my order?", session=open_ones[-1], run_config=_QUIET)  # type: ignore[arg-type]

    ready = [(await manager.create_session("support", session_id=names())).id for _ in range(rounds * 2)]
    talker = _agent(rounds * 4)
    arms = {
        OURS.name: Arm(lambda: manager.send_message(ready.pop(), "Where is my order?")),
        SQLITE.name: Arm(with_sqlite),
        _PLAIN: Arm(lambda: Runner.run(talker, "Where is my order?", run_config=_QUIET)),
    }
    await interleave(list(arms.values()), rounds)
    for session in open_ones:
        close(session)
    taken = {name: figure(arm.seconds) for name, arm in arms.items()}
    more = [ours - plain for ours, plain in zip(arms[OURS.name].seconds, arms[_PLAIN].seconds, strict=True)]
    return [
        Row("managed send, against `Runner.run` with the session", "ms", taken, goal=1.0),
        Row("managed send, more than `Runner.run` without a session", "ms", {OURS.name: figure(more)}, bound=0.002),
    ]


async def users(folder: Path, names: Callable[[], str], rounds: int) -> list[Row]:
    """Two hundred users at once, five turns each: managed, and bare `FileSession`s without a manager."""
    count, turns = 200, 5
    manager = _manager(folder / "managed", count * turns * (rounds + 1))
    talker = _agent(count * turns * (rounds + 1))

    async def managed(session_id: str) -> None:
        await manager.create_session("support", session_id=session_id)
        for number in range(turns):
            await manager.send_message(session_id, f"question {number}")

    async def bare(session_id: str) -> None:
        session = FileSession(session_id, root=folder / "bare")
        for number in range(turns):
            await Runner.run(talker, f"question {number}", session=session, run_config=_QUIET)

    def crowd(user: Callable[[str], Coroutine[Any, Any, None]]) -> Prepared:
        return lambda: _gather([user(names()) for _ in range(count)])

    arms = {OURS.name: Arm(crowd(managed)), _UNMANAGED: Arm(crowd(bare))}
    await interleave(list(arms.values()), rounds, warm_up=0)
    rates = {name: figure([count * turns / took for took in arm.seconds]) for name, arm in arms.items()}
    case = f"{count} users at once, {turns} turns each, against bare sessions"
    return [Row(case, "turns/s", rates, goal=0.9, goal_is="at least", against=_UNMANAGED)]


def _manager(root: Path, answers: int) -> SessionManager:
    return SessionManager(root, agents=[_agent(answers)], run_config=_QUIET)


def _agent(answers: int) -> Agent[None]:
    model = ScriptedModel([[assistant_message(_ANSWER)]] * (answers + 10))
    model.set_default_usage(Usage(requests=1, input_tokens=120, output_tokens=20, total_tokens=140))
    return Agent(name="support", model=model)


async def _gather(tasks: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*tasks)
