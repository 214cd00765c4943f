"""What is stored: turns of a plausible support conversation, every one different."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

ITEMS_PER_TURN = 4

_SENTENCES = (
    "the order was shipped from our warehouse on Monday and should arrive within three working days unless the "
    "carrier reports a delay please check your tracking page for details we are sorry for any inconvenience and "
    "will refund 42 € if the parcel isn\u2019t there by Friday \u2013 you can also pick it up at a service point near "
    "the café in Zürich where it is kept for seven days with a valid document invoice number customer account status"
)
_TEXT = " ".join(random.Random(7).choices(_SENTENCES.split(), k=20_000))


def turns(seed: int = 0) -> Iterator[list["TResponseInputItem"]]:
    """Yield turns of four items and about 2.5 KB for ever: a question, a call, its output, an answer."""
    source = random.Random(seed)
    while True:
        yield cast("list[TResponseInputItem]", _turn(source))


def session_id(source: random.Random) -> str:
    """Return an id as applications use them: a UUID."""
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def _turn(source: random.Random) -> list[dict[str, object]]:
    call_id = f"call_{source.getrandbits(96):024x}"
    order = f"A-{source.randrange(10**7)}"
    found = {"order": order, "total": source.randrange(10**6) / 100, "events": [_some(source, 160) for _ in range(6)]}
    answer = {"annotations": [], "logprobs": [], "text": _some(source, 600), "type": "output_text"}
    return [
        {"role": "user", "content": _some(source, 180)},
        {
            "arguments": json.dumps({"order": order, "reason": _some(source, 60)}),
            "call_id": call_id,
            "name": "look_up_order",
            "type": "function_call",
            "id": f"fc_{source.getrandbits(192):048x}",
            "status": "completed",
        },
        {"call_id": call_id, "output": json.dumps(found), "type": "function_call_output"},
        {
            "id": f"msg_{source.getrandbits(192):048x}",
            "content": [answer],
            "role": "assistant",
            "status": "completed",
            "type": "message",
        },
    ]


def _some(source: random.Random, length: int) -> str:
    begin = source.randrange(len(_TEXT) - length)
    return _TEXT[begin : begin + length]
