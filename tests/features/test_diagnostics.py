"""What is wrong is found under its code, nothing is found in a healthy store, and repairs keep copies."""

import fcntl
import json
import os
import time

import pytest
from agents import Agent, function_tool
from agents.testing import ScriptedModel, function_call
from keeping import KEY, QUIET, make, open_store, said, whole, within

from agents_sessions.errors import InvalidValueError
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import record_entry
from agents_sessions.model.findings import MEANINGS
from agents_sessions.stores.file.disk import atomic
from agents_sessions.stores.file.disk import syscalls as io

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


@pytest.fixture
def files(tmp_path):
    return open_store("file", tmp_path)


def codes(findings):
    return sorted(finding.code for finding in findings)


async def livelihood(manager, store):
    """Leave what a store has whose sessions are used."""
    pay = function_tool(lambda: "paid", name_override="pay", needs_approval=True)
    asks = Agent(name="asks", tools=[pay], model=ScriptedModel([[function_call("pay", "{}", call_id="c1")]]))
    await manager.create_session("support", session_id="one")
    await manager.send_message("one", "hello")
    async with SessionManager(store, agents=[asks], run_config=QUIET) as other:
        await other.create_session("asks", session_id="waits")
        await other.send_message("waits", "pay")
    await make(store, "calls", size=2)
    await store.append(("support", "calls"), [{"item": CALL}, {"item": OUTPUT}])
    for name in ("trashed", "archived"):
        await make(store, name)
        await store.write_sidecar(("support", name), "a/b", b"1")
    await manager.delete_session("trashed")
    await manager.archive.archive("archived")


@pytest.mark.parametrize("thorough", [False, True])
def test_in_a_healthy_store_nothing_is_found(store, tmp_path, thorough):
    async def act(manager):
        await livelihood(manager, store)
        async with store.turn_lock(("support", "one")):
            assert await manager.diagnostics.check(thorough=thorough) == []

    within(store, act, trash="30d", archive=tmp_path / "archive")


# --- histories ---


async def die(store):
    await make(store)
    await store.append(KEY, [said("hello", turn="t1"), {"item": CALL, "turn": "t1"}])


async def ask_and_lose(store):
    await make(store)
    await store.append(KEY, [{"item": CALL, "turn": "t1"}])
    record = {"type": "turn", "status": "awaiting_approval", "usage": {}, "duration_ms": 1, "asked": ["c1"]}
    await store.append(KEY, [record_entry(record, turn="t1")])


async def leave_open(store):
    await make(store)
    await store.append(KEY, [{"item": CALL}])


async def lose_call(store):
    await make(store)
    await store.append(KEY, [{"item": OUTPUT}, said("b")])


async def mistype(store):
    """Make a call of one kind and an output of another, of one id."""
    await make(store)
    await store.append(KEY, [{"item": {**CALL, "type": "custom_tool_call"}}, {"item": OUTPUT}])


