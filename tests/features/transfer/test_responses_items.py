"""Lists of Responses items come in as they are."""

import asyncio
import json

import pytest
from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from sample_sessions import transfer_of

from agents_sessions.errors import ImportRefusedError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.memory import MemoryStore


async def imported(value, **options):
    store = MemoryStore()
    report = await transfer_of(store).import_session(json.dumps(value), session_id="a", **options)
    return report, await store.items(SessionKey("default", "a"))


def test_what_a_run_has_made_comes_in_as_it_is():
    async def work():
        find = function_tool(lambda: "shipped", name_override="find")
        model = ScriptedModel([[function_call("find", "{}", call_id="c")], [assistant_message("It was shipped.")]])
        result = await Runner.run(
            Agent(name="a", model=model, tools=[find]), "hello", run_config=RunConfig(tracing_disabled=True)
        )
        items = result.to_input_list()
        report, found = await imported(items)
        assert (report.format, found) == ("responses", items)
        assert len(found) == 4

    asyncio.run(work())


@pytest.mark.parametrize("name", ["input", "output", "items"])
def test_a_request_or_a_response_has_its_items(name):
    items = [{"role": "user", "content": "hello"}, {"type": "reasoning", "id": "rs", "summary": []}]
    assert asyncio.run(imported({"model": "x", name: items}))[1] == items


def test_it_gets_a_new_id_where_none_is_given():
    async def work():
        transfer = transfer_of()
        reports = [await transfer.import_session('[{"role": "user", "content": "x"}]') for _ in range(2)]
        assert len({report.session_id for report in reports}) == 2

    asyncio.run(work())


def test_an_empty_list_is_an_empty_session():
    assert asyncio.run(imported([]))[1] == []


@pytest.mark.parametrize(
    "item",
    ["text", None, {}, {"role": "robot", "content": "x"}, {"type": 7}, {"role": "user", "content": None}],
    ids=repr,
)
def test_an_item_that_is_none_is_refused_by_its_number(item):
    with pytest.raises(ImportRefusedError, match="2"):
        asyncio.run(imported([{"role": "user", "content": "hello"}, item]))


def test_an_item_that_cannot_be_stored_is_refused_by_its_number():
    async def work():
        store = MemoryStore()
        text = '[{"role": "user", "content": "x"}, {"type": "x", "n": 1e999}]'
        with pytest.raises(ImportRefusedError, match="entry 2 holds NaN or an infinity"):
            await transfer_of(store).import_session(text)
        assert [info async for info in store.scan()] == []

    asyncio.run(work())
