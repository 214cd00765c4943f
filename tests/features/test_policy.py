"""What rules make of sessions: a session goes only if no rule keeps it and, where there are limits, beyond one."""

from datetime import timedelta

import pytest
from keeping import NOW

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.retention.policy import Measured, Policy, make_plan
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats


def session(name, idle_days, *, size=100, age_days=None, agent="a", status=None, turn=None, **facts):
    moment = NOW - timedelta(days=idle_days)
    created = NOW - timedelta(days=age_days or idle_days)
    context = ContextStats(last_status=status, open_turn=turn)
    info = SessionInfo(id=name, agent_id=agent, created_at=created, updated_at=moment, context=context, **facts)
    return Measured.of(info, size)


def gone(plan):
    return [(removal.key.session_id, removal.rule) for removal in plan.removals]


def plan(sessions, busy=frozenset(), **rules):
    return make_plan(sessions, Policy(**rules), busy, NOW)


WEEK = [session(str(day), day) for day in range(1, 8)]


@pytest.mark.parametrize(
    ("rules", "goes"),
    [
        ({"keep_last": 5}, "76"),
        ({"keep_last": 0}, "7654321"),
        ({"keep_last": 9}, ""),
        ({"keep_within": "3d"}, "7654"),
        ({"keep_last": 2, "keep_within": "4d"}, "765"),
        ({"keep_last": 5, "keep_within": "1d"}, "76"),
        ({"max_idle": "5d"}, "76"),
        ({"max_age": "6d"}, "7"),
        ({"max_idle": "2d", "keep_last": 5}, "76"),
        ({"max_idle": "6d", "keep_last": 2}, "7"),
        ({"max_bytes": 300}, "7654"),
        ({"max_bytes": 699}, "7"),
        ({"max_bytes": 700}, ""),
        ({"max_bytes": 0}, "7654321"),
        ({"max_bytes": 0, "keep_last": 6}, "7"),
        ({"max_bytes": 600, "max_idle": "6d"}, "7"),
        ({"max_bytes": 500, "max_idle": "6d"}, "76"),
    ],
)
def test_rules_keep_and_limits_take_the_longest_idle_first(rules, goes):
    assert "".join(name for name, _ in gone(plan(WEEK, **rules))) == goes


def test_each_removal_says_the_rule_the_reason_and_the_size():
    found = plan([session("1", 40, size=7)], max_idle="30d")
    (removal,) = found.removals
    assert (removal.rule, removal.reason, removal.size) == ("max_idle", "idle for 40d", 7)
    assert (found.size, found.kept) == (7, 0)
    assert "1  7 bytes  idle for 40d (max_idle)" in str(found)


def test_a_tag_keeps():
    sessions = [session("1", 40, tags=("gold", "x")), session("2", 40, tags=("lead",))]
    assert gone(plan(sessions, max_idle="30d", keep_tags=["gold"])) == [("2", "max_idle")]


def test_a_refreshed_session_is_not_idle():
    assert gone(plan([session("1", 40, refreshed_at=NOW - timedelta(days=1))], max_idle="30d")) == []


@pytest.mark.parametrize(("per", "goes"), [(None, {"1", "2", "3"}), ("agent", {"1", "2"}), ("user", {"2", "3"})])
def test_groups_are_counted_apart(per, goes):
    sessions = [
        session("0", 1, agent="a", user_id="x"),
        session("1", 2, agent="a", user_id="y"),
        session("2", 3, agent="a", user_id="x"),
        session("3", 4, agent="b", user_id="y"),
    ]
    assert {name for name, _ in gone(plan(sessions, keep_last=1, per=per))} == goes


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"pinned": True}, "pinned"),
        ({"status": "awaiting_approval"}, "approval"),
        ({"age_days": 99, "idle_days": 0.001}, "just resumed"),
    ],
)
def test_the_protected_stay_and_the_plan_says_why(facts, reason):
    found = plan([session("1", **{"idle_days": 40, **facts})], keep_last=0)
    assert gone(found) == []
    assert [(each.key.session_id, reason in each.reason) for each in found.protected] == [("1", True)]


def test_a_session_on_which_a_turn_runs_stays_and_one_whose_turn_died_goes():
    running, dead = session("1", 40, turn="t"), session("2", 40, turn="t")
    found = plan([running, dead], busy=frozenset({running.info.key}), max_idle="30d")
    assert gone(found) == [("2", "max_idle")]
    assert found.protected[0].reason == "a turn runs on it"


def test_a_new_session_that_is_in_use_since_a_minute_was_not_resumed():
    assert gone(plan([session("1", 0.001)], keep_last=0)) == [("1", "keep")]


def test_protected_sessions_count_towards_the_bytes_and_stay():
    sessions = [session("1", 1), session("2", 2, pinned=True), session("3", 3)]
    found = plan(sessions, max_bytes=200)
    assert gone(found) == [("3", "max_bytes")]
    assert plan(sessions, max_bytes=50).kept == 0


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"keep_tags": ["x"]},
        {"per": "agent"},
        {"keep_last": -1},
        {"keep_last": True},
        {"keep_last": "20"},
        {"max_bytes": 1.5},
        {"max_idle": "soon"},
        {"max_age": 0},
        {"keep_last": 1, "per": "day"},
        {"keep_last": 1, "keep_tags": "gold"},
    ],
)
def test_a_policy_that_says_nothing_or_nonsense_is_refused(rules):
    with pytest.raises(InvalidValueError):
        Policy(**rules)
