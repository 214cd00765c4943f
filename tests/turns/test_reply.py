import pytest
from agents import function_tool
from pydantic import BaseModel, TypeAdapter
from script import agent, calls, turn

from agents_sessions import Reply, ReplySummary
from agents_sessions.stores.memory import MemoryStore


@function_tool(needs_approval=True)
def pay(to: str) -> str:
    return f"paid {to}"


@pytest.fixture(scope="module")
def reply() -> Reply:
    return turn(MemoryStore(), agent("support", "hi"))


def test_a_reply_is_a_response_of_pydantic(reply):
    data = TypeAdapter(Reply).dump_python(reply, mode="json")
    assert data == reply.summary().model_dump(mode="json")
    assert (data["text"], data["status"], data["last_agent"]) == ("hi", "completed", "support")


def test_a_model_may_hold_a_reply(reply):
    class Envelope(BaseModel):
        reply: Reply

    assert '"text":"hi"' in Envelope(reply=reply).model_dump_json()


def test_its_schema_is_that_of_the_summary():
    of_reply = TypeAdapter(Reply).json_schema(mode="serialization")
    assert of_reply["properties"].keys() == ReplySummary.model_fields.keys()


def test_what_is_no_reply_is_refused():
    with pytest.raises(ValueError, match="Reply"):
        TypeAdapter(Reply).validate_python({"text": "hi"})


def test_the_entries_of_a_summary_say_their_kind_and_text(reply):
    entries = reply.summary().model_dump(mode="json")["entries"]
    items = [(entry["kind"], entry["text"]) for entry in entries if entry["type"] == "item"]
    assert items == [("user", "hello"), ("assistant", "hi")]


def test_a_summary_names_the_calls_that_wait():
    waiting = turn(MemoryStore(), agent("support", calls("pay", "c1", '{"to": "ann"}'), tools=[pay]))
    (pending,) = waiting.summary().pending
    assert (pending.call_id, pending.tool, pending.agent) == ("c1", "pay", "support")


@pytest.mark.parametrize("decision", [{"approve": "c1"}, {"reject": "c1"}])
def test_one_id_need_not_be_in_a_list(decision):
    async def run(manager, session_id):
        await manager.send_message(session_id, "hello")
        return await manager.resume(session_id, **decision)

    steps = [calls("pay", "c1", '{"to": "ann"}'), "done"]
    assert turn(MemoryStore(), agent("support", *steps, tools=[pay]), act=run).text == "done"


def test_a_summary_holds_a_typed_output():
    class Place(BaseModel):
        city: str

    text = '{"city": "Oslo"}'
    found = turn(MemoryStore(), agent("support", text, output_type=Place))
    assert found.summary().model_dump(mode="json")["final_output"] == {"city": "Oslo"}
