import asyncio

import pytest
from agents import Agent, handoff
from script import QUIET, agent, managed, opened, to, turn

from agents_sessions.errors import UnknownAgentError
from agents_sessions.manager import SessionManager
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.agents import AgentRegistry, reachable


def names(*agents):
    return [found.name for found in reachable(agents)]


def by_name(agents, name, agent_id="support"):
    return asyncio.run(AgentRegistry(agents).by_name(SessionInfo(id="s", agent_id=agent_id), name))


def entry(agents, agent_id):
    return asyncio.run(AgentRegistry(agents).entry(SessionInfo(id="s", agent_id=agent_id)))


def test_agents_are_reached_through_nested_handoffs():
    deep = Agent(name="deep")
    assert names(Agent(name="top", handoffs=[Agent(name="middle", handoffs=[deep])])) == ["top", "middle", "deep"]


def test_agents_are_reached_through_cycles_once():
    one, two = Agent(name="one"), Agent(name="two")
    one.handoffs.append(two)
    two.handoffs.append(one)
    assert names(one) == ["one", "two"]


def test_agents_are_reached_through_handoff_objects():
    assert names(Agent(name="top", handoffs=[handoff(kept := Agent(name="low"))])) == ["top", kept.name]


def test_an_agent_of_a_list_is_found_by_its_name():
    support = Agent(name="support")
    assert entry([Agent(name="other"), support], "support") is support


def test_an_agent_of_a_mapping_is_found_by_its_key():
    support = Agent(name="Support Bot 2")
    assert entry({"support": support}, "support") is support


def test_a_key_of_a_mapping_comes_before_the_name_of_another_agent():
    one, two = Agent(name="two"), Agent(name="x")
    assert entry({"one": one, "two": two}, "two") is two


def test_two_agents_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two agents are named 'a'"):
        AgentRegistry([Agent(name="a"), Agent(name="a")])


def test_one_agent_twice_is_no_duplicate():
    same = Agent(name="a")
    assert entry([same, same], "a") is same


def test_an_unknown_agent_is_an_error_that_lists_the_known_ones():
    agents = [Agent(name="support", handoffs=[Agent(name="billing")])]
    with pytest.raises(UnknownAgentError, match="whom session 's' needs; known agents: 'billing', 'support'"):
        by_name(agents, "sales")


def test_without_agents_the_error_says_to_give_some():
    with pytest.raises(UnknownAgentError, match="give agents= to the manager"):
        entry((), "support")


def test_a_session_of_an_unknown_agent_is_refused():
    with pytest.raises(UnknownAgentError):
        asyncio.run(managed(MemoryStore(), Agent(name="support")).create_session("sales"))


def test_a_manager_without_agents_keeps_sessions_of_any():
    assert asyncio.run(SessionManager(MemoryStore()).create_session("sales")).agent_id == "sales"


def team():
    billing = agent("billing", "billed", "billed again")
    return agent("support", to("billing"), "back", handoffs=[billing])


def test_the_agent_that_was_handed_to_goes_on():
    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        return await manager.send_message(session_id, "two")

    assert turn(MemoryStore(), team(), act=run).text == "billed again"


def test_a_turn_can_begin_at_the_sessions_own_agent():
    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        return await manager.send_message(session_id, "two", start="entry")

    assert turn(MemoryStore(), team(), act=run).text == "back"


def test_the_agent_that_was_handed_to_goes_on_in_another_manager(store):
    turn(store, team())
    reply = asyncio.run(managed(store, team()).send_message("s", "two"))
    assert reply.entries[-1].last_agent == "billing"


def test_a_cleared_session_begins_at_its_own_agent():
    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        await manager.clear_session(session_id)
        return await manager.send_message(session_id, "two")

    assert turn(MemoryStore(), team(), act=run).text == "back"


def test_a_session_whose_last_agent_is_gone_can_begin_anew(store):
    turn(store, team())

    async def run():
        manager = managed(store, agent("support", "alone"))
        with pytest.raises(UnknownAgentError, match="billing"):
            await manager.send_message("s", "two")
        return await manager.send_message("s", "two", start="entry")

    assert asyncio.run(run()).text == "alone"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_factory_makes_the_agent_of_a_session_by_its_mode(kind):
    def make(info: SessionInfo):
        return agent(info.agent_id, f"in {info.mode} mode for {info.user_id}")

    async def make_later(info: SessionInfo):
        return make(info)

    async def run():
        manager = SessionManager(MemoryStore(), agents=make if kind == "sync" else make_later, run_config=QUIET)
        info = await manager.create_session("coder", mode="plan", user_id="ann")
        return await manager.send_message(info.id, "hello")

    assert asyncio.run(run()).text == "in plan mode for ann"


