"""A codec that hides every body, to show that a backend uses the codec seam."""

import base64
import hashlib

from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.stores.codec import Codec, SessionCodec

READABLE = ("id", "agent_id", "created_at")
WORDS = (b"plain secret", b"sidecar secret", b"name secret")


def sealed(data):
    return base64.b85encode(data[::-1]).decode()


def opened(text):
    return base64.b85decode(text)[::-1]


class ScrambledSession(SessionCodec):
    def __init__(self, key, salt):
        self.key = key
        self.kept = {"salt": salt}

    def encode_body(self, body, place):
        bound = f"{self.key.session_id}/{place.seq}".encode("utf-8", "surrogatepass")
        return b'"sealed":%s,"bound":"%s"' % (encode_json(sealed(body)), hashlib.sha256(bound).hexdigest().encode())

    def decode_entry(self, entry):
        rest = {name: value for name, value in entry.items() if name not in ("sealed", "bound")}
        bound = f"{self.key.session_id}/{entry['seq']}".encode("utf-8", "surrogatepass")
        if entry["bound"] != hashlib.sha256(bound).hexdigest():
            raise ValueError("bound to another place")
        return {**rest, **decode_json(b"{%s}" % opened(entry["sealed"]))}

    def encode_facts(self, facts):
        hidden = {name: value for name, value in facts.items() if name not in READABLE}
        return {**{name: facts[name] for name in READABLE}, "sealed": sealed(encode_json(hidden))}

    def decode_facts(self, facts):
        rest = {name: value for name, value in facts.items() if name != "sealed"}
        return {**rest, **decode_json(opened(facts["sealed"]))}

    def encode_sidecar(self, name, data):
        return sealed(data).encode()

    def decode_sidecar(self, name, data):
        return opened(data)

    def advance(self, state, batch):
        return hashlib.sha256((state or "").encode() + batch).hexdigest()


class Scrambled(Codec):
    def begin(self, key):
        return ScrambledSession(key, "s1")

    def open(self, key, kept):
        return ScrambledSession(key, kept["salt"])
