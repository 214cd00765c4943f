"""Every example runs as a user would run it: a process of its own, no key, a foreign working directory."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = {path.stem for path in EXAMPLES.glob("*.py")} - {"offline", "test_my_agent"}


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    # A proxy that nothing answers: an example that left the process would fail, not reach a network.
    nowhere = "http://127.0.0.1:9"
    return {**kept, "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "NO_PROXY": "", "PYTHONWARNINGS": "error"}


def run(name: str, folder: Path, *arguments: str) -> str:
    program = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(program, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_order(text: str, *parts: str) -> bool:
    return re.search(".*?".join(map(re.escape, parts)), text, re.DOTALL) is not None


def test_every_example_is_tested_here() -> None:
    tested = {name.removeprefix("test_") for name in [*globals(), *vars(TestWebChat)]}

    assert tested >= PROGRAMS


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the quickstart shows, and the folder it was told to use."""
    folder = tmp_path_factory.mktemp("quickstart")
    return run("quickstart", folder, "--root", "sessions"), folder / "sessions"


def test_encrypted(tmp_path: Path) -> None:
    shown = run("encrypted", tmp_path, "--root", "sessions")

    assert in_order(
        shown,
        "with the key: my card is 4111",
        "on the disk: 0 times the secret, 0 times the name",
        '"sealed":',
        "with another key: session 'order-42'",
        "rotated: 1, the old key is still needed: False",
        "with the new key alone: 1 item",
    )


def test_export_report(tmp_path: Path) -> None:
    shown = run("export_report", tmp_path, "out")

    assert in_order(
        shown, "secrets in it: {'api key'", "'card number': 2", "wrote case-7.html", "wrote bug-report.json"
    )
    page, report = ((tmp_path / "out" / name).read_text() for name in ("case-7.html", "bug-report.json"))
    assert "4111" not in page
    assert "invoiced" not in report


def test_quickstart(quickstart: tuple[str, Path]) -> None:
    assert in_order(
        quickstart[0],
        "triage hands over to billing",
        'billing calls find_invoices {"order": 42}',
        "billing  You are right: order 42 was invoiced twice.",
        "3 model requests",
        "6 items, last agent billing",
        "billing  The 19.90 EUR for order 42",
        "1 model request,",
        "2 turns   2 + 2 messages   2 calls   1 handoff   last agent: billing",
        "4 model requests",
        '{"format":"agents-sessions/1"',
        '{"seq":1,"item":{"content":"Hello!',
        '],"context":{"items":8',
    )


def test_quickstart_says_nothing_of_escape_codes_to_a_pipe(quickstart: tuple[str, Path]) -> None:
    assert "\033" not in quickstart[0]


def test_quickstart_really_uses_two_processes(quickstart: tuple[str, Path]) -> None:
    assert len(set(re.findall(r"^process (\d+)", quickstart[0], re.MULTILINE))) == 2


def test_quickstart_leaves_the_file_where_it_was_told_to(quickstart: tuple[str, Path]) -> None:
    (file,) = quickstart[1].glob("triage/*.json")

    document = json.loads(file.read_text())
    assert document["user_id"] == "u-17"
    assert document["context"]["turns"] == 2


