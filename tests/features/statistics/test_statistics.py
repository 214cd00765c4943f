"""What sessions have done and cost. Nothing is counted twice, and what no one knows is said."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from agents import function_tool
from agents.testing import ModelStep, assistant_message, function_call
from spending import called, ended, keep, managing, priced, row, spent, using

from agents_sessions.errors import InvalidValueError, SessionNotFoundError
from agents_sessions.features.statistics.money import NOT_NAMED
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.stores.file.store import FileStore

ONE = Decimal("0.0019")
"""What one request of `priced` costs: 400 tokens at 2, 600 cached at 0.50 and 100 of output at 8 dollars a million."""


def asked(store, *agents, act=None, **settings):
    """Open a session of the first agent, do something with it, and return its statistics."""

    async def run():
        async with managing(store, *agents, **settings) as manager:
            await manager.create_session(agents[0].name, session_id="s")
            await (manager.send_message("s", "hello") if act is None else act(manager))
            return await manager.statistics.of("s")

    return asyncio.run(run())


def reported(store, *sessions, **asked_for):
    async def run():
        for session in sessions:
            await session
        async with managing(store) as manager:
            return await manager.statistics.report(**asked_for)

    return asyncio.run(run())


# --- one session ---


def test_a_turn_is_counted_with_what_it_said_called_and_cost(store):
    @function_tool
    def look_up(order: str) -> str:
        return f"order {order} is on its way"

    call = [function_call("look_up", '{"order": "42"}', call_id="c1")]
    found = asked(store, priced("support", call, "It is on its way.", tools=[look_up]))
    assert found.messages == {"user": 1, "assistant": 1}
    assert found.other_items == {"function_call": 1, "function_call_output": 1}
    assert [(tool.name, tool.calls, tool.errors) for tool in found.tools] == [("look_up", 1, 0)]
    assert found.turns == {"completed": 1}
    assert (found.usage.requests, found.usage.input_tokens, found.usage.cached_tokens) == (2, 2000, 1200)
    assert (found.cost.usd, found.cost.coverage, found.cost.unpriced) == (2 * ONE, 100, ())
    assert [(share.name, share.cost.usd) for share in found.by_model] == [("gpt-4.1", 2 * ONE)]
    assert [share.name for share in found.by_agent] == ["support"]
    assert found.context_tokens == 1100
    assert found.price_list.startswith("genai-prices ")


def test_the_time_of_models_is_a_part_of_the_time_of_turns(store):
    async def answer(call):
        await asyncio.sleep(0.03)
        return [assistant_message("done")]

    found = asked(store, priced("support", ModelStep.respond(answer)))
    assert timedelta(milliseconds=30) <= found.model_time <= found.turn_time + timedelta(milliseconds=1)


def test_a_tool_that_fails_is_an_error_of_the_tool(store):
    @function_tool
    def look_up() -> str:
        raise ConnectionError("down")

    found = asked(
        store,
        priced("support", [function_call("look_up", "{}", call_id="c1")], "Sorry.", tools=[look_up]),
    )
    assert [(tool.name, tool.calls, tool.errors) for tool in found.tools] == [("look_up", 1, 1)]


def test_a_handoff_is_no_tool_and_each_agent_pays_for_itself(store):
    billing = priced("billing", "Here.", model="o3", usage=using(500, output=50))
    to_billing = [function_call("transfer_to_billing", "{}", call_id="h1")]
    found = asked(store, priced("support", to_billing, handoffs=[billing]), billing)
    assert [(each.from_agent, each.to_agent, each.count) for each in found.handoffs] == [("support", "billing", 1)]
    assert found.tools == ()
    assert {share.name: share.usage.total_tokens for share in found.by_agent} == {"support": 1100, "billing": 550}
    assert found.cost.usd == ONE + Decimal("0.0014")


def test_a_failed_turn_and_its_retry_pay_for_their_own_requests(store):
    async def act(manager):
        with pytest.raises(ConnectionError):
            await manager.send_message("s", "hello")
        await manager.retry("s")

    @function_tool
    def look_up() -> str:
        return "fine"

    call = [function_call("look_up", "{}", call_id="c1")]
    found = asked(store, priced("support", call, ConnectionError("gone"), "Here.", tools=[look_up]), act=act)
    assert found.turns == {"failed": 1, "completed": 1}
    assert found.failures == {"ConnectionError": 1}
    assert found.usage.requests == 2
    assert found.cost.usd == 2 * ONE


def test_what_a_turn_has_spent_stays_when_it_is_rolled_back(store):
    async def act(manager):
        with pytest.raises(ConnectionError):
            await manager.send_message("s", "hello", on_failure="rollback")

    @function_tool
    def look_up() -> str:
        return "fine"

    call = [function_call("look_up", "{}", call_id="c1")]
    found = asked(store, priced("support", call, ConnectionError("gone"), tools=[look_up]), act=act)
    assert found.messages == {}
    assert found.cost.usd == ONE


def test_a_turn_that_is_resumed_is_one_turn_and_pays_once(store):
    @function_tool(needs_approval=True)
    def refund() -> str:
        return "done"

    waiting = []

    async def act(manager):
        await manager.send_message("s", "hello")
        waiting.append(await manager.statistics.of("s"))
        await manager.resume("s", approve=True)

    call = [function_call("refund", "{}", call_id="c1")]
    found = asked(store, priced("support", call, "Done.", tools=[refund]), act=act)
    assert (waiting[0].turns, waiting[0].awaiting_approval) == ({}, 1)
    assert (found.turns, found.awaiting_approval) == ({"completed": 1}, 0)
    assert found.usage.requests == 2
    assert found.cost.usd == 2 * ONE


def test_agents_used_as_tools_are_counted_once_and_their_model_is_said_to_be_unknown(store):
    inner = priced("inner", "The answer.")
    tool = inner.as_tool("ask_inner", "asks")
    call = [function_call("ask_inner", '{"input": "x"}', call_id="c1")]
    found = asked(store, priced("support", call, "Here.", tools=[tool]))
    assert (found.usage.requests, found.nested.requests, found.nested.total_tokens) == (3, 1, 1100)
    assert (found.cost.usd, found.cost.coverage, found.cost.unpriced) == (2 * ONE, Decimal("66.6"), (NOT_NAMED,))


def test_requests_without_a_model_cost_what_the_user_says(store):
    inner = priced("inner", "The answer.").as_tool("ask_inner", "asks")
    call = [function_call("ask_inner", '{"input": "x"}', call_id="c1")]
    prices = {None: {"input": 2, "output": 8, "cached_input": "0.5"}}
    found = asked(store, priced("support", call, "Here.", tools=[inner]), prices=prices)
    assert (found.cost.usd, found.cost.coverage) == (3 * ONE, 100)


def test_a_missing_session_has_no_statistics(store):
    async def act(manager):
        with pytest.raises(SessionNotFoundError):
            await manager.statistics.of("nobody")
        with pytest.raises(SessionNotFoundError):
            await manager.statistics.report(id="nobody")

    asked(store, priced("support"), act=act)


# --- many sessions ---


def test_a_report_adds_up_by_agent_user_day_and_model(store):
    found = reported(
        store,
        keep(store, "1", spent(row("gpt-4.1", 1000, agent="a"), row("o3", 500, agent="b")), user_id="ann"),
        keep(store, "2", spent(row("gpt-4.1", 3000, agent="a"), day="2026-11-21"), user_id="bob"),
        keep(store, "3", item_entry({"role": "user", "content": "hello"}), user_id="ann"),
    )
    assert found.sessions == 3
    assert {share.name: share.usage.input_tokens for share in found.by_agent} == {"a": 4000, "b": 500}
    assert {share.name: share.usage.input_tokens for share in found.by_user} == {"ann": 1500, "bob": 3000}
    assert [(share.name, share.usage.input_tokens) for share in found.by_day] == [
        ("2026-11-20", 1500),
        ("2026-11-21", 3000),
    ]
    assert [(share.name, share.cost.usd) for share in found.by_model] == [
        ("gpt-4.1", Decimal("0.008")),
        ("o3", Decimal("0.001")),
    ]
    assert found.cost.usd == Decimal("0.009")
    assert found.messages == {"user": 1}


def test_the_dearest_session_need_not_be_the_largest(store):
    found = reported(
        store,
        keep(store, "large", spent(row("gpt-4.1-nano", 9000)), name="Large"),
        keep(store, "dear", spent(row("gpt-4.1", 5000))),
        keep(store, "small", spent(row("gpt-4.1", 10))),
        keep(store, "unknown", spent(row("foo-1", 20))),
        keep(store, "empty"),
        top=2,
    )
    assert [share.id for share in found.largest] == ["large", "dear"]
    assert [share.id for share in found.dearest] == ["dear", "large"]
    assert (found.largest[0].name, found.largest[0].usage.input_tokens) == ("Large", 9000)


def test_a_report_of_one_session_is_of_that_alone(store):
    found = reported(
        store,
        keep(store, "1", spent(row("gpt-4.1", 1000))),
        keep(store, "2", spent(row("gpt-4.1", 3000))),
        id="2",
    )
    assert (found.sessions, found.usage.input_tokens) == (1, 3000)


def test_a_report_is_of_the_sessions_that_a_filter_finds(store):
    found = reported(
        store,
        keep(store, "1", spent(row("gpt-4.1", 1000)), user_id="ann", tags=("a",)),
        keep(store, "2", spent(row("gpt-4.1", 3000)), user_id="ann"),
        keep(store, "3", spent(row("gpt-4.1", 7000)), user_id="bob", tags=("a",)),
        user_id="ann",
        tags=["a"],
    )
    assert (found.sessions, found.usage.input_tokens) == (1, 1000)


def test_a_report_of_nothing_says_so(store):
    found = reported(store)
    assert (found.sessions, found.cost.usd, found.cost.coverage) == (0, None, 100)
    assert "No model was asked." in found.to_markdown()


@pytest.mark.parametrize(
    ("asked_for", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"limit": 5}, "limit"),
        ({"status": "asleep"}, "status"),
        ({"id": "1", "user_id": "ann"}, "user_id"),
        ({"top": -1}, "top"),
        ({"prices": {"m": 5}}, "prices"),
    ],
)
def test_a_question_that_means_nothing_is_refused(store, asked_for, named):
    with pytest.raises(InvalidValueError, match=named):
        reported(store, **asked_for)


def test_a_session_that_cannot_be_read_is_named_and_hides_no_other(tmp_path):
    store = FileStore(tmp_path / "sessions", durability="process")

    async def run():
        said = [item_entry({"role": "user", "content": "x" * 2000}) for _ in range(20)]
        await keep(store, "broken", *said)
        await keep(store, "fine", spent(row("gpt-4.1", 1000)))
        path = store.path(SessionKey("support", "broken"))
        data = path.read_bytes()
        path.write_bytes(data[:9000] + b"\0" * 500 + data[9500:])
        async with managing(store) as manager:
            return await manager.statistics.report()

    found = asyncio.run(run())
    assert (found.sessions, found.unreadable) == (1, ("broken",))
    assert "left out: broken" in found.to_markdown()


# --- money ---


def test_an_unknown_model_is_named_and_never_free(store):
    found = reported(
        store,
        keep(store, "1", spent(row("gpt-4.1", 900, output=100), row("foo-1", 2000), row("bar-2", 1000))),
        keep(store, "2", spent(row("foo-1", 5))),
    )
    assert found.cost.unpriced == ("bar-2", "foo-1")
    assert found.cost.coverage == Decimal("24.9")
    assert {share.name: share.cost.usd for share in found.by_model}["foo-1"] is None


def test_a_whole_that_lacks_a_hair_is_not_covered_whole(store):
    found = reported(store, keep(store, "1", spent(row("gpt-4.1", 1_000_000), row("foo-1", 1))))
    assert found.cost.coverage == Decimal("99.9")


def test_requests_without_tokens_are_said_to_be_unreported(store):
    unreported = {**row("gpt-4.1", 0), "requests": 3}
    found = reported(store, keep(store, "1", spent(row("gpt-4.1", 1000), unreported)))
    assert (found.cost.usd, found.cost.unreported_requests) == (Decimal("0.002"), 3)
    assert "more than $0.002" in found.to_markdown()


def test_small_requests_do_not_pay_for_a_large_one_by_their_sum(store):
    rows = [row("gemini-2.5-pro", 100_000) for _ in range(5)]
    found = reported(store, keep(store, "1", spent(*rows, row("gemini-2.5-pro", 300_000))))
    assert found.cost.usd == 5 * Decimal("0.125") + Decimal("0.75")


def test_a_usage_whose_parts_are_larger_than_the_whole_has_no_price(store):
    found = reported(store, keep(store, "1", spent(row("gpt-4.1", 10, cached=900))))
    assert (found.cost.usd, found.cost.unpriced) == (None, ("gpt-4.1",))


def test_the_same_history_costs_what_its_days_cost(store):
    found = reported(
        store,
        keep(store, "old", spent(row("o3", 1_000_000), day="2025-05-20")),
        keep(store, "new", spent(row("o3", 1_000_000), day="2026-01-20")),
    )
    assert [share.cost.usd for share in found.by_day] == [10, 2]


def test_cents_are_exact(store):
    prices = {"mine": {"input": "0.1", "output": 0}}
    found = reported(store, *[keep(store, str(n), spent(row("mine", 1))) for n in range(10)], prices=prices)
    assert found.cost.usd == Decimal("0.000001")


# --- forks ---


def test_a_fork_pays_for_what_it_says_itself(store):
    async def run():
        agent = priced("support", "one", "two", "three")
        async with managing(store, agent) as manager:
            await manager.create_session("support", session_id="s")
            await manager.send_message("s", "hello")
            await manager.branches.fork("s", new_id="fork")
            await manager.send_message("fork", "and now?")
            await manager.send_message("s", "go on")
            statistics = manager.statistics
            return await statistics.report(), await statistics.of("fork"), await statistics.of("s")

    whole, fork, parent = asyncio.run(run())
    assert (fork.usage.requests, parent.usage.requests, whole.usage.requests) == (1, 2, 3)
    assert whole.cost.usd == 3 * ONE
    assert fork.messages == {"user": 1, "assistant": 1}
    assert fork.inherited_entries == 4
    assert "counted there" in fork.to_markdown()


# --- text ---


def test_the_page_of_a_session_says_what_its_figures_say(store):
    found = reported(
        store,
        keep(
            store,
            "1",
            *called("look_up", "c1"),
            *called("look_up", "c2", "An error occurred while running the tool. Please try again."),
            record_entry({"type": "handoff", "from": "a", "to": "b"}),
            spent(row("gpt-4.1", 1_234_567, agent="a")),
            ended("failed", error="RateLimitError"),
            user_id="ann",
        ),
    )
    page = found.to_markdown()
    assert "**$2.47**, pricing coverage 100.0 % of the tokens (genai-prices " in page
    assert "| look_up | 2 | 1 |" in page
    assert "| a | b | 1 |" in page
    assert "| RateLimitError | 1 |" in page
    assert "| ann | 1 | 1,234,567 | $2.47 |" in page
    assert "| 1 | - | support | 1,234,567 | $2.47 |" in page


def test_a_name_cannot_break_the_table_that_it_is_in(store):
    found = reported(store, keep(store, "1", spent(row("gpt-4.1", 10)), name="a | b\n# c <script>"))
    assert r"| 1 | a \| b # c &lt;script> | support |" in found.to_markdown()


def test_without_a_list_the_page_says_how_to_get_one(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    found = reported(store, keep(store, "1", spent(row("gpt-4.1", 10))))
    assert (found.cost.usd, found.cost.coverage, found.price_list) == (None, 0, None)
    assert "price unknown" in found.to_markdown()
    assert 'pip install "agents-sessions[prices]"' in found.to_markdown()
