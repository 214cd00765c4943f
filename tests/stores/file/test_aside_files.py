"""Sessions that were set aside, beside what others left where they were."""

import asyncio
import os

from builders import KEY
from file_sessions import create, texts, write_sidecar


def test_one_comes_back_where_someone_died_while_he_made_another_of_its_id(store, path):
    create(store, "mine")
    write_sidecar(store, "note", b"mine")
    aside = asyncio.run(store.set_aside(KEY))
    path.with_suffix("").mkdir()
    (path.with_suffix("") / "note").write_bytes(b"of no session")
    asyncio.run(store.bring_back(aside.token))
    assert texts(store) == ["mine"]
    assert asyncio.run(store.read_sidecar(KEY, "note")) == b"mine"
    assert sorted(os.listdir(path.parent)) == ["order-42", "order-42.json"]
