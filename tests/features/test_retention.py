"""Nothing goes unless someone asked; what goes is shown before, and what was used since stays."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from keeping import KEY, NOW, later, make, open_store, said, whole, within

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.retention.policy import Policy
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import record_entry

OLD = Policy(max_idle="30d")


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


async def ids(store):
    return sorted([info.id async for info in store.scan()])


async def three(store):
    for number, days in enumerate((40, 50, 1), 1):
        await make(store, str(number), days_ago=days, size=number)


def test_a_preview_touches_nothing_and_tells_the_sizes(store):
    async def act(manager):
        await three(store)
        plan = await manager.retention.preview(OLD)
        assert [(each.key.session_id, each.reason) for each in plan.removals] == [
            ("2", "idle for 50d"),
            ("1", "idle for 40d"),
        ]
        assert [each.size for each in plan.removals] == await store.sizes([each.key for each in plan.removals])
        assert plan.kept == 1
        assert await ids(store) == ["1", "2", "3"]

    within(store, act)


@pytest.mark.parametrize("trash", [None, "30d"])
def test_applied_it_removes_what_was_shown_to_the_trash_if_there_is_one(store, trash):
    async def act(manager):
        await three(store)
        plan = await manager.retention.preview(OLD)
        report = await manager.retention.apply(plan)
        assert await ids(store) == ["3"]
        assert [each.key.session_id for each in report.removed] == ["2", "1"]
        assert report.bytes_freed == (plan.size if trash is None else 0)
        assert report.duration > 0
        assert [each.rule for each in await manager.trash.list()] == ([] if trash is None else ["max_idle"] * 2)

    within(store, act, trash=trash)


def test_a_session_that_rules_have_trashed_comes_back_whole_and_is_left_alone(store):
    async def act(manager):
        await three(store)
        before = await whole(store, SessionKey("support", "1"))
        await manager.retention.apply(await manager.retention.preview(OLD))
        await manager.trash.restore("1")
        assert await whole(store, SessionKey("support", "1")) == before
        assert (await manager.retention.preview(OLD)).removals == ()

    within(store, act, trash="30d")


async def use(store, key):
    await store.append(key, [said("again")])


async def pin(store, key):
    await store.rewrite(key, lambda history: history.with_facts(pinned=True))


async def rename(store, key):
    await store.rewrite(key, lambda history: history.with_facts(name="x"))


async def ask(store, key):
    record = {"type": "turn", "status": "awaiting_approval", "usage": {}, "duration_ms": 1}
    await store.append(key, [record_entry(record, turn="t")])


async def remove(store, key):
    await store.delete(key)


@pytest.mark.parametrize("change", [use, pin, rename, ask, remove])
def test_what_changes_after_the_preview_is_skipped_with_a_reason(store, change):
    async def act(manager):
        await three(store)
        plan = await manager.retention.preview(OLD)
        await change(store, SessionKey("support", "1"))
        report = await manager.retention.apply(plan)
        assert [each.key.session_id for each in report.removed] == ["2"]
        assert [each.key.session_id for each in report.skipped] == ["1"]
        assert await ids(store) == (["3"] if change is remove else ["1", "3"])

    within(store, act)


def test_a_session_on_which_a_turn_runs_is_not_waited_for(store):
    async def act(manager):
        await three(store)
        plan = await manager.retention.preview(OLD)
        async with store.turn_lock(SessionKey("support", "1")):
            report = await asyncio.wait_for(manager.retention.apply(plan), 5)
        assert [(each.key.session_id, each.reason) for each in report.skipped] == [("1", "a turn runs on it")]
        assert await ids(store) == ["1", "3"]

    within(store, act)


def test_the_log_says_what_went_when_by_which_rule_and_outlives_the_manager(tmp_path):
    store = open_store("file", tmp_path)

    async def act(manager):
        await three(store)
        await manager.retention.apply(await manager.retention.preview(OLD), to="deleted")

    async def read(manager):
        return await manager.retention.log(), await manager.retention.log(limit=1)

    within(store, act)
    entries, newest = within(store, read)
    assert [(one.key.session_id, one.rule, one.to) for one in entries] == [
        ("2", "max_idle", "deleted"),
        ("1", "max_idle", "deleted"),
    ]
    assert newest == entries[-1:]
    assert datetime.now(UTC) - entries[0].at < timedelta(minutes=1)
    assert (tmp_path / "sessions/.retention/log.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_log_whose_last_line_was_cut_goes_on(tmp_path):
    store = open_store("file", tmp_path)

    async def act(manager):
        await three(store)
        await manager.retention.force(before=NOW - timedelta(days=45))
        log = tmp_path / "sessions/.retention/log.jsonl"
        log.write_bytes(log.read_bytes()[:-20])
        await manager.retention.force(before=NOW - timedelta(days=30))
        assert [one.key.session_id for one in await manager.retention.log()] == ["1"]

    within(store, act)


def test_sessions_past_their_time_to_live_are_cleaned_up_and_others_when_idle_for_30_days(store):
    async def act(manager):
        await make(store, "expired", days_ago=2, ttl=86400)
        await make(store, "long", days_ago=40, ttl=86400 * 365)
        await make(store, "idle", days_ago=31)
        await make(store, "fresh", days_ago=29)
        await make(store, "pinned", days_ago=99, pinned=True)
        report = await manager.retention.cleanup_expired()
        assert sorted((each.key.session_id, each.rule) for each in report.removed) == [
            ("expired", "expired"),
            ("idle", "idle"),
        ]
        assert await ids(store) == ["fresh", "long", "pinned"]

    within(store, act)


def test_the_time_to_live_of_the_manager_counts_in_the_place_of_30_days(store):
    async def act(manager):
        await make(store, "1", days_ago=2)
        await make(store, "2", days_ago=0.5)
        assert [each.rule for each in (await manager.retention.cleanup_expired()).removed] == ["expired"]
        assert await ids(store) == ["2"]

    within(store, act, ttl="1d")


def test_a_cleanup_empties_the_trash_of_what_is_past_its_time(store):
    async def act(manager):
        await make(store)
        await manager.delete_session("order-42")
        await asyncio.sleep(0.06)
        report = await manager.retention.cleanup_expired()
        assert [each.rule for each in report.removed] == ["purged"]
        assert report.bytes_freed > 0
        assert await manager.trash.list() == []
        assert [(one.rule, one.to) for one in await manager.retention.log()] == [("purged", "deleted")]

    within(store, act, trash=0.05)


def test_force_takes_all_that_was_idle_since_a_moment_but_the_protected(store):
    async def act(manager):
        await three(store)
        await make(store, "pinned", days_ago=60, pinned=True)
        report = await manager.retention.force(before=NOW - timedelta(days=10))
        assert report.sessions == 2
        assert [each.reason for each in report.skipped] == ["it is pinned"]
        assert await ids(store) == ["3", "pinned"]
        with pytest.raises(InvalidValueError, match="time zone"):
            await manager.retention.force(before=NOW.replace(tzinfo=None))

    within(store, act)


def test_a_place_that_is_none_is_refused_before_anything_goes(store):
    async def act(manager):
        await three(store)
        with pytest.raises(InvalidValueError, match="'trash', 'archive' or 'deleted'"):
            await manager.retention.cleanup_expired(to="bin")
        assert await ids(store) == ["1", "2", "3"]

    within(store, act)


def test_a_schedule_goes_on_until_the_manager_is_closed(store):
    async def act(manager):
        await three(store)
        schedule = manager.retention.schedule(Policy(keep_last=0), every=0.02)
        while schedule.rounds < 3:
            await asyncio.sleep(0.01)
        assert await ids(store) == []
        await make(store, "4", days_ago=2)
        while await ids(store):
            await asyncio.sleep(0.01)
        return schedule, schedule.rounds

    schedule, rounds = within(store, act)
    assert schedule._task.done()
    assert schedule.rounds - rounds <= 1


def test_a_round_that_fails_is_followed_by_another(store, monkeypatch, caplog):
    async def act(manager):
        real, failures = manager.retention.round, []

        async def round_(*arguments):
            if not failures:
                failures.append(1)
                raise OSError("disk")
            return await real(*arguments)

        monkeypatch.setattr(manager.retention, "round", round_)
        schedule = manager.retention.schedule(every=0.01)
        while schedule.rounds < 1:
            await asyncio.sleep(0.01)

    within(store, act)
    assert "a scheduled round of retention failed: OSError" in caplog.text


ROUND = """
    import asyncio, sys, time
    from agents_sessions import FileStore, SessionManager
    from agents_sessions.features.retention import retention

    async def work():
        manager = SessionManager(FileStore(sys.argv[1], durability="process"))
        async def cleanup(**options):
            begun = time.time()
            await asyncio.sleep(0.1)
            print(begun, time.time(), flush=True)
            raise retention.SessionBusyError("x", 0)
        manager.retention.cleanup_expired = cleanup
        for _ in range(3):
            await manager.retention.round(None, "deleted")

    asyncio.run(work())
"""


def test_two_processes_never_do_a_round_at_once(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(ROUND), str(tmp_path / "sessions")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    spans = sorted(
        tuple(map(float, line.split())) for each in both for line in each.communicate(timeout=60)[0].splitlines()
    )
    assert len(spans) == 6
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_an_expired_session_that_is_used_in_time_lives(store):
    async def act(manager):
        await manager.create_session("support", session_id="order-42", ttl="1h")
        with later(minutes=30):
            await manager.send_message("order-42", "hello")
            assert (await manager.retention.cleanup_expired()).sessions == 0
        assert json.loads(json.dumps((await store.load(KEY)).header()))["ttl"] == 3600

    within(store, act)