def test_a_factory_follows_a_change_of_mode():
    def make(info: SessionInfo):
        return agent("coder", f"in {info.mode} mode")

    async def run():
        manager = SessionManager(MemoryStore(), agents=make, run_config=QUIET)
        info = await manager.create_session("coder", mode="plan")
        await manager.send_message(info.id, "hello")
        await manager.update_session(info.id, mode="build")
        return await manager.send_message(info.id, "hello")

    assert asyncio.run(run()).text == "in build mode"


def test_an_agent_of_a_factory_is_found_through_its_handoffs():
    async def run():
        manager = SessionManager(MemoryStore(), agents=lambda _info: team(), run_config=QUIET)
        session_id = await opened(manager)
        await manager.send_message(session_id, "one")
        return await manager.send_message(session_id, "two")

    assert asyncio.run(run()).last_agent == "billing"


def test_a_factory_that_gives_no_agent_is_an_error():
    async def run():
        manager = SessionManager(MemoryStore(), agents=lambda _info: None, run_config=QUIET)
        await manager.send_message(await opened(manager), "one")

    with pytest.raises(UnknownAgentError):
        asyncio.run(run())


# --- what agents= takes ---


def test_one_agent_may_stand_alone():
    support = Agent(name="support")
    assert entry(support, "support") is support


@pytest.mark.parametrize("of", [tuple, lambda agents: dict(enumerate(agents)).values(), iter])
def test_any_iterable_of_agents_will_do(of):
    support = Agent(name="support")
    assert entry(of([Agent(name="other"), support]), "support") is support


@pytest.mark.parametrize("agents", [["support"], {"support": "x"}, 5, "support", None])
def test_what_is_no_agent_is_refused_by_the_manager_itself(agents):
    with pytest.raises(TypeError, match=r"agents= takes Agent objects, a mapping to them, or a factory, not a '\w+'"):
        SessionManager(MemoryStore(), agents=agents)


def test_a_factory_that_makes_no_agent_is_told_which_session_it_was_for():
    with pytest.raises(UnknownAgentError, match="the factory in agents= returned a 'NoneType' for session 's', not an"):
        entry(lambda _info: None, "support")


def test_an_unknown_agent_may_have_been_renamed():
    with pytest.raises(UnknownAgentError, match=r"Keep its old name too, agents=\{'billing': agent, …\}, or send"):
        by_name([Agent(name="support")], "billing")


# --- agents that are gone ---


def handed(store):
    async def run():
        billing = agent("billing", "I am billing")
        manager = managed(store, agent("support", to("billing"), handoffs=[billing]))
        await manager.send_message(await opened(manager), "hello")

    asyncio.run(run())


def test_the_error_of_an_agent_that_is_gone_names_the_ways_out(store):
    handed(store)
    with pytest.raises(UnknownAgentError, match=r"agents=\{'billing': agent, …\}, or send with start='entry'"):
        asyncio.run(managed(store, agent("support", "hi")).send_message("s", "more"))


def test_a_manager_can_give_the_messages_of_a_missing_agent_to_the_sessions_own(store):
    handed(store)
    manager = managed(store, agent("support", "hi"), missing_agent="entry")
    assert asyncio.run(manager.send_message("s", "more")).last_agent == "support"


def test_an_agent_is_found_under_its_old_name_too(store):
    handed(store)
    manager = SessionManager(
        store, agents={"support": agent("support"), "billing": agent("billing 2", "hi")}, run_config=QUIET
    )
    assert asyncio.run(manager.send_message("s", "more")).last_agent == "billing 2"


def test_a_session_without_handoffs_goes_on_with_its_agent_under_another_name(store):
    async def run():
        def team(name):
            return SessionManager(store, agents={"support": agent(name, "hi")}, run_config=QUIET)

        await team("Support 1.0").create_session("support", session_id="s")
        await team("Support 1.0").send_message("s", "hello")
        return await team("Support 1.1").send_message("s", "more")

    assert asyncio.run(run()).last_agent == "Support 1.1"


def test_an_unknown_choice_for_missing_agents_is_refused(store):
    with pytest.raises(ValueError, match="missing_agent"):
        managed(store, missing_agent="bogus")
