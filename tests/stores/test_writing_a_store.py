"""The store that `docs/writing-a-store.md` leads through keeps the whole contract."""

import re
from pathlib import Path

from agents_sessions.testing import StoreContract

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"
CODE = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]


NAMES = {}
exec(compile(CODE, str(PAGE), "exec"), NAMES)


class TestTheStoreOfThePage(StoreContract):
    async def make_store(self, folder):
        return NAMES["NotebookStore"](folder / "notebook.db")


def test_a_first_store_is_short():
    lines = [line for line in CODE.splitlines() if line.strip()]
    assert len(lines) <= 190