HISTORIES = {
    "interrupted-turn": (die, ["interrupted-turn"]),
    "lost-approval": (ask_and_lose, ["lost-approval"]),
    "unanswered-call": (leave_open, ["unanswered-call"]),
    "orphan-output": (lose_call, ["orphan-output"]),
    "both": (mistype, ["orphan-output", "unanswered-call"]),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_what_is_wrong_in_a_history_is_found_and_repaired_with_a_copy(store, tmp_path, name):
    prepare, expected = HISTORIES[name]

    async def act(manager):
        await prepare(store)
        before = await whole(store)
        findings = await manager.diagnostics.check()
        assert codes(findings) == expected
        assert {finding.key for finding in findings} == {KEY}
        report = await manager.diagnostics.repair(findings, dry_run=False, backup=tmp_path / "backups")
        assert [outcome.status for outcome in report.outcomes] == ["repaired"] * len(expected)
        assert await manager.diagnostics.check(thorough=True) == []
        kept = sorted(report.backup.rglob("order-42.*"))
        assert len(kept) == len(expected)
        assert (await manager.send_message("order-42", "go on")).text
        assert before[1] == (await whole(store))[1][: len(before[1])] or name in ("orphan-output", "both")

    within(store, act)


def test_a_turn_that_runs_is_not_called_interrupted(store):
    async def act(manager):
        await die(store)
        async with store.turn_lock(KEY):
            assert await manager.diagnostics.check() == []
        findings = await manager.diagnostics.check()
        async with store.turn_lock(KEY):
            report = await manager.diagnostics.repair(findings, dry_run=False, backup="unused")
        assert [outcome.status for outcome in report.outcomes] == ["left"]
        assert report.backup is None

    within(store, act)


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(store):
    async def act(manager):
        await leave_open(store)
        before = await whole(store)
        report = await manager.diagnostics.repair(await manager.diagnostics.check())
        assert [outcome.status for outcome in report.outcomes] == ["would repair"]
        assert report.outcomes[0].detail == MEANINGS["unanswered-call"].repair
        assert await whole(store) == before

    within(store, act)


def test_what_is_not_so_any_more_is_left_alone(store, tmp_path):
    async def act(manager):
        await leave_open(store)
        findings = await manager.diagnostics.check()
        await store.append(KEY, [{"item": OUTPUT}])
        before = await whole(store)
        report = await manager.diagnostics.repair(findings, dry_run=False, backup=tmp_path)
        assert [(outcome.status, outcome.detail) for outcome in report.outcomes] == [("left", "it is not so any more")]
        assert await whole(store) == before

    within(store, act)


def test_a_store_without_a_folder_needs_one_for_copies(tmp_path):
    async def act(manager):
        with pytest.raises(InvalidValueError, match="backup"):
            await manager.diagnostics.repair([], dry_run=False)

    within(open_store("memory", tmp_path), act)


# --- files ---


async def tear(store, path):
    before = path.read_bytes()
    await store.append(KEY, [said("torn " * 99)])
    path.write_bytes(path.read_bytes()[: len(before) + 20])


async def edit(_store, path):
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))


async def damage(_store, path):
    path.write_text("{oops")


async def future(_store, path):
    path.write_bytes(path.read_bytes().replace(b"agents-sessions/1", b"agents-sessions/9"))


async def rename(_store, path):
    path.rename(path.with_name("other.json"))


async def expose(_store, path):
    path.chmod(0o644)


async def expose_folder(_store, path):
    path.parent.chmod(0o750)


async def link(_store, path):
    path.with_name("l.json").symlink_to(path)


async def leave_temporary(_store, path):
    left = path.with_name(".order-42.json.0123abcd.tmp")
    left.write_text("x")
    os.utime(left, (0, 0))


async def leave_sidecars(_store, path):
    path.with_name("gone").mkdir(mode=0o700)
    (path.with_name("gone") / "a.json").write_text("1")


async def leave_lock(_store, path):
    path.with_name(".order-42.json.turn").write_text("{}")


async def repair_torn(store, path):
    await tear(store, path)
    await store.append(KEY, [])