def test_quickstart_leaves_nothing_otherwise(tmp_path: Path) -> None:
    run("quickstart", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_plugin(tmp_path: Path) -> None:
    assert in_order(run("plugin", tmp_path), "you wrote 0 messages", "2 items in sessions/support/order-42.json")
    assert in_order(run("plugin", tmp_path), "you wrote 1 messages", "4 items")
    assert (tmp_path / "sessions/support/order-42.json").is_file()


def test_handoffs(tmp_path: Path) -> None:
    assert in_order(
        run("handoffs", tmp_path),
        "triage  This is the front desk. You said: Good morning!",
        "triage hands over to billing",
        "billing  This is the billing desk.",
        "billing hands over to refunds",
        "refunds  This is the refunds desk. You said: I want a refund.",
        "refunds  This is the refunds desk. You said: How long",
        "triage  This is the front desk. You said: Something else",
        "5 turns, 2 handoffs, the next message goes to triage",
    )


def test_branching(tmp_path: Path) -> None:
    assert in_order(
        run("branching", tmp_path),
        "trip-train  The night train leaves Berlin",
        "Vienna (trip): 2 turns\n└─ by train (trip-train): 2 turns, forked at entry",
        "1 turn in common, then: ['Look for a plane.'] and: ['Look for a train.']",
        "[Merged from branch 'by train' (trip-train), entries",
        "Then we take the night train that was found there.",
    )


def test_time_travel(tmp_path: Path) -> None:
    assert in_order(
        run("time_travel", tmp_path),
        "So far: leek, potatoes, chocolate.",
        "'chocolate' is taken back, and cost",
        "3 turns again",
        "edit        So far: leek, potatoes, cream.",
        "regenerate  So far: leek, potatoes, cream.",
        "restore     for 4, with ['leek', 'potatoes', 'cream']",
        "Out of sight: ['chocolate', 'cream', 'chili', 'honey']",
    )


def test_long_conversation(tmp_path: Path) -> None:
    shown = run("long_conversation", tmp_path)

    most = int(re.findall(r"asked with at most ([\d,]+) tokens", shown)[0].replace(",", ""))
    assert 500 < most < 2_100
    assert in_order(shown, "500 turns in", "the history has all 500 turns, from 'Item 0:' on", "What happened:")


def test_modes(tmp_path: Path) -> None:
    assert in_order(
        run("modes", tmp_path),
        "plan   The file says 'buy milk'.",
        "notes.txt: buy milk",
        "build  Done.",
        "notes.txt: buy oat milk",
    )


def test_many_sessions(tmp_path: Path) -> None:
    assert in_order(
        run("many_sessions", tmp_path),
        "1000 of 2000 read",
        "2000 sessions, 2000 active",
        "The last active, in ",
        "ticket-0425 ticket-1648 ticket-1030\n",
        "'refund order 1': ticket-",
        "[order]",
        "[refund]",
        "[delivery address]",
        "[订单]",
        "[commande]",
        "[cassée]",
        "56 are urgent and came by mail",
        "user-7 sees 7 sessions and ",
        "old ones deleted, ",
        "# Sessions",
    )


def test_streaming(tmp_path: Path) -> None:
    shown = run("streaming", tmp_path)

    assert in_order(
        shown,
        "every turn adds one line more.\n→ completed",
        "A reader leaves, the \n→ completed; the history has all of it:",
        "to be found on other days.",
        "This one you will \n→ cancelled",
        "user: And a long one.",
    )
    assert "what is not said" not in shown


def test_approval(tmp_path: Path) -> None:
    assert in_order(
        run("approval", tmp_path),
        "Please refund order 42.\n            → awaiting_approval",
        "--- another process, tomorrow ---",
        'clerk wants refund {"order": 42, "amount": 19.9}\n            → completed',
        "Done: 19.90 EUR sent back for order 42.",
        "I could not do it: only a director may send so much",
    )


def test_postgres_workers(tmp_path: Path) -> None:
    assert in_order(
        run("postgres_workers", tmp_path),
        "worker 1  On the list: milk.",
        "worker 2  On the list: milk, bread.",
        "worker 2 is killed",
        "worker 1  On the list: milk, bread, wait for ever, eggs.",
        "4 turns, 3 model requests",
        "completed",
        "completed",
        "interrupted",
        "completed",
    )


def test_retention(tmp_path: Path) -> None:
    assert in_order(
        run("retention", tmp_path),
        "order-1  ",
        "idle for 400d (max_idle)",
        "order-3  ",
        "contract  stays: it is pinned",
        "2 went to the trash; order-3 stays: it was used since",
        "order-1 is back with 1 message",
        "order-4 is archived in jsonl.",
        "log: order-1 went to the trash by max_idle",
        "0 findings",
        "ann is forgotten: 3 sessions, complete: True",
    )


def test_my_agent(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLES / "test_my_agent.py")]
    done = subprocess.run(program, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout
    assert re.search(r"^\.{4,} ", done.stdout, re.MULTILINE), done.stdout


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web_chat")
    program = [sys.executable, str(EXAMPLES / "web_chat.py"), "--root", str(folder), "--port", "0"]
    with subprocess.Popen(program, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()
            said = server.stderr.read()
    assert "Traceback" not in said


class TestWebChat:
    def test_web_chat(self, address: str) -> None:
        with httpx.Client(base_url=address, trust_env=False) as http:
            assert "<title>chat</title>" in http.get("/").text
            assert http.get("/users/ada/messages").json() == []

            said = http.post("/users/ada/messages", content="Hi").text
            again = http.post("/users/ada/messages", content="And now?").text

            assert deltas(said) == ["You ", "say ", "'Hi'. ", "Welcome!"]
            assert "".join(deltas(again)) == "You say 'And now?'. Before that: 'Hi'."
            assert [entry["role"] for entry in http.get("/users/ada/messages").json()] == ["user", "assistant"] * 2

    def test_words_arrive_before_the_answer_is_complete(self, address: str) -> None:
        with httpx.Client(base_url=address, trust_env=False) as http:
            with http.stream("POST", "/users/bob/messages", content="Hi") as answer:
                first = next(answer.iter_text())

        assert "You " in first
        assert "done" not in first

    def test_many_users_at_once_do_not_mix(self, address: str) -> None:
        async def talk(http: httpx.AsyncClient, user: str) -> str:
            for text in (f"I am {user}.", "Who am I?"):
                answer = await http.post(f"/users/{user}/messages", content=text)
            return "".join(deltas(answer.text))

        async def all_of_them() -> list[str]:
            async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
                return await asyncio.gather(*(talk(http, f"user{number}") for number in range(25)))

        answers = asyncio.run(all_of_them())

        assert answers == [f"You say 'Who am I?'. Before that: 'I am user{number}.'." for number in range(25)]

    def test_one_user_in_many_windows_is_answered_one_by_one(self, address: str) -> None:
        async def all_of_them() -> list[dict[str, str]]:
            async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
                sends = (http.post("/users/cleo/messages", content=f"message {number}") for number in range(8))
                await asyncio.gather(*sends)
                return (await http.get("/users/cleo/messages")).json()  # type: ignore[no-any-return]

        history = asyncio.run(all_of_them())

        assert [entry["role"] for entry in history] == ["user", "assistant"] * 8
        pairs = zip(history[::2], history[1::2], strict=True)
        assert all(asked["text"] in answered["text"] for asked, answered in pairs)

    def test_a_reader_who_leaves_does_not_hold_the_session(self, address: str) -> None:
        with httpx.Client(base_url=address, trust_env=False) as http:
            with http.stream("POST", "/users/dan/messages", content="Hi") as answer:
                next(answer.iter_text())
            said = http.post("/users/dan/messages", content="Are you there?").text

        assert "event: done" in said


def deltas(events: str) -> list[str]:
    return [json.loads(data) for data in re.findall(r"event: delta\ndata: (.*)", events)]
