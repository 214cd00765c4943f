"""A file whose seal does not hold, and in which no person may write: its codec takes it only as it was written.

An append that lost no more than blanks leaves this, and so does a person who changed nothing but the last line.
"""

from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.codec import SessionCodec
from agents_sessions.stores.file.format.computed import count_totals, seq_of, time_or_now
from agents_sessions.stores.file.format.document import Document, newest_seq
from agents_sessions.stores.file.format.header import Damage, facts_of, parse_header, salt_of
from agents_sessions.stores.file.format.verify import whole_batches


def decode_proved(document: JsonObject, data: bytes, codec: SessionCodec) -> Document:
    """Return the session in a file whose lines are those that the state in its seal stands behind.

    Raises:
        Damage: They are not: someone has changed it.
    """
    body = data.find(b"\n") + 1
    header = parse_header(data[:body])
    batches = list(whole_batches(data, body, salt_of(header), codec))
    end = batches[-1][1] if batches else body
    seal = document.get("seal")
    if not isinstance(seal, dict) or seal.get("state") != codec.advance(None, data[body:end]):
        raise Damage("it is encrypted, and someone has changed it")
    entries = [entry for batch, _ in batches for entry in batch]
    seq = max(seq_of(header), seq_of(seal), newest_seq(entries))
    at = time_or_now(document.get("updated_at"))
    return Document(codec.decode_facts(facts_of(header)), entries, seq, count_totals(entries), at, "edited", codec)