def contents(root):
    """Return all files below a root but those of the catalog, which comes and goes."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".catalog" not in path.parts}


HARMS = {
    "torn-file": tear,
    "edited-file": edit,
    "damaged-file": damage,
    "newer-file": future,
    "misnamed-file": rename,
    "exposed-file": expose,
    "exposed-file folder": expose_folder,
    "unreadable-file": link,
    "stale-temporary": leave_temporary,
    "orphan-sidecars": leave_sidecars,
    "orphan-lock": leave_lock,
    "torn-copy": repair_torn,
}


@pytest.mark.parametrize("name", HARMS)
def test_what_is_wrong_with_a_file_is_found_and_repaired_with_a_copy(files, name, caplog):
    code = name.split()[0]

    async def act(manager):
        await make(files, size=3)
        await HARMS[name](files, files.path(KEY))
        harmed = contents(files.root)
        findings = await manager.diagnostics.check()
        assert codes(findings) == [code]
        report = await manager.diagnostics.repair(findings, dry_run=False)
        if MEANINGS[code].repair is None:
            assert [outcome.status for outcome in report.outcomes] == ["left"]
            assert contents(files.root) == harmed
            return
        assert [outcome.status for outcome in report.outcomes] == ["repaired"]
        assert codes(await manager.diagnostics.check(thorough=True)) == (
            ["torn-copy"] if code in ("torn-file", "damaged-file") else []
        )
        kept = {path.read_bytes() for path in report.backup.rglob("*") if path.is_file()}
        where = findings[0].place
        touched = [data for path, data in harmed.items() if str(path.relative_to(files.root)).startswith(where)]
        assert code == "exposed-file" or kept == set(touched) != set()

    within(files, act)


def test_only_a_thorough_look_computes_every_checksum(files):
    async def act(manager):
        await make(files, size=4)
        await files.append(KEY, [said("last")])
        path = files.path(KEY)
        path.write_bytes(path.read_bytes().replace(b"hello", b"jello", 1))
        assert await manager.diagnostics.check() == []
        (finding,) = await manager.diagnostics.check(thorough=True)
        assert finding.code == "damaged-line"
        offset = int(finding.detail.rpartition(" ")[2])
        assert b"jello" in path.read_bytes()[offset:].partition(b"\n")[0]

    within(files, act)


def test_wrong_totals_are_found_by_a_thorough_look_and_counted_again(files, tmp_path):
    async def act(manager):
        await make(files, size=4)
        before = await files.load(KEY)
        path = files.path(KEY)
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"items":4', b'"items":5'))
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps({**document, "history": document["history"][:3]}))
        assert codes(await manager.diagnostics.check(thorough=True)) == ["edited-file"]
        assert (await files.load(KEY)).context.items == 3 == before.context.items - 1

    within(files, act)


def test_a_young_or_busy_temporary_is_no_finding(files):
    async def act(manager):
        await make(files)
        await leave_temporary(files, files.path(KEY))
        left = files.path(KEY).with_name(".order-42.json.0123abcd.tmp")
        with left.open("rb") as busy:
            fcntl.flock(busy, fcntl.LOCK_EX)
            assert await manager.diagnostics.check() == []
        now = time.time()
        os.utime(left, (now, now))
        assert await manager.diagnostics.check() == []

    within(files, act)


@pytest.mark.parametrize(
    ("owner", "name", "error", "code"),
    [
        (atomic, "lock", OSError(95, "Operation not supported"), "no-locks"),
        (atomic, "_link", OSError(95, "Operation not supported"), "no-links"),
    ],
)
def test_what_a_file_system_cannot_do_is_found(files, monkeypatch, owner, name, error, code):
    def fail(*_arguments, **_options):
        raise error

    async def act(manager):
        await make(files)
        monkeypatch.setattr(owner, name, fail)
        assert codes(await manager.diagnostics.check()) == [code]

    within(files, act)


def test_little_room_is_found(files, monkeypatch):
    async def act(manager):
        await make(files)
        monkeypatch.setattr(io, "free_bytes", lambda _fd: 1000)
        assert codes(await manager.diagnostics.check()) == ["little-room"]

    within(files, act)


def test_an_index_that_does_not_know_a_session_as_it_is_is_found_by_a_thorough_look(files, monkeypatch):
    async def act(manager):
        stale = await make(files)
        await files.append(KEY, [said("new")])

        async def every(_query):
            yield stale

        monkeypatch.setattr(files, "every", every)
        assert await manager.diagnostics.check() == []
        assert codes(await manager.diagnostics.check(thorough=True)) == ["catalog-drift"]

    within(files, act)


# --- the archive ---


def test_archived_histories_are_looked_for_and_thoroughly_read_back(store, tmp_path):
    async def act(manager):
        for name in ("1", "2", "3"):
            await make(store, name, size=50)
            await manager.archive.archive(name)
        one, two, _ = sorted((tmp_path / "archive").rglob("*.jsonl.*"))
        one.unlink()
        two.write_bytes(two.read_bytes()[:-5])
        stray = two.with_name(two.name.replace("2.", "9."))
        stray.write_bytes(b"")
        assert codes(await manager.diagnostics.check()) == ["missing-archive", "orphan-archive"]
        found = await manager.diagnostics.check(thorough=True)
        assert codes(found) == ["damaged-archive", "missing-archive", "orphan-archive"]

    within(store, act, archive=tmp_path / "archive")


# --- the report ---


def test_a_report_has_numbers_and_codes_and_neither_ids_nor_content(store):
    async def act(manager):
        await make(store, name="Secret name", user_id="ann", text="my-secret")
        await store.append(KEY, [{"item": CALL}])
        report = await manager.diagnostics.report()
        assert "| sessions | 1 (1 active) |" in report
        assert "| warning | `unanswered-call` | 1 |" in report
        assert "openai-agents" in report
        for hidden in ("my-secret", "Secret", "ann", "order-42"):
            assert hidden not in report

    within(store, act)


def test_a_report_of_a_healthy_store_says_so(store):
    async def act(manager):
        assert "## Findings\n\nNone.\n" in await manager.diagnostics.report()

    within(store, act)


def test_every_finding_says_what_it_means():
    assert all(meaning.means and meaning.severity in ("info", "warning", "error") for meaning in MEANINGS.values())
